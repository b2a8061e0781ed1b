"""What kubectl makes of deploy/kubernetes: valid, and no more privileged than needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.docs import pages
from tests.docs.pages import ROOT
from tests.lab import kustomize
from tests.lab.pod_security import level
from tests.unit.test_docs import rows
from vmnet.cli import health
from vmnet.planning import stop_time
from vmnet.planning.capabilities import NEEDED, VM
from vmnet.planning.hardware import memory
from vmnet.settings import core, table, values

Objects = list[dict[str, Any]]

VERSIONS = ("1.29", "1.33", "1.37")
COMPONENTS = tuple(
    sorted(path.parent.name for path in kustomize.FOLDER.glob("*/kustomization.yaml"))
)
VARIANTS = (
    (),
    *((component,) for component in COMPONENTS if component != "base"),
    ("kvm-device-plugin", "multus", "statefulset"),
    ("kvm-hostpath", "statefulset"),
    ("passt", "statefulset"),
)
PAGE = ROOT / "docs" / "kubernetes.md"
every_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: "+".join(variant) or "base"
)


def pod_spec(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = kustomize.as_pod(objects)["spec"]
    return spec


def vm(objects: Objects) -> dict[str, Any]:
    (container,) = pod_spec(objects)["containers"]
    assert isinstance(container, dict)
    return container


def environment(objects: Objects) -> dict[str, str]:
    """Return the variables that kubelet sets in the container."""
    container = vm(objects)
    maps = {made["metadata"]["name"]: made for made in of_kind(objects, "ConfigMap")}
    sources = [source["configMapRef"]["name"] for source in container["envFrom"]]
    found = {name: value for source in sources for name, value in maps[source]["data"].items()}
    return {**found, **{entry["name"]: entry["value"] for entry in container["env"]}}


def of_kind(objects: Objects, kind: str) -> Objects:
    return [found for found in objects if found["kind"] == kind]


def validate(objects: Objects, version: str) -> None:
    """Compare objects with the schemas of a Kubernetes version, and refuse unknown fields."""
    for made in objects:
        assert kubernetes_validate.validate(made, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    distinct = {str(made): made for variant in VARIANTS for made in kustomize.render(*variant)}
    assert {made["kind"] for made in distinct.values()} == {
        *("ConfigMap", "NetworkPolicy", "Pod", "Service", "StatefulSet")
    }
    validate(list(distinct.values()), version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("variant", "right", "wrong"),
    [
        ((), "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ((), "timeoutSeconds", "timeoutSecond"),
        (("statefulset",), "volumeClaimTemplates", "volumeClaimTemplate"),
    ],
)
def test_a_misspelt_field_is_found(
    version: str, variant: tuple[str, ...], right: str, wrong: str
) -> None:
    made = yaml.safe_dump_all(kustomize.render(*variant))
    assert f"{right}:" in made
    broken = list(yaml.safe_load_all(made.replace(f"{right}:", f"{wrong}:")))
    with pytest.raises(kubernetes_validate.ValidationError, match=wrong):
        validate(broken, version)


def test_the_pod_alone_is_the_one_that_kustomize_renders() -> None:
    alone = yaml.safe_load((kustomize.FOLDER / "base" / "pod.yaml").read_text())
    (rendered,) = of_kind(kustomize.render(), "Pod")
    for pod in (alone, rendered):
        (container,) = pod["spec"]["containers"]
        del container["image"]  # kustomization.yaml chooses the tag
        (source,) = container["envFrom"]
        assert source["configMapRef"].pop("name").startswith("vm")  # with a hash of the content
    assert alone == rendered


@every_variant
def test_the_capabilities_are_those_of_the_table(variant: tuple[str, ...]) -> None:
    context = vm(kustomize.render(*variant))["securityContext"]
    if "kvm-hostpath" in variant:
        assert context["privileged"]
        return
    capabilities = context["capabilities"]
    assert capabilities["drop"] == ["ALL"]
    # Only VMNET_SHARE and VMNET_TPM need the others, as the file says.
    expected = {name for name, entry in NEEDED.items() if VM in entry.parts}
    if "passt" in variant:  # no bridge, tap, or dnsmasq
        expected &= {"SETUID", "SETGID", "KILL", "SETPCAP"}
    assert set(capabilities["add"]) == expected


@every_variant
def test_every_pod_is_hardened(variant: tuple[str, ...]) -> None:
    objects = kustomize.render(*variant)
    spec, context = pod_spec(objects), vm(objects)["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert context["readOnlyRootFilesystem"] is True
    if context.get("privileged"):  # the API refuses both
        assert "allowPrivilegeEscalation" not in context
    else:
        assert context["allowPrivilegeEscalation"] is False
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    mounts = {mount["mountPath"]: mount["name"] for mount in vm(objects)["volumeMounts"]}
    empty = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    # The folders that vmnet and QEMU write to: the run directory, and temporary files.
    assert {mounts[f"{core.RUN_DIR.default}"], mounts["/var/tmp"]} == empty


@every_variant
def test_the_page_names_the_pod_security_level(variant: tuple[str, ...]) -> None:
    row = re.compile(r"^\| `([\w-]+)` \|.*\| (Privileged|Baseline|as base) \|", re.MULTILINE)
    documented = dict(row.findall(PAGE.read_text()))
    assert set(documented) == set(COMPONENTS)
    levels = {documented[component] for component in variant} - {"as base"}
    (expected,) = levels or {documented["base"]}
    assert level(kustomize.as_pod(kustomize.render(*variant))) == expected


@every_variant
def test_settings_are_valid(variant: tuple[str, ...]) -> None:
    table.parse(environment(kustomize.render(*variant)), rows())


@every_variant
def test_the_guest_has_time_to_power_off(variant: tuple[str, ...]) -> None:
    objects = kustomize.render(*variant)
    stop = int(environment(objects)["VMNET_STOP_TIMEOUT"])
    grace = pod_spec(objects)["terminationGracePeriodSeconds"]
    # The same pair that an error of vmnet recommends.
    assert f"terminationGracePeriodSeconds: {grace}" in _remedy(stop)


def _remedy(stop: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        return stop_time.remedy(stop // 2)


def test_the_probes_have_time() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    measured = re.search(
        r"with a load of 30 a median of [\d.]+ s and at most ([\d.]+) s", operations
    )
    advised = re.search(r"`timeoutSeconds: (\d+)`", operations)
    assert measured is not None
    assert advised is not None
    container = vm(kustomize.render())
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    for probe in (startup, liveness):
        assert probe["exec"]["command"] == ["vmnet", "health"]
        assert float(measured[1]) < probe["timeoutSeconds"] == int(advised[1])
        assert probe["timeoutSeconds"] <= probe["periodSeconds"]
    # vmnet health says "starting" for its grace time, which must not end the container.
    grace = health._parser().get_default("grace")
    assert startup["periodSeconds"] * startup["failureThreshold"] > grace
    # As the image's own HEALTHCHECK: a guest that reboots does not answer meanwhile.
    dockerfile = (ROOT / "Dockerfile").read_text()
    image = re.search(r"HEALTHCHECK --interval=(\d+)s .*--retries=(\d+)", dockerfile)
    assert image is not None
    assert (liveness["periodSeconds"], liveness["failureThreshold"]) == tuple(
        map(int, image.groups())
    )


def test_the_guests_memory_is_requested_in_full() -> None:
    resources = vm(kustomize.render())["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    limit = values.size(resources["limits"]["memory"])
    assert limit >= memory.QEMU + values.size("256M"), "as much as the demonstration guest needs"


@every_variant
def test_every_limit_has_a_request(variant: tuple[str, ...]) -> None:
    """Kubernetes would request the whole limit, and reserve it on the node."""
    resources = vm(kustomize.render(*variant))["resources"]
    own = {name for name in resources["limits"] if "/" not in name}  # others, such as devices
    assert set(resources["requests"]) == own


@every_variant
def test_the_objects_refer_to_each_other(variant: tuple[str, ...]) -> None:
    objects = kustomize.render(*variant)
    pod = kustomize.as_pod(objects)
    labels, ports = pod["metadata"]["labels"], {port["name"] for port in vm(objects)["ports"]}
    services = of_kind(objects, "Service")
    for selector in (
        *(service["spec"]["selector"] for service in services),
        *(
            policy["spec"]["podSelector"]["matchLabels"]
            for policy in of_kind(objects, "NetworkPolicy")
        ),
        *(owner["spec"]["selector"]["matchLabels"] for owner in of_kind(objects, "StatefulSet")),
    ):
        assert selector.items() <= labels.items()
    assert _named_ports(objects) == ports
    for owner in of_kind(objects, "StatefulSet"):
        (headless,) = (
            service
            for service in services
            if service["metadata"]["name"] == owner["spec"]["serviceName"]
        )
        assert headless["spec"]["clusterIP"] == "None"
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in vm(objects)["volumeMounts"]} == volumes


def _named_ports(objects: Objects) -> set[str]:
    """Return the ports to which probes, Services and policies refer, as far as they have names."""
    probes = (probe for key, probe in vm(objects).items() if key.endswith("Probe"))
    allowed = (
        port
        for policy in of_kind(objects, "NetworkPolicy")
        for rule in (*policy["spec"]["ingress"], *policy["spec"]["egress"])
        for port in rule.get("ports", ())
    )
    served = (port for service in of_kind(objects, "Service") for port in service["spec"]["ports"])
    found = (
        *(probe["httpGet"]["port"] for probe in probes if "httpGet" in probe),
        *(port["port"] for port in allowed),
        *(port["targetPort"] for port in served),
    )
    return {port for port in found if isinstance(port, str)}


def test_the_statefulset_makes_the_pod_that_the_other_components_change() -> None:
    chosen = ("kvm-device-plugin", "multus")
    (alone,) = of_kind(kustomize.render(*chosen), "Pod")
    objects = kustomize.render(*chosen, "statefulset")
    assert not of_kind(objects, "Pod")
    copied = deepcopy(of_kind(objects, "StatefulSet")[0]["spec"]["template"])
    (container,) = copied["spec"]["containers"]
    state = container["volumeMounts"].pop(0)
    assert state["mountPath"] == f"{core.DISK_STATE.default}"
    assert copied["spec"] == alone["spec"]
    assert copied["metadata"] == {key: alone["metadata"][key] for key in ("annotations", "labels")}


def kustomizations() -> Iterator[Any]:
    for block in pages.blocks_of(PAGE):
        if "kind: Kustomization" in block.text:
            yield pytest.param(block.text, id=f"line {block.line}")


@pytest.mark.parametrize("text", list(kustomizations()))
def test_the_kustomizations_of_the_page(text: str) -> None:
    parsed: Mapping[str, Any] = yaml.safe_load(text)
    objects = kustomize.build(text)
    validate(objects, VERSIONS[-1])
    table.parse(environment(objects), rows())
    assert parsed["resources"] == ["base"]
