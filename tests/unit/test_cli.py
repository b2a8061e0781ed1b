"""The command line: usage, options, tables and JSON."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from tests.unit import recorder, running
from vmnet import __version__, cli, log
from vmnet.errors import MachineError, PrivilegeError, SettingsError, StateError, UsageError
from vmnet.lifecycle import command_record, saved_vm, state, stop_signals
from vmnet.model.devices import Disk
from vmnet.model.machine import Command, User
from vmnet.net import permissions
from vmnet.planning import preflight
from vmnet.planning.hardware import accelerator, memory
from vmnet.settings import core
from vmnet.settings.core import CORE, CPUS
from vmnet.terminal.colours import styled
from vmnet.terminal.findings import Finding
from vmnet.terminal.logged import logged
from vmnet.terminal.tables import table

Capture = pytest.CaptureFixture[str]


def run(*arguments: str, **environ: str) -> int:
    return cli.main(arguments, environ)


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",), ("help",)])
def test_usage(arguments: tuple[str, ...], capsys: Capture) -> None:
    assert run(*arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: vmnet COMMAND [OPTIONS]\n")
    for name, meaning in cli.COMMANDS.items():
        assert f"{name.ljust(11)} {meaning}" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("argument", ["-V", "--version", "version"])
def test_version(argument: str, capsys: Capture) -> None:
    assert run(argument) == 0
    assert capsys.readouterr().out == f"vmnet {__version__}\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plna", "unknown command plna (did you mean 'plan'?)"),
        ("zzz", "unknown command zzz"),
        ("output", "unknown command output"),
    ],
)
def test_an_unknown_command_is_an_error(command: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(command)
    assert (caught.value.message, caught.value.hint) == (
        message,
        "`vmnet --help` lists the commands",
    )


@pytest.mark.parametrize("option", ["-e", "-vga", "--jsno"])
def test_an_option_in_place_of_a_command_is_an_error(option: str) -> None:
    with pytest.raises(UsageError, match=f"^unknown command {option}") as caught:
        run(option)
    assert "`docker run -e VMNET_CPUS=2 … vmnet run -vga std`" in (caught.value.hint or "")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command(command: str, option: str, capsys: Capture) -> None:
    try:
        status = run(command, option)
    except SystemExit as ended:  # from argparse
        status = int(ended.code or 0)
    assert status == 0
    assert capsys.readouterr().out.startswith(f"usage: vmnet {command}")


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if name not in ("run", "plan")])
def test_an_unknown_option_is_an_error(command: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(command, "--colour")
    assert caught.value.message == f"vmnet {command}: unrecognized arguments: --colour"
    assert caught.value.hint == f"`vmnet {command} --help` lists the options"


def test_config_lists_every_variable(capsys: Capture) -> None:
    assert run("config", VMNET_MEMORY="2G") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["VARIABLE", "SET", "TO", "DEFAULT", "MEANING"]
    assert {row.name for row in CORE} <= {line.split()[0] for line in lines}
    (memory,) = (line for line in lines if line.startswith("VMNET_MEMORY "))
    assert memory.split()[1:3] == ["2G", "auto"]


def test_config_in_json(capsys: Capture) -> None:
    assert run("config", "--json", VMNET_MEMORY="2G", VMNET_DISK="") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["VMNET_MEMORY"]["value"] == "2G"
    assert rows["VMNET_MEMORY"]["default"] == "auto"
    assert rows["VMNET_DISK"] == {
        "name": "VMNET_DISK",
        "default": None,
        "value": None,
        "help": core.DISK.help,
    }
    assert "VMNET_QEMU_ARGS" in rows, "a plugin's variable"


@pytest.mark.parametrize("variable", ["VMNET_QEMU_ARGS", "VMNET_USER_DATA", "VMNET_VENDOR_DATA"])
@pytest.mark.parametrize("option", [(), ("--json",)])
def test_config_hides_values_that_may_contain_passwords(
    variable: str, option: tuple[str, ...], capsys: Capture
) -> None:
    assert run("config", *option, **{variable: "password=hunter2"}) == 0
    text = capsys.readouterr().out
    assert "hunter2" not in text
    assert "(hidden)" in text


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_config_names_the_files_of_secrets(
    option: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "user-data"
    path.write_text("password=hunter2")
    assert run("config", *option, VMNET_USER_DATA_FILE=str(path)) == 0
    text = capsys.readouterr().out
    assert f"(from {path})" in text
    assert "hunter2" not in text


def test_errors_hide_values_that_may_contain_passwords() -> None:
    with pytest.raises(SettingsError, match=r"^VMNET_QEMU_ARGS=\(hidden\) is not ") as caught:
        run("plan", VMNET_QEMU_ARGS="'-object secret,data=hunter2")
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_config_works_with_wrong_variables(capsys: Capture) -> None:
    """The hints of errors about variables refer to this command."""
    assert run("config", VMNET_MEMROY="2G", VMNET_CPUS="none") == 0
    assert "VMNET_MEMORY" in capsys.readouterr().out


def test_commands_that_need_settings_report_wrong_variables() -> None:
    with pytest.raises(SettingsError, match="VMNET_CPUS=none is not"):
        run("plan", VMNET_CPUS="none")


def test_check_reports_wrong_variables(capsys: Capture) -> None:
    assert run("check", "--json", VMNET_CPUS="none") == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding["result"] == "missing"
    assert finding["detail"] == "VMNET_CPUS=none is not a whole number from 1 to 1024, auto or max"
    assert "-e VMNET_CPUS=" in finding["remedy"]


@pytest.fixture
def environ(tmp_path: Path, recording: None) -> dict[str, str]:
    """The recorder for every stage, so that no command reads this machine's network."""
    recorder.select(tmp_path)
    return {
        **{f"VMNET_{stage}": "recorder" for stage in ("CAPTURE", "IPAM", "BRIDGE", "LAUNCH")},
        "VMNET_KERNEL": str(tmp_path / "vmlinuz"),
        "VMNET_ACCEL": "tcg",
        "VMNET_RUN_DIR": str(tmp_path / "run"),
    }


