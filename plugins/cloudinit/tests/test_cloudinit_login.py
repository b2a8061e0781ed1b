"""SSH keys and the password of the guest's default user, and the guest's agent."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
import vmnet_cloudinit
import yaml
from attrs import evolve
from vmnet_cloudinit import login, metadata, replaced, seed, vendordata
from vmnet_cloudinit.content import UserContent

from tests.lab.command import run
from vmnet import testing
from vmnet.api import SettingsError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGR4dmF1bHQga2V5IG9mIGEgdGVzdA user@host"
HASH = "$6$salt$Tc3eT6Y1xn/SuOrKFyOXuFkX3hO2K3UPRX8xUOPWdYvj8fWUBqxZ0vLb9P"


def refused(**environ: str) -> str:
    given = testing.settings(environ, *vmnet_cloudinit.vmnet_settings())
    identity = testing.identity()
    with pytest.raises(SettingsError) as caught:
        vmnet_cloudinit.vmnet_ipam_deliver(given, identity, testing.wiring(identity))
    return f"{caught.value.message}; {caught.value.hint}"


def test_keys_inline_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# mine\n{KEY}\n\necdsa-sha2-nistp256 {'A' * 40}\n")
    assert login.keys("VMNET_SSH_KEY", KEY) == (KEY,)
    assert login.keys("VMNET_SSH_KEY", path) == (KEY, f"ecdsa-sha2-nistp256 {'A' * 40}")
    assert login.keys("VMNET_SSH_KEY", None) == ()


def test_a_key_of_ssh_keygen_is_accepted(tmp_path: Path) -> None:
    for kind in ("ed25519", "rsa", "ecdsa"):
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / kind)
        assert login.keys("VMNET_SSH_KEY", tmp_path / f"{kind}.pub")
        assert "is a private key" in refused(VMNET_SSH_KEY=str(tmp_path / kind))


@pytest.mark.parametrize("value", ["AAAA", f"{KEY}\nother", "# nothing", f'command="x" {KEY}'])
def test_what_is_no_key_is_refused(value: str) -> None:
    assert "VMNET_SSH_KEY is not a public SSH key a line" in refused(VMNET_SSH_KEY=value)


def test_a_missing_file_of_keys_is_refused() -> None:
    assert refused(VMNET_SSH_KEY="/nowhere").startswith("VMNET_SSH_KEY=/nowhere: ")


@pytest.mark.parametrize("value", ["secret", "$y$j9T$abc$def", "$6$only", "$6$a$b:c"])
def test_a_password_that_is_no_hash_is_refused_and_not_quoted(value: str) -> None:
    """cloud-init would set a hash that it does not know as the password itself."""
    message = refused(VMNET_PASSWORD=value)
    assert "VMNET_PASSWORD is not the hash of a password; make one by `openssl" in message
    assert value not in message


def test_a_hash_of_openssl_is_accepted() -> None:
    made = run("openssl", "passwd", "-6", "secret").stdout.strip()
    assert login.password_hash("VMNET_PASSWORD", made) == made


def test_the_seed_has_keys_in_its_meta_data_and_the_rest_in_its_vendor_data() -> None:
    identity = testing.identity()
    own = UserContent(ssh_keys=(KEY,), config=login.config(HASH, installs_agent=True))
    files = seed.files(identity, testing.wiring(identity), own)
    assert yaml.safe_load(files["meta-data"])["public-keys"] == [KEY]
    assert HASH.encode() in files["vendor-data"]
    assert b"qemu-guest-agent" in files["vendor-data"]
    assert metadata.metadata(identity, testing.wiring(identity)).keys() == {
        "instance-id",
        "local-hostname",
    }


def test_without_settings_the_vendor_data_is_unchanged() -> None:
    identity = testing.identity()
    config = login.config(None, installs_agent=False)
    assert vendordata.vendor_data(identity, None, config) == vendordata.vendor_data(identity, None)


@pytest.mark.parametrize(
    ("user_data", "lost"),
    [
        ("users: [{name: me}]", {"VMNET_SSH_KEY", "VMNET_PASSWORD"}),
        ("users: []", {"VMNET_SSH_KEY", "VMNET_PASSWORD"}),
        ("users: [default, {name: me}]", set()),
        ("users: [{name: default}]", set()),
        ("users: me, default", set()),
        ("users: {me: {}}", set()),
        ("packages: [vim]", {"VMNET_INSTALL_AGENT"}),
        ("packages: [vim, qemu-guest-agent]", set()),
        ("packages: [[qemu-guest-agent, '1.0']]", set()),
        ("packages: [vim, {apt: [[qemu-guest-agent, '1.0']]}, {snap: [vim]}]", set()),
        ("packages: [[], {apt: vim}, {snap: [vim]}]", {"VMNET_INSTALL_AGENT"}),
        ("hostname: x", set()),
        ("", set()),
    ],
)
def test_what_user_data_replaces_is_reported(user_data: str, lost: set[str]) -> None:
    given = testing.settings(
        {
            "VMNET_USER_DATA": f"#cloud-config\n{user_data}",
            "VMNET_SSH_KEY": KEY,
            "VMNET_PASSWORD": HASH,
            "VMNET_INSTALL_AGENT": "on",
        },
        *vmnet_cloudinit.vmnet_settings(),
    )
    identity = testing.identity()
    delivery = vmnet_cloudinit.vmnet_ipam_deliver(given, identity, testing.wiring(identity))
    lines = (line.partition(": ") for line in delivery.not_carried)
    assert {name for name, _, why in lines if "user-data" in why} == lost


@pytest.mark.parametrize(
    ("user_data", "lines"),
    [
        (
            "runcmd: [[echo, hello]]",
            ["VMNET_INSTALL_AGENT: the user-data's `runcmd` does not start qemu-guest-agent"],
        ),
        ("runcmd: [systemctl start qemu-guest-agent]", []),
        ("runcmd: [[systemctl, start, qemu-guest-agent.service]]", []),
        ("password: x", ["VMNET_PASSWORD: the user-data has `password`"]),
        (
            "chpasswd: {users: [{name: me, type: RANDOM}]}",
            ["VMNET_PASSWORD: the user-data has `chpasswd`"],
        ),
        ("chpasswd: {expire: true}", []),
        ("ntp: {servers: [192.0.2.9]}", ["time servers: the user-data has its own `ntp`"]),
        ("ntp: {enabled: false}", ["time servers: the user-data has its own `ntp`"]),
        ("ntp: {pools: [pool.example]}", []),
        *(
            (
                f"vendor_data: {disabled}\nruncmd: [x]",
                [
                    "names in the hosts file: the user-data disables vendor-data",
                    "time servers: the user-data disables vendor-data",
                    "VMNET_VENDOR_DATA: the user-data disables vendor-data",
                    "VMNET_SHARE: the user-data disables vendor-data",
                    "VMNET_PASSWORD: the user-data disables vendor-data",
                    "VMNET_INSTALL_AGENT: the user-data disables vendor-data",
                ],
            )
            for disabled in ("{enabled: false}", "{enabled: 'no'}", "false")
        ),
        ("vendor_data: {enabled: true}", []),
        ("vendor_data: {prefix: /bin/sh}", []),
    ],
)
def test_what_user_data_replaces_in_the_vendor_data_is_reported(
    user_data: str, lines: list[str]
) -> None:
    own = UserContent(
        f"#cloud-config\n{user_data}\n".encode(),
        b"#!/bin/sh\n",
        ssh_keys=(KEY,),
        config=login.config(HASH, installs_agent=True),
        shared_folders=(Path("/data"),),
    )
    identity = testing.identity(ntp=(IPv4Address("192.0.2.1"),))
    assert list(replaced.not_carried(own, identity)) == lines
    nothing = evolve(own, vendor_data=None, ssh_keys=(), config={}, shared_folders=())
    unset = list(replaced.not_carried(nothing, testing.identity()))
    assert unset == [line for line in lines if line.startswith("names in ")]


def test_only_settings_that_are_set_are_lost() -> None:
    own = UserContent(b"#!/bin/sh\n", ssh_keys=(KEY,))
    assert not tuple(replaced.not_carried(own, testing.identity()))
    own = UserContent(b"#cloud-config\nusers: []\npackages: []\n")
    assert not tuple(replaced.not_carried(own, testing.identity()))
