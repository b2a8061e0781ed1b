"""The plugin's hooks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import vmnet_cloudinit
from attrs import evolve

from tests.lab.command import run
from vmnet import testing
from vmnet.api import Cdrom, Delivery, Requirements, Settings, SettingsError


def settings(**environ: str) -> Settings:
    return testing.settings(environ, *vmnet_cloudinit.vmnet_settings())


def deliver(given: Settings) -> Delivery:
    identity = testing.identity()
    return vmnet_cloudinit.vmnet_ipam_deliver(given, identity, testing.wiring(identity))


@pytest.mark.parametrize(
    ("nameserver", "required"),
    [("192.0.2.53", Requirements()), ("127.0.0.11", Requirements(dns=True))],
)
def test_a_resolver_on_loopback_needs_a_forwarder(nameserver: str, required: Requirements) -> None:
    identity = testing.identity(resolver=testing.resolver(nameserver))
    for forwarder, claims in (("dnsmasq", True), ("another", False)):
        given = settings(VMNET_FORWARDER=forwarder)
        expected = evolve(required, claims=claims)
        assert vmnet_cloudinit.vmnet_ipam_requirements(given, identity) == expected


def test_the_drive_contains_the_written_image() -> None:
    given = settings(VMNET_RUN_DIR="/run/elsewhere")
    identity = testing.identity()
    (file,) = deliver(given).files
    devices = vmnet_cloudinit.vmnet_devices(given, identity, testing.wiring(identity))
    assert devices == (Cdrom(file.path),) == (Cdrom(Path("/run/elsewhere/seed.iso")),)


def test_user_data_inline_and_from_a_file(tmp_path: Path) -> None:
    script = "#!/bin/sh\necho 'grüße'\n"
    path = tmp_path / "user-data"
    path.write_text(script)
    inline, file = (deliver(settings(VMNET_USER_DATA=value)) for value in (script, str(path)))
    assert inline == file
    secret = deliver(settings(VMNET_USER_DATA_FILE=str(path)))
    assert script.strip().encode() in secret.files[0].content
    assert script.encode() in inline.files[0].content


def test_the_error_names_the_variable() -> None:
    with pytest.raises(SettingsError, match=r"^VMNET_VENDOR_DATA=/nowhere: "):
        deliver(settings(VMNET_VENDOR_DATA="/nowhere"))


def test_the_error_names_the_file_of_a_secret_and_does_not_quote_it(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_text("password: hunter2\n")
    with pytest.raises(SettingsError) as caught:
        deliver(settings(VMNET_USER_DATA_FILE=str(path)))
    assert caught.value.message.startswith(f"VMNET_USER_DATA_FILE={path} does not start with ")
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_importing_the_plugin_imports_no_large_modules() -> None:
    program = "import sys, vmnet_cloudinit; print(*sys.modules)"
    loaded = run(sys.executable, "-c", program).stdout.split()
    assert not {"yaml", "pycdlib", "gzip", "hashlib"}.intersection(loaded)
