"""Translate a pod's manifest to the runtime's words, as a kubelet does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmnet.settings.values import size

from .interface import Json

# A kubelet adds these for the Service of the API server.
_SERVICE = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
{address}\t{name}
"""
_RUNTIME_DEFAULT = {"profile_type": "RuntimeDefault"}


def sandbox(pod: Json, uid: str, attempt: int, logs: Path, group: str) -> Json:
    """Return the configuration of a pod's sandbox.

    :param attempt: the number of sandboxes that the pod has had
    :param group: the parent of the pod's control group
    """
    name = pod["metadata"]["name"]
    ports = [port for spec in pod["spec"]["containers"] for port in spec.get("ports", ())]
    return {
        "metadata": {"name": name, "uid": uid, "namespace": "default", "attempt": attempt},
        "hostname": name,
        "log_directory": str(logs),
        "dns_config": {
            "servers": ["10.96.0.10"],
            "searches": ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"],
            "options": ["ndots:5"],
        },
        "port_mappings": [
            {
                "protocol": port.get("protocol", "TCP"),
                "container_port": port["containerPort"],
                "host_port": port["hostPort"],
            }
            for port in ports
            if "hostPort" in port
        ],
        "labels": pod["metadata"].get("labels", {}),
        "linux": {
            "cgroup_parent": f"{group}/pod{uid}",
            "security_context": {
                "namespace_options": {"network": "POD", "pid": "CONTAINER", "ipc": "POD"},
                "seccomp": _RUNTIME_DEFAULT,
            },
        },
    }


def container(spec: Json, attempt: int, volumes: dict[str, Path], hosts: Path) -> Json:
    """Return the configuration of a container.

    Its seccomp profile is RuntimeDefault, as on a node whose kubelet has seccompDefault.

    :param attempt: the number of containers that this container has replaced
    :param volumes: the folder of each of the pod's volumes
    :param hosts: the file that becomes /etc/hosts
    """
    wanted = spec.get("volumeMounts", ())
    mounts = [(mount["mountPath"], volumes[mount["name"]]) for mount in wanted]
    context = spec.get("securityContext", {})
    environ = {**_SERVICE, **{item["name"]: item["value"] for item in spec.get("env", ())}}
    return {
        "metadata": {"name": spec["name"], "attempt": attempt},
        "image": {"image": spec["image"]},
        "command": spec.get("command", []),
        "args": spec.get("args", []),
        "envs": [{"key": key, "value": value} for key, value in environ.items()],
        "mounts": [
            {"container_path": inside, "host_path": str(outside)}
            for inside, outside in (*mounts, ("/etc/hosts", hosts))
        ],
        "log_path": f"{spec['name']}-{attempt}.log",
        "stdin": spec.get("stdin", False),
        "tty": spec.get("tty", False),
        "linux": {
            "resources": _resources(spec.get("resources", {}).get("limits", {})),
            "security_context": {
                "capabilities": {
                    f"{verb}_capabilities": names
                    for verb, names in context.get("capabilities", {}).items()
                },
                "namespace_options": _namespaces(spec),
                "run_as_user": {"value": context.get("runAsUser", 0)},
                "readonly_rootfs": context.get("readOnlyRootFilesystem", False),
                "no_new_privs": not context.get("allowPrivilegeEscalation", True),
                "seccomp": _RUNTIME_DEFAULT,
            },
        },
    }


def hosts(pod: Json, address: str) -> str:
    """Return the text of the pod's /etc/hosts."""
    return _HOSTS.format(address=address, name=pod["metadata"]["name"])


def _namespaces(spec: Json) -> Json:
    """Return whose namespaces a container shares; an ephemeral container may have a target."""
    if "targetContainerId" in spec:
        target = {"pid": "TARGET", "target_id": spec["targetContainerId"]}
    else:
        target = {"pid": "CONTAINER"}
    return {"network": "POD", "ipc": "POD", **target}


def _resources(limits: dict[str, Any]) -> Json:
    return {"memory_limit_in_bytes": size(limits["memory"])} if "memory" in limits else {}
