"""The client of the guest's agent: it gets through to a good agent, and survives a hostile one."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.wait import WAIT
from tests.unit import qmp, running
from vmnet.errors import GuestError
from vmnet.running import agent, guest_exec, guest_network, sockets
from vmnet.running.agent import AgentError, AgentSession, NoAgentError
from vmnet.running.agent_values import Answer, InvalidError, printable
from vmnet.running.guest_exec import Outcome

Reply = Callable[[str, dict[str, Any]], Any]


@contextmanager
def answering(listener: socket.socket, reply: Reply) -> Iterator[list[str]]:
    """Serve as an agent, and yield the commands that it has got."""
    asked: list[str] = []

    def talk(connection: socket.socket) -> None:
        for line in connection.makefile("rb"):
            request = json.loads(line.lstrip(b"\xff"))
            command, arguments = request["execute"], request.get("arguments", {})
            asked.append(command)
            if command == "guest-sync-delimited":
                answer: Any = b'half an answer\n\xff{"return": 3}\n\xff'
                answer += json.dumps({"return": arguments["id"]}).encode() + b"\n"
            else:
                answer = reply(command, arguments)
            if not isinstance(answer, bytes):
                answer = json.dumps(answer).encode() + b"\n"
            connection.sendall(answer)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield asked
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(WAIT)


@contextmanager
def agent_at(path: Path, reply: Reply) -> Iterator[list[str]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with answering(listener, reply) as asked:
            yield asked


@contextmanager
def sent(data: bytes) -> Iterator[AgentSession]:
    """A session with an agent that has sent some bytes and then closed the channel."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(data)
        yield AgentSession(ours)


def test_a_session_discards_answers_to_earlier_sessions(tmp_path: Path) -> None:
    with (
        agent_at(tmp_path / "agent.sock", lambda command, _: {"return": command}) as asked,
        agent.session(tmp_path / "agent.sock") as session,
    ):
        assert session.ask("guest-ping").text() == "guest-ping"
    assert asked == ["guest-sync-delimited", "guest-ping"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"error": {"class": "GenericError", "desc": "not \x1b[2J now"}}, "not �\\[2J now"),
        ({"error": {"desc": 7}}, "invalid"),
        ({"error": []}, "invalid"),
        ([], "invalid"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"1" * 10_000 + b"\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"x" * (2 << 20), "longer than"),
    ],
)
def test_a_refusal_or_an_invalid_answer_is_an_error(tmp_path: Path, answer: Any, why: str) -> None:
    with (
        agent_at(tmp_path / "agent.sock", lambda *_: answer),
        agent.session(tmp_path / "agent.sock") as session,
        pytest.raises(AgentError, match=why),
    ):
        session.ask("guest-info")


@pytest.mark.parametrize(
    ("why", "hint"),
    [
        ("Command guest-exec has been disabled", "/etc/qemu/qemu-ga.conf"),
        ("Failed to execute child process “x” (No such file or directory)", "sh -c"),
        ("The command guest-exec has not been found", "newer qemu-guest-agent"),
        ("something else", "log in the guest"),
    ],
)
def test_a_refusal_has_a_remedy(tmp_path: Path, why: str, hint: str) -> None:
    with (
        agent_at(tmp_path / "agent.sock", lambda *_: {"error": {"desc": why}}),
        agent.session(tmp_path / "agent.sock") as session,
        pytest.raises(AgentError) as refused,
    ):
        session.ask("guest-exec")
    assert hint in refused.value.hint


def test_silence_and_a_flood_end_in_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(AgentError, match="does not answer guest-ping"):
            AgentSession(ours).ask("guest-ping", seconds=0.01)

        def flood() -> None:
            with suppress(OSError):
                while True:
                    theirs.sendall(b"noise" * 1000)

        thread = threading.Thread(target=flood)
        thread.start()
        with pytest.raises(AgentError, match="does not answer guest-sync-delimited"):
            AgentSession(ours).synchronise(0.1)
        ours.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["return"]), inner),
)
_KEYS = st.sampled_from(
    (
        *("exited", "exitcode", "signal", "out-data", "err-truncated", "pid"),
        *("hardware-address", "ip-addresses", "ip-address"),
    )
)
_LIKELY = st.booleans() | st.integers(-1, 300) | st.sampled_from(["AA==", "!", "::1", "a\nb"])
_SHAPED = st.recursive(
    _LIKELY, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner)
)


@given(st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode() + b"\n"))
def test_no_bytes_cause_anything_but_an_error_or_an_answer(data: bytes) -> None:
    with sent(data) as session, suppress(GuestError):
        session.ask("guest-ping")
    with sent(data) as session, pytest.raises(GuestError):
        session.synchronise()


