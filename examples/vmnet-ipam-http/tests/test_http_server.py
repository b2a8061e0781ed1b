"""The hooks with the real server, over real TLS, on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
import vmnet_ipam_http as http
from attrs import evolve
from vmnet_ipam_http import claim

from tests.lab.command import run
from tests.lab.ipam.http import TOKEN, Certificates, Service, service, settings
from vmnet import testing
from vmnet.api import RUN_DIR, AllocationError, Identity, Settings


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.made(tmp_path)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def server(tmp_path: Path, certificates: Certificates, token: Path) -> Iterator[Service]:
    options = (
        *("--certificate", str(certificates.server), "--token-file", str(token)),
        *("--domain", "vm.test", "--nameserver", "10.20.0.53"),
    )
    with service(tmp_path, *options) as server:
        yield server


@pytest.fixture
def chosen(tmp_path: Path, server: Service, certificates: Certificates, token: Path) -> Settings:
    return settings(
        tmp_path / "run", URL=server.url, CA=str(certificates.ca), TOKEN_FILE=str(token)
    )


def allocate(chosen: Settings, identity: Identity | None = None) -> Identity:
    return http.vmnet_ipam_allocate(chosen, identity or testing.identity())


def release(chosen: Settings) -> None:
    http.vmnet_ipam_release(chosen, testing.identity())


def test_an_address_is_allocated_and_released(server: Service, chosen: Settings) -> None:
    identity = allocate(chosen)
    (nic,) = identity.interfaces
    assert nic.addresses == (ip_interface("10.20.0.2/24"),)
    assert nic.routes == (testing.route("0.0.0.0/0", "10.20.0.1"),)
    assert (nic.name, nic.mac, nic.mtu) == ("eth0", "02:42:ac:11:00:02", 1500)
    assert identity.resolver.nameservers == (ip_address("10.20.0.53"),)
    assert (identity.domain, identity.resolver.search) == ("vm.test", ("vm.test",))
    assert identity.hostname == "web"
    assert list(server.allocated()) == ["10.20.0.2"]
    release(chosen)
    assert server.is_empty()


def test_releasing_without_an_allocation_is_no_error(server: Service, chosen: Settings) -> None:
    release(chosen)
    allocate(chosen)
    assert claim.load(chosen[RUN_DIR]) is not None
    release(chosen)
    assert claim.load(chosen[RUN_DIR]) is None
    release(chosen)
    assert server.is_empty()


def test_containers_with_the_same_mac_and_name_get_different_addresses(
    server: Service, chosen: Settings, tmp_path: Path
) -> None:
    """Docker's default bridge has the same addresses, and so the same MACs, on every host."""
    other = settings(
        tmp_path / "other",
        **{name: value for name, value in chosen.given.items() if name != "VMNET_RUN_DIR"},
    )
    first, second = allocate(chosen), allocate(other)
    assert first.interfaces[0].mac == second.interfaces[0].mac
    assert first.interfaces[0].addresses != second.interfaces[0].addresses
    release(chosen)
    assert list(server.allocated()) == ["10.20.0.3"]


