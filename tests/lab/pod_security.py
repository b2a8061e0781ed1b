"""Find the Pod Security Standard that a pod meets, as Kubernetes' documentation has it.

These are the controls for the fields that deploy/kubernetes uses. Another field is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_BASELINE_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
_SAFE_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start"}  # more are safe
_RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}
_KNOWN = {
    *("allowPrivilegeEscalation", "capabilities", "privileged", "readOnlyRootFilesystem"),
    *("runAsUser", "runAsNonRoot", "seccompProfile"),
}


def level(pod: Mapping[str, Any]) -> str:
    """Return the strictest level: ``Restricted``, ``Baseline`` or ``Privileged``."""
    if any(_beyond_baseline(pod["spec"])):
        return "Privileged"
    return "Baseline" if any(_beyond_restricted(pod["spec"])) else "Restricted"


def _beyond_baseline(spec: Mapping[str, Any]) -> Iterator[bool]:
    context = spec.get("securityContext", {})
    assert context.keys() <= {"sysctls"}, context
    yield any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))
    yield any("hostPath" in volume for volume in spec["volumes"])
    yield not {entry["name"] for entry in context.get("sysctls", ())} <= _SAFE_SYSCTLS
    for container in spec["containers"]:
        own = container["securityContext"]
        assert own.keys() <= _KNOWN, own
        yield own.get("privileged", False)
        yield not set(own.get("capabilities", {}).get("add", ())) <= _BASELINE_CAPABILITIES
        yield own.get("seccompProfile", {}).get("type") == "Unconfined"
        yield any("hostPort" in port for port in container["ports"])


def _beyond_restricted(spec: Mapping[str, Any]) -> Iterator[bool]:
    yield any(not volume.keys() - {"name"} <= _RESTRICTED_VOLUMES for volume in spec["volumes"])
    for container in spec["containers"]:
        own = container["securityContext"]
        yield own.get("allowPrivilegeEscalation", True)
        yield not own.get("runAsNonRoot", False) or own.get("runAsUser") == 0
        yield own.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost")
        yield "ALL" not in own.get("capabilities", {}).get("drop", ())
        yield not set(own.get("capabilities", {}).get("add", ())) <= {"NET_BIND_SERVICE"}