@given(_SHAPED | _JSON)
def test_no_answer_causes_anything_but_an_error_or_a_result(value: Any) -> None:
    answer = Answer("a command", value)
    with suppress(InvalidError):
        outcome = guest_exec.outcome(answer)
        assert 0 <= outcome.status <= 255
        assert isinstance(outcome.stdout, bytes)
    with suppress(InvalidError):
        for addresses in guest_network.addresses(answer).values():
            assert "\n" not in " ".join(addresses)
    with suppress(InvalidError):
        assert answer.text().isprintable() or not answer.text()


def test_text_of_the_guest_is_short_and_without_controls() -> None:
    assert printable("a\x1b]0;title\x07\n‮b") == "a�]0;title���b"
    assert len(printable("x" * 1000)) == 200


def test_a_busy_channel_is_an_error_that_names_the_other_program(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with (
        agent_at(path, lambda *_: {"return": {}}),
        agent.session(path) as other,
        pytest.raises(GuestError, match="serves one client at a time"),
        agent.session(path, 0.1),
    ):
        other.ask("guest-ping")


def test_a_command_waits_for_the_sessions_of_other_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs may take long, such as for large answers."""
    path, passed = tmp_path / "agent.sock", [0]

    def reply(command: str, _: dict[str, Any]) -> Any:
        return {
            "return": {"pid": 5} if command == "guest-exec" else {"exited": True, "exitcode": 0}
        }

    def sleep(seconds: float) -> None:
        if passed[0] < 30:
            passed[0] += 1
        else:
            other.close()
            time.sleep(seconds)

    with agent_at(path, reply), socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        AgentSession(other).ask("guest-ping")
        fake = SimpleNamespace(monotonic=lambda: passed[0], sleep=sleep)
        monkeypatch.setattr(sockets, "time", fake)
        assert guest_exec.run(path, ("true",), None, None) == Outcome(0)


def test_a_missing_agent_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(NoAgentError, match="no channel") as none:
        agent.require(running.machine(tmp_path, agent=None))
    assert "VMNET_AGENT=on" in none.value.hint
    record = running.machine(tmp_path)
    chardev = {"filename": f"disconnected:unix:{tmp_path}/.agent.sock,server=on"}
    with qmp.qemu(record.qmp or tmp_path) as qemu:
        qemu.answers = {"query-chardev": [{**chardev, "frontend-open": True}]}
        assert agent.require(record) == record.agent
        qemu.answers = {"query-chardev": [{**chardev, "frontend-open": False}]}
        with pytest.raises(NoAgentError, match="no qemu-guest-agent runs") as stopped:
            agent.require(record)
    assert "apt install qemu-guest-agent" in stopped.value.hint


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"exited": True, "exitcode": 7, "err-data": "YQ=="}, Outcome(7, stderr=b"a")),
        ({"exited": True, "signal": 9}, Outcome(137)),
        ({"exited": True, "exitcode": 0xC0000005}, Outcome(255)),  # Windows
        (
            {"exited": True, "exitcode": 0, "out-data": "", "out-truncated": True},
            Outcome(0, truncated=("stdout",)),
        ),
    ],
)
def test_the_outcome_of_a_command(answer: dict[str, Any], expected: Outcome) -> None:
    assert guest_exec.outcome(Answer("guest-exec-status", answer)) == expected


def test_a_command_that_can_not_be_ended_is_reported(tmp_path: Path) -> None:
    """As in Windows, which has no shell of this name."""

    def reply(command: str, arguments: dict[str, Any]) -> Any:
        if command == "guest-exec":
            is_shell = arguments["path"] == "/bin/sh"
            return {"error": {"desc": "no such file"}} if is_shell else {"return": {"pid": 5}}
        return {"return": {"exited": False}}

    with agent_at(tmp_path / "agent.sock", reply):
        outcome = guest_exec.run(tmp_path / "agent.sock", ("sleep", "9"), b"in", 0.05)
    assert outcome == Outcome(guest_exec.TIMED_OUT, timed_out=True, running=5)


def interface(mac: str, *addresses: str) -> dict[str, Any]:
    listed = [{"ip-address": address, "prefix": 16} for address in addresses]
    return {"name": "eth0", "hardware-address": mac.upper(), "ip-addresses": listed}


@pytest.mark.parametrize(
    ("interfaces", "verdict", "missing", "others"),
    [
        ([interface(running.NIC.mac, "172.17.0.2", "fe80::1")], "agree", (), ()),
        ([interface(running.NIC.mac, "10.0.0.9")], "differ", ("172.17.0.2",), ("10.0.0.9",)),
        ([interface(running.NIC.mac)], "differ", ("172.17.0.2",), ()),
        ([interface("02:00:00:00:00:09"), {"name": "lo"}], "differ", ("172.17.0.2",), ()),
    ],
)
def test_the_guests_addresses_are_compared(
    interfaces: list[Any], verdict: str, missing: tuple[str, ...], others: tuple[str, ...]
) -> None:
    found = guest_network.addresses(Answer("guest-network-get-interfaces", interfaces))
    judged = guest_network.judge(running.NIC, found.get(running.NIC.mac))
    assert (judged.verdict, judged.missing, judged.others) == (verdict, missing, others)
