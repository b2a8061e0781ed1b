"""The CNI protocol: a plugin's program, called with an environment and a document.

CNI specification 1.0.0, section 2. What a plugin says is not trusted: it is put on one line.
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
_LONGEST = 400  # of a plugin's words in a message, in characters
_LARGEST = 1 << 20  # of a result, in characters


@frozen
class Plugin:
    """A plugin and how to call it.

    :param folders: CNI_PATH
    :param seconds: the time of one call
    """

    name: str
    program: Path
    folders: tuple[Path, ...]
    seconds: int

    def require_version(self, wanted: str) -> None:
        """Ask which versions it speaks.

        :raises AllocationError: not that one
        """
        # Plugins read no document here, except old ones, which want this one key.
        answer = self._run({"CNI_COMMAND": "VERSION"}, {"cniVersion": wanted}, "VERSION")
        spoken = _parsed(answer.stdout)
        versions = spoken.get("supportedVersions") if isinstance(spoken, dict) else None
        if answer.status != 0 or not isinstance(versions, list):
            raise self._refusal(answer, "VERSION")
        if wanted not in versions:
            known = one_line(", ".join(map(str, versions)))
            raise AllocationError(
                f"{self.program} speaks CNI {known}, not {wanted}",
                'set "cniVersion" in the network configuration to one of them that is 0.4.0 or '
                "1.0.0, or install another version of the plugin",
            )

    def add(self, network: Network, parameters: Mapping[str, str]) -> Any:
        """ADD: what it allocated, parsed as JSON and no further.

        :raises AllocationError: it refuses, fails, hangs, or says something else
        """
        answer = self._call("ADD", network.document, parameters)
        result = _parsed(answer.stdout)
        if answer.status != 0 or not isinstance(result, dict) or _is_error(result):
            raise self._refusal(answer, "ADD", parameters)
        return result

    def check(self, network: Network, parameters: Mapping[str, str], result: Any) -> None:
        """CHECK: whether it still knows of what it has allocated.

        :raises AllocationError: it does not
        """
        document = {**network.document, "prevResult": result}
        answer = self._call("CHECK", document, parameters)
        if answer.status != 0:
            raise self._refusal(answer, "CHECK", parameters)

    def delete(self, network: Network, parameters: Mapping[str, str], result: Any) -> None:
        """DEL: there may be nothing to release.

        :param result: of ADD; None where it was not seen
        :raises AllocationError: something may still be allocated
        """
        document = (
            network.document if result is None else {**network.document, "prevResult": result}
        )
        answer = self._call("DEL", document, parameters)
        if answer.status != 0:
            said = _parsed(answer.stdout)
            if not (isinstance(said, dict) and said.get("code") == _UNKNOWN_CONTAINER):
                raise self._refusal(answer, "DEL", parameters)

    def _call(
        self, command: str, document: Mapping[str, Any], parameters: Mapping[str, str]
    ) -> Answer:
        return self._run(
            {**parameters, "CNI_COMMAND": command},
            document,
            f"{command} for {parameters['CNI_IFNAME']}",
        )

    def _run(self, parameters: Mapping[str, str], document: Mapping[str, Any], what: str) -> Answer:
        """As libcni does, with our environment: plugins may need a proxy or a cluster's address."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
        environ = {
            **inherited,
            "CNI_PATH": ":".join(map(str, self.folders)),
            # A plugin of 2024 and later refuses to run within the container's namespace otherwise.
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
                f"{self.program} did not answer {what} within {self.seconds} s",
                f"see what it waits for (a lock, a daemon, a server?); `-e {TIMEOUT.name}=…` "
                "gives it longer",
            ) from None
        except OSError as error:
            raise AllocationError(
                f"can't run {self.program}: {error.strerror}",
                "is it a program for this machine, and whole?",
            ) from None

    def _refusal(
        self, answer: Answer, command: str, parameters: Mapping[str, str] | None = None
    ) -> AllocationError:
        where = f" for {parameters['CNI_IFNAME']}" if parameters else ""
        said = _parsed(answer.stdout)
        if isinstance(said, dict) and _is_error(said):
            parts = (said.get("msg"), said.get("details"))
            words = ": ".join(one for one in parts if isinstance(one, str) and one)
            code = one_line(str(said.get("code")))
            reason = f"refuses {command}{where}: {one_line(words) or 'no reason'} (code {code})"
        elif answer.status < 0:
            reason = f"was killed by signal {-answer.status} in {command}{where}"
        elif answer.status:
            words = one_line(answer.stderr or answer.stdout) or "no message"
            reason = f"ended with status {answer.status} in {command}{where}: {words}"
        else:
            words = one_line(answer.stdout) or "nothing"
            reason = f"answered {command}{where} with what is no result: {words}"
        return AllocationError(f"{self.name} {reason}", _hint(self, said))


def find(name: str, folders: tuple[Path, ...], seconds: int) -> Plugin:
    """The plugin of that name in the first folder that has it.

    :raises AllocationError: none has
    """
    for folder in folders:
        program = folder / name
        if program.is_file() and os.access(program, os.X_OK):
            return Plugin(name, program, folders, seconds)
    raise AllocationError(
        f"there is no CNI plugin {name} in {PATH.name}={':'.join(map(str, folders))}",
        "Debian's package containernetworking-plugins has host-local, static and dhcp; mount "
        f"others and name their folder with `-e {PATH.name}=…`",
    )


def one_line(text: str) -> str:
    """A plugin's words within a message of ours."""
    line = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


def _parsed(text: str) -> Any:
    """The JSON that it is; None where it is none, or none that we take."""
    if len(text) > _LARGEST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_error(said: Mapping[str, Any]) -> bool:
    return "code" in said and "ips" not in said


def _hint(plugin: Plugin, said: Any) -> str:
    if isinstance(said, dict) and said.get("code") == _TRY_AGAIN:
        return "the plugin asks to try again later: start again"
    if plugin.name == "dhcp":
        return "does its daemon run (`dhcp daemon`), and can it open this container's CNI_NETNS?"
    return "these are the plugin's words; VMNET_LOG_LEVEL=debug shows the call"