def test_a_crash_between_request_and_answer_is_released(
    server: Service, chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmnet_ipam_http.protocol.read", _die)
    with pytest.raises(KeyboardInterrupt):
        allocate(chosen)
    assert list(server.allocated()) == ["10.20.0.2"]
    release(chosen)
    assert server.is_empty()


def _die(body: bytes) -> None:
    raise KeyboardInterrupt


def test_a_repeated_request_gets_the_same_allocation(
    server: Service, certificates: Certificates
) -> None:
    first, again = (_curl(server, certificates, "PUT", _question()) for _ in range(2))
    assert (first[0], again[0]) == (201, 200)
    assert first[1] == again[1]
    assert len(server.allocated()) == 1
    status, problem = _curl(server, certificates, "PUT", _question(hostname="other"))
    assert (status, json.loads(problem)["title"]) == (422, "different request")


def test_a_request_that_arrives_after_its_release_allocates_nothing(
    server: Service, certificates: Certificates
) -> None:
    assert _curl(server, certificates, "DELETE")[0] == 204
    status, problem = _curl(server, certificates, "PUT", _question())
    assert (status, json.loads(problem)["title"]) == (410, "released")
    assert server.is_empty()


def _question(**changes: str) -> str:
    nic = {"name": "eth0", "mac": "02:42:ac:11:00:02", "mtu": 1500, "addresses": []}
    return json.dumps({"hostname": "web", "interfaces": [nic], **changes})


def _curl(
    server: Service, certificates: Certificates, method: str, body: str = "", id: str = ""
) -> tuple[int, str]:
    """Send a request with another client, and return status and body."""
    url = f"{server.url}/v1/allocations/{id or '7e5f0c42-0000-4000-8000-000000000001'}"
    command = ("curl", "-sS", "--max-time", "20", "-X", method, "--data-binary", "@-")
    credentials = ("--cacert", certificates.ca, "-H", f"Authorization: Bearer {TOKEN}")
    done = run(*command, *credentials, "-w", "\n%{http_code}", url, input=body)
    answer, _, status = done.stdout.rpartition("\n")
    return int(status), answer


def test_each_nic_gets_its_own_address(server: Service, chosen: Settings) -> None:
    captured = testing.identity(
        testing.interface("172.17.0.2/16", gateway="172.17.0.1"),
        testing.interface("10.9.0.4/24", name="eth1"),
    )
    identity = allocate(chosen, captured)
    allocated = [
        (interface.name, str(interface.addresses[0]), len(interface.routes))
        for interface in identity.interfaces
    ]
    assert allocated == [("eth0", "10.20.0.2/24", 1), ("eth1", "10.20.0.3/24", 0)]
    release(chosen)
    assert server.is_empty()


def test_the_user_s_settings_take_precedence_over_the_service(
    server: Service, chosen: Settings, tmp_path: Path
) -> None:
    """The capture has applied VMNET_DNS already."""
    mine = settings(tmp_path / "run", **chosen.given, VMNET_DNS="192.0.2.53")
    captured = testing.identity(resolver=testing.resolver("192.0.2.53"))
    identity = allocate(mine, captured)
    assert identity.resolver == evolve(captured.resolver, search=("vm.test",))


def test_an_empty_pool_is_a_clear_error_and_nothing_leaks(
    tmp_path: Path, certificates: Certificates
) -> None:
    """With two NICs and a single address, the service keeps nothing allocated."""
    options = ("--certificate", str(certificates.server))
    with service(tmp_path, *options, pool="10.20.0.4/30", gateway="10.20.0.5") as server:
        chosen = settings(tmp_path / "run", URL=server.url, CA=str(certificates.ca))
        nics = (testing.interface(), testing.interface(name="eth1"))
        with pytest.raises(AllocationError) as caught:
            allocate(chosen, testing.identity(*nics))
        assert "answers 409 pool exhausted: all addresses of 10.20.0.4/30 are in use" in str(
            caught.value
        )
        assert "the pool is exhausted" in caught.value.hint
        assert server.is_empty()
        release(chosen)


def test_an_unknown_token_is_refused_and_never_printed(
    server: Service,
    chosen: Settings,
    tmp_path: Path,
    token: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-token")
    mine = settings(tmp_path / "run", **{**chosen.given, "VMNET_HTTP_TOKEN_FILE": str(wrong)})
    with pytest.raises(AllocationError) as caught:
        allocate(mine)
    assert "answers 401 unknown token to PUT" in caught.value.message
    assert "VMNET_HTTP_TOKEN_FILE" in caught.value.hint
    token.write_text("not-the-token")  # the server reads its token for each request
    allocate(mine)
    wrong.write_text(TOKEN)
    with pytest.raises(AllocationError, match="answers 401 unknown token to DELETE"):
        release(mine)
    token.write_text(TOKEN)
    release(mine)
    assert server.is_empty()
    output = caplog.text + server.process.output() + str(caught.value) + caught.value.hint
    assert "not-the-token" not in output
    assert TOKEN not in output


def test_the_service_that_allocated_gets_the_release(
    server: Service, chosen: Settings, tmp_path: Path
) -> None:
    """The settings of the next start may name another service, or none."""
    allocate(chosen)
    given = {**chosen.given, "VMNET_IPAM": "nodhcp", "VMNET_HTTP_URL": "https://127.0.0.1:1"}
    http.vmnet_ipam_release(settings(tmp_path / "run", **given), testing.identity())
    assert server.is_empty()


def test_a_service_that_requires_client_certificates(
    tmp_path: Path, certificates: Certificates
) -> None:
    client_certificate = certificates.issue("client", "container.test")
    options = ("--certificate", str(certificates.server), "--client-ca", str(certificates.ca))
    with service(tmp_path, *options) as server:
        common = {"URL": server.url, "CA": str(certificates.ca), "RETRIES": "1"}
        with pytest.raises(AllocationError) as caught:
            allocate(settings(tmp_path / "run", **common))
        assert "VMNET_HTTP_CERTIFICATE" in caught.value.hint
        assert "TLS fails" in caught.value.message
        chosen = settings(tmp_path / "run", **common, CERTIFICATE=str(client_certificate))
        allocate(chosen)
        assert list(server.allocated()) == ["10.20.0.2"]
        release(chosen)
        assert server.is_empty()
