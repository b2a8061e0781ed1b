"""The CNI protocol: call a plugin's program with an environment and a document.

CNI specification 1.0.0, section 2. The plugin's output is not trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmnet.api import AllocationError, Answer, frozen, process
from vmnet_ipam_cni import PATH, TIMEOUT
from vmnet_ipam_cni.network import Network

_UNKNOWN_CONTAINER = 3  # "the runtime does not need to perform any container network cleanup"
_TRY_AGAIN = 11
_MAX_MESSAGE = 400  # of a plugin's text in a message, in characters
_MAX_RESULT = 1 << 20  # in characters


@frozen
class Plugin:
    """A plugin and how to call it.

    :param folders: CNI_PATH
    :param seconds: time limit of a call
    """

    name: str
    program: Path
    folders: tuple[Path, ...]
    seconds: int

    def require_version(self, wanted: str) -> None:
        """Check that the plugin supports a CNI version.

        :raises AllocationError: it does not
        """
        # Only old plugins read the document, and require this key.
        answer = self._run({"CNI_COMMAND": "VERSION"}, {"cniVersion": wanted}, "VERSION")
        document = _parsed(answer.stdout)
        versions = document.get("supportedVersions") if isinstance(document, dict) else None
        if answer.status != 0 or not isinstance(versions, list):
            raise self._refusal(answer, "VERSION")
        if wanted not in versions:
            supported = one_line(", ".join(map(str, versions)))
            raise AllocationError(
                f"{self.program} supports CNI {supported}, not {wanted}",
                'set "cniVersion" in the network configuration to a supported version (0.4.0 or '
                "1.0.0), or install another version of the plugin",
            )

    def add(self, network: Network, parameters: Mapping[str, str]) -> Any:
        """Call ADD and return its result as JSON, otherwise unchecked.

        :raises AllocationError: the plugin refuses, fails, hangs, or returns no result
        """
        answer = self._call("ADD", network.document, parameters)
        result = _parsed(answer.stdout)
        if answer.status != 0 or not isinstance(result, dict) or _is_error(result):
            raise self._refusal(answer, "ADD", parameters)
        return result

    def check(self, network: Network, parameters: Mapping[str, str], result: Any) -> None:
        """Call CHECK to verify that the allocation exists.

        :raises AllocationError: the allocation does not exist, or the plugin fails
        """
        document = {**network.document, "prevResult": result}
        answer = self._call("CHECK", document, parameters)
        if answer.status != 0:
            raise self._refusal(answer, "CHECK", parameters)

    def delete(self, network: Network, parameters: Mapping[str, str], result: Any) -> None:
        """Call DEL. It is no error if there is nothing to release.

        :param result: result of ADD; None if ADD did not return
        :raises AllocationError: the allocation may still exist
        """
        document = (
            network.document if result is None else {**network.document, "prevResult": result}
        )
        answer = self._call("DEL", document, parameters)
        if answer.status != 0:
            error = _parsed(answer.stdout)
            if not (isinstance(error, dict) and error.get("code") == _UNKNOWN_CONTAINER):
                raise self._refusal(answer, "DEL", parameters)

    def _call(
        self, command: str, document: Mapping[str, Any], parameters: Mapping[str, str]
    ) -> Answer:
        return self._run(
            {**parameters, "CNI_COMMAND": command},
            document,
            f"{command} for {parameters['CNI_IFNAME']}",
        )

    def _run(
        self, parameters: Mapping[str, str], document: Mapping[str, Any], description: str
    ) -> Answer:
        """Run the plugin like libcni, with vmnet's environment: it may need the proxy settings."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
        environ = {
            **inherited,
            "CNI_PATH": ":".join(map(str, self.folders)),
            # Since 2024, plugins otherwise refuse to run in the container's network namespace.
            "CNI_NETNS_OVERRIDE": "true",
            **parameters,
        }
        try:
            return process.ask(
                (str(self.program),),
                stdin=json.dumps(document).encode(),
                environ=environ,
                seconds=self.seconds,
            )
        except TimeoutError:
            raise AllocationError(
                f"{self.program} did not answer {description} within {self.seconds} s",
                "check what the plugin waits for (a lock, a daemon, a server); "
                f"`-e {TIMEOUT.name}=…` extends the limit",
            ) from None
        except OSError as error:
            raise AllocationError(
                f"can't run {self.program}: {error.strerror}",
                "check that it is an intact program for this architecture",
            ) from None

    def _refusal(
        self, answer: Answer, command: str, parameters: Mapping[str, str] | None = None
    ) -> AllocationError:
        interface = f" for {parameters['CNI_IFNAME']}" if parameters else ""
        document = _parsed(answer.stdout)
        if isinstance(document, dict) and _is_error(document):
            parts = (document.get("msg"), document.get("details"))
            text = ": ".join(part for part in parts if isinstance(part, str) and part)
            code = one_line(str(document.get("code")))
            reason = f"refuses {command}{interface}: {one_line(text) or 'no reason'} (code {code})"
        elif answer.status < 0:
            reason = f"was killed by signal {-answer.status} in {command}{interface}"
        elif answer.status:
            text = one_line(answer.stderr or answer.stdout) or "no message"
            reason = f"ended with status {answer.status} in {command}{interface}: {text}"
        else:
            text = one_line(answer.stdout) or "no output"
            reason = f"returned no valid result for {command}{interface}: {text}"
        return AllocationError(f"{self.name} {reason}", _hint(self, document))


def find(name: str, folders: tuple[Path, ...], seconds: int) -> Plugin:
    """Return the plugin from the first folder that contains it.

    :raises AllocationError: no folder contains it
    """
    for folder in folders:
        program = folder / name
        if program.is_file() and os.access(program, os.X_OK):
            return Plugin(name, program, folders, seconds)
    raise AllocationError(
        f"there is no CNI plugin {name} in {PATH.name}={':'.join(map(str, folders))}",
        "Debian's package containernetworking-plugins has host-local, static and dhcp; mount other "
        f"plugins and name their folder: `-e {PATH.name}=…`",
    )


def one_line(text: str) -> str:
    """Return a plugin's text on one line, without control characters, and truncated."""
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} …"


def _parsed(text: str) -> Any:
    """Parse JSON; return None if the text is malformed or too long."""
    if len(text) > _MAX_RESULT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_error(document: Mapping[str, Any]) -> bool:
    return "code" in document and "ips" not in document


def _hint(plugin: Plugin, document: Any) -> str:
    if isinstance(document, dict) and document.get("code") == _TRY_AGAIN:
        return "the error is temporary: start the container again"
    if plugin.name == "dhcp":
        return "check that `dhcp daemon` runs and can open this container's CNI_NETNS"
    return "the text is from the plugin; VMNET_LOG_LEVEL=debug shows the call"