def test_plan_shows_everything_and_changes_nothing(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    recorder.CALLS.clear()
    chosen = {"VMNET_NIC_MODEL": "e1000", "VMNET_CPUS": "2", "VMNET_MEMORY": "64M"}
    assert run("plan", **chosen, **environ) == 0
    text = capsys.readouterr().out
    assert re.search(r"\narchitecture +\w+\nCPUs +2\nmemory +64 MiB\neth0 +e1000\n", text)
    for part in (
        "web",
        "02:42:ac:11:00:02",
        "172.17.0.2/16",
        "172.17.255.254/16",
        "recorder.txt",
        "delivered",
        "/bin/true",
        "recorder: the weather",
    ):
        assert part in text
    assert not {"vmnet_bridge_build", "vmnet_launch"} & set(recorder.calls())
    assert not (tmp_path / "run").exists()


def test_plan_in_json(environ: dict[str, str], capsys: Capture) -> None:
    assert run("plan", "--json", "--", "-m", "2G", **environ) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["identity"]["hostname"] == "web"
    assert plan["wiring"]["ports"][0]["backend"]["name"] == "tap0"
    assert plan["machine"]["kernel"]["path"] == environ["VMNET_KERNEL"]
    assert plan["command"]["argv"] == ["/bin/true", "-m", "2G"]


def test_plan_in_the_container_of_a_running_vm_shows_its_command(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    """A new plan would lack the arguments of `vmnet run`, and could choose another user."""
    run_dir = tmp_path / "run"
    state.save(run_dir, recorder.IDENTITY, recorder.WIRING)
    command = Command(("/bin/true", "-m", "2G"), user=User(64055, 64055, (108,)))
    command_record.save(run_dir, command)
    assert (run_dir / "command.json").stat().st_mode & 0o777 == 0o600
    assert run("plan", **environ) == 0
    assert "A VM has used this network" in capsys.readouterr().out
    running.machine(run_dir)
    assert run("plan", **environ) == 0
    text = capsys.readouterr().out
    assert "this is the plan of its start" in text
    assert "/bin/true \\\n  -m 2G" in text
    assert "user 64055, group 64055, without capabilities" in text
    assert run("plan", "--json", **environ) == 0
    assert json.loads(capsys.readouterr().out)["command"]["user"]["groups"] == [108]


def test_plan_in_the_container_of_a_running_vm_that_serves_its_metrics_on_loopback(
    environ: dict[str, str], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    state.save(run_dir, recorder.IDENTITY, recorder.WIRING)
    command_record.save(run_dir, Command(("/bin/true",)))
    running.machine(run_dir)
    with socket.create_server(("127.0.0.1", 0)) as exporter:
        environ["VMNET_METRICS"] = f"127.0.0.1:{exporter.getsockname()[1]}"
        assert run("plan", **environ) == 0


def test_plan_in_the_container_of_a_running_vm_shows_the_firmware_of_its_arguments(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    run_dir = tmp_path / "run"
    state.save(run_dir, recorder.IDENTITY, recorder.WIRING)
    command_record.save(run_dir, Command(("/bin/true", "-bios", "own")))
    own = "the user's own (-bios in the arguments for the hypervisor)"
    running.machine(run_dir, firmware=own)
    assert run("plan", **environ) == 0
    assert f"\nFirmware\n{own}\n" in capsys.readouterr().out
    running.machine(run_dir, firmware="BIOS (QEMU loads the kernel itself)")
    assert run("plan", "--json", **environ) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["firmware"]["kind"] == "bios"


def test_plan_shows_whether_a_start_resumes_a_saved_vm(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    assert run("plan", **environ) == 0
    assert "Saved VM" not in capsys.readouterr().out
    assert run("plan", "--json", **environ) == 0
    assert json.loads(capsys.readouterr().out)["saved_vm"] == ""
    command = Command(("/bin/true", "-m", "2G"))
    saved_vm.save(run_dir, saved_vm.describe(command, "10.0.2", (running.NIC,), ()))
    assert run("plan", "-m", "2G", **environ) == 0
    assert "\nSaved VM\na start resumes the guest" in capsys.readouterr().out
    assert run("plan", "--json", "-m", "2G", **environ) == 0
    assert json.loads(capsys.readouterr().out)["saved_vm"].startswith("a start resumes the guest")
    assert run("plan", **environ) == 0
    assert "does not resume it: these options of QEMU differ: -m" in capsys.readouterr().out
    (run_dir / "saved.json").write_text("{")
    assert run("plan", **environ) == 0
    assert "a start boots the guest: can't read " in capsys.readouterr().out
    assert (run_dir / "saved.json").exists()


def test_plan_needs_the_record_of_a_running_vm(environ: dict[str, str], tmp_path: Path) -> None:
    state.save(tmp_path / "run", recorder.IDENTITY, recorder.WIRING)
    running.machine(tmp_path / "run")
    with pytest.raises(StateError, match=r"can't read .*command\.json"):
        run("plan", **environ)


def test_a_start_as_another_user_than_root_says_so_first(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the first error would be about the run directory, which only root can write."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(stop_signals, "interruptible", lambda: None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").write_text("{")
    with pytest.raises(PrivilegeError, match=r"^vmnet runs as user 1000, but only root can "):
        run("run", **environ)


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing on this machine, whatever the user of the tests may do."""
    monkeypatch.setattr(preflight, "before_planning", lambda cpus: ())
    monkeypatch.setattr(permissions, "require_bridge_and_tap", lambda: None)
    monkeypatch.setattr(permissions, "lacking_module", lambda *, redirects: "")
    monkeypatch.setattr(memory, "require", lambda wanted: None)


@pytest.mark.usefixtures("able")
def test_check_looks_at_the_disks_of_plugins(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    disk = tmp_path / "disk"
    monkeypatch.setattr(recorder, "SEED", Disk(disk, "raw"))
    assert run("check", "--json", **environ) == 1
    (finding,) = (f for f in json.loads(capsys.readouterr().out) if f["what"] == "disk")
    assert finding["detail"] == f"the disk {disk} can't be read: No such file or directory"


@pytest.mark.usefixtures("able")
def test_an_image_that_a_start_will_download_does_not_fail_the_check(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    environ["VMNET_DISK"] = "https://192.0.2.1/disk.img"
    environ["VMNET_DISK_SHA256"] = "0" * 64
    environ["VMNET_DISK_STATE"] = str(tmp_path / "state")
    assert run("check", "--json", **environ) == 0
    (finding,) = (f for f in json.loads(capsys.readouterr().out) if f["what"] == "to boot")
    assert finding["result"] == "warning"
    assert "`vmnet run` downloads" in finding["remedy"]


@pytest.mark.usefixtures("able")
def test_check_goes_on_after_an_earlier_start(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The container restarted in a pod, or its network belongs to another container."""
    run_dir = tmp_path / "run"
    state.save(run_dir, recorder.IDENTITY, recorder.WIRING)
    monkeypatch.setattr(recorder, "SEED", Disk(tmp_path / "absent", "raw"))
    recorder.CALLS.clear()
    assert run("check", "--json", **environ) == 1
    findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["disk"]["result"] == "missing"
    assert findings["network"]["detail"].startswith("the network itself is not checked: a VM has")
    assert findings["hypervisor"]["detail"] == "/bin/true"
    assert "vmnet_capture" not in recorder.calls(), "the NICs are not as they were"
    running.machine(run_dir)
    assert run("check", "--json", **environ) == 0, "the running VM itself uses the disk"
    findings = {f["what"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["network"]["detail"] == "a running VM uses this network namespace"
    assert "disk" not in findings


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Restore the root logger after a test that configures it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []  # or configure() would close pytest's handlers
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("able", "root_logger")
@pytest.mark.parametrize("level", ["info", "error"])
def test_check_reports_what_a_start_logs_once_and_logs_nothing(
    level: str,
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(512))
    environ |= {"VMNET_DISK": str(disk), "VMNET_ACCEL": "auto"}
    monkeypatch.setattr(accelerator, "obstacle", lambda guests: "no /dev/kvm")
    log.configure({"VMNET_LOG_LEVEL": level})
    assert run("check", "--json", **environ) == 0
    logging.getLogger().warning("afterwards")
    printed = capsys.readouterr()
    assert printed.err == ("vmnet: warning: afterwards\n" if level == "info" else "")
    found = [(f["what"], f["result"], f["detail"]) for f in json.loads(printed.out)]
    (guessed,) = [each for each in found if "because its format is unknown" in each[2]]
    assert guessed[:2] == ("disk", "ok")
    (emulated,) = [each for each in found if "no /dev/kvm" in each[2]]
    assert emulated[:2] == ("accelerator", "warning")


@pytest.mark.usefixtures("able")
def test_check_and_plan_refuse_kvm_in_the_same_words(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    environ |= {"VMNET_ACCEL": "kvm"}
    monkeypatch.setattr(accelerator, "obstacle", lambda guests: "there is no device")
    assert run("check", "--json", **environ) == 1
    (found,) = [
        (finding["detail"], finding["remedy"])
        for finding in json.loads(capsys.readouterr().out)
        if finding["what"] == "accelerator"
    ]
    with pytest.raises(MachineError) as refused:
        run("plan", **environ)
    assert found == (refused.value.message, refused.value.hint)


def test_lines_become_findings_before_that_during_which_they_are_logged() -> None:
    def findings() -> Iterator[Finding]:
        yield Finding("first", "ok", "1")
        for _ in range(2):
            extra = {"event": "port.kept", "hint": "a remedy"}
            logging.getLogger("plugin").warning("kept %d", 9100, extra=extra)
        logging.getLogger("plugin").info("covered", extra={"event": "machine.emulated"})
        logging.getLogger("plugin").debug("for developers")
        yield Finding("second", "ok", "2")
        logging.getLogger("plugin").error("last")

    with logged() as found:
        seen = list(found.among(findings(), ("machine.emulated",)))
    assert seen == [
        Finding("first", "ok", "1"),
        Finding("port", "warning", "kept 9100", "a remedy"),
        Finding("second", "ok", "2"),
        Finding("message", "warning", "last"),
    ]


def test_plan_accepts_the_arguments_of_run(environ: dict[str, str], capsys: Capture) -> None:
    assert run("plan", "--json", "-m", "2G", **environ) == 0
    assert json.loads(capsys.readouterr().out)["command"]["argv"] == ["/bin/true", "-m", "2G"]


def test_table_columns_fit_their_content() -> None:
    rows = [("a", "long cell", "x"), ("wider", "b", ""), ("c", "", "the last column is open-ended")]
    assert table(("one", "two", "three"), rows) == (
        "ONE    TWO        THREE\n"
        "a      long cell  x\n"
        "wider  b\n"
        "c                 the last column is open-ended"
    )


def test_an_empty_table_has_only_a_head() -> None:
    assert table(("one", "two"), []) == "ONE  TWO"


def test_colour_only_on_a_terminal_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert styled("ok", "green") == "ok"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert styled("ok", "green") == "\033[32mok\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("ok", "green") == "ok"


def vmnet(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process."""
    argv = (sys.executable, "-m", "vmnet", *arguments)
    inherited = {name: value for name, value in os.environ.items() if name[:6] != "VMNET_"}
    return subprocess.run(
        argv, env={**inherited, **environ}, capture_output=True, text=True, timeout=WAIT
    )


def test_the_program_exits_with_the_code_of_the_error() -> None:
    done = vmnet("plan", VMNET_CPUS="none")
    assert (done.returncode, done.stdout) == (10, "")
    assert done.stderr.splitlines() == [
        "vmnet: error: VMNET_CPUS=none is not a whole number from 1 to 1024, auto or max",
        f"vmnet: hint: {CPUS.help}; set it with `-e VMNET_CPUS=…`",
    ]


def test_a_wrong_command_line_exits_with_2() -> None:
    done = vmnet("check", "--colour")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_errors_in_settings_are_logged_as_json() -> None:
    done = vmnet("hooks", VMNET_LOG="json", VMNET_MEMROY="1G")
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["message"].startswith("unknown variable VMNET_MEMROY")


def test_a_closed_output_pipe_is_no_error() -> None:
    """`vmnet config | head -1`."""
    script = f"{sys.executable} -m vmnet config | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(("bash", "-c", script), capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VARIABLE")
