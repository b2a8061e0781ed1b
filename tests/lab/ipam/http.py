"""Helpers for the tests of vmnet-ipam-http: its server, a misbehaving server, certificates."""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import trustme
from attrs import define, field, frozen
from vmnet_ipam_http import vmnet_settings

from vmnet import testing
from vmnet.settings.table import Settings

from ..command import Process, background
from ..folders import open_to_readers
from ..net.lan import Lan
from ..net.namespace import Namespace
from ..wait import WAIT, until

FOLDER = Path(__file__).parents[3] / "examples" / "vmnet-ipam-http"
TOKEN = "a-token.of_letters~and+digits/0123=="


@frozen
class Certificates:
    """A CA for a test, and the PEM files of the certificates that it signed."""

    folder: Path
    authority: trustme.CA
    ca: Path
    server: Path

    @classmethod
    def made(cls, folder: Path, *names: str) -> Certificates:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificates = cls(folder, authority, folder / "ca.pem", folder / "server.pem")
        certificates.issue("server", *(names or ("127.0.0.1", "localhost")))
        return certificates

    def issue(self, name: str, *subjects: str) -> Path:
        """Write a certificate and its key to one file."""
        path = self.folder / f"{name}.pem"
        self.authority.issue_cert(*subjects).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def serving(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server)
        return context


@frozen
class Service:
    """The example's server, running."""

    url: str
    database: Path
    process: Process

    def allocated(self) -> dict[str, str]:
        """Return the ID of the container that has each allocated address."""
        with closing(sqlite3.connect(self.database, timeout=WAIT)) as store:
            return dict(store.execute("SELECT address, id FROM address"))

    def is_empty(self) -> bool:
        with closing(sqlite3.connect(self.database, timeout=WAIT)) as store:
            (number,) = store.execute("SELECT count(*) FROM allocation").fetchone()
        return number == 0 and not self.allocated()


@contextmanager
def service(
    folder: Path,
    *options: str,
    host: str = "127.0.0.1",
    where: Namespace | None = None,
    pool: str = "10.20.0.0/24",
    gateway: str = "10.20.0.1",
    port: int = 0,
) -> Iterator[Service]:
    """Run the example's server, by default on a free port; over TLS if given a certificate."""
    database = folder / "ipam.sqlite"
    program = (sys.executable, str(FOLDER / "server/ipam_server.py"), "--pool", pool)
    words = (*program, "--gateway", gateway, "--database", str(database))
    running = where.popen if where else background
    with running(*words, "--listen", f"{host}:{port}", *options) as process:

        def listening_port() -> str | None:
            process.require_running()
            _, found, rest = process.output().partition(f"listening on {host}:")
            return rest.split()[0] if found and "\n" in rest else None

        scheme = "https" if "--certificate" in options else "http"
        number = until(listening_port, WAIT, "the server to listen", detail=process.output)
        yield Service(f"{scheme}://{host}:{number}", database, process)


@frozen
class Site:
    """A LAN, the service at its gateway over TLS, and the settings of its client."""

    network: Lan
    folder: Path
    options: tuple[str, ...]
    environ: Mapping[str, str]

    @classmethod
    def made(cls, network: Lan, folder: Path, **environ: str) -> Site:
        """:param environ: further variables for every container"""
        open_to_readers(folder)  # dnsmasq and QEMU read files here without being root
        certificates, token = Certificates.made(folder, network.gateway), folder / "token"
        token.write_text(TOKEN)
        common = {
            **{name: text for name, text in os.environ.items() if not name.startswith("VMNET_")},
            "VMNET_IPAM": "http",
            "VMNET_HTTP_CA": str(certificates.ca),
            "VMNET_HTTP_TOKEN_FILE": str(token),
            "VMNET_HTTP_TIMEOUT": "60",
        }
        options = ("--certificate", str(certificates.server), "--token-file", str(token))
        return cls(network, folder, options, {**common, **environ})

    @contextmanager
    def service(self, pool: str = "172.30.1.128/25", port: int = 0) -> Iterator[Service]:
        where, gateway = self.network.host, self.network.gateway
        options = ("--subnet", str(self.network.network), *self.options)
        with service(
            self.folder,
            *options,
            host=gateway,
            where=where,
            pool=pool,
            gateway=gateway,
            port=port,
        ) as made:
            yield made

    def settings(self, url: str, name: str = "web", **more: str) -> dict[str, str]:
        """Return the environment of a container."""
        variables = {"VMNET_HTTP_URL": url, "VMNET_RUN_DIR": str(self.run_dir(name))}
        return {**self.environ, **variables, **more}

    def run_dir(self, name: str = "web") -> Path:
        return self.folder / f"run-{name}"


Step = bytes | Callable[[socket.socket], None]


@define
class Misbehaving:
    """A server that answers each connection with its next step, and repeats the last step."""

    url: str
    steps: list[Step]
    requests: list[str] = field(factory=list)
    over: threading.Event = field(factory=threading.Event)

    def hang(self, connection: socket.socket) -> None:
        """Send nothing until the test ends."""
        self.over.wait(WAIT)

    def drip(self, connection: socket.socket) -> None:
        """Send an answer that never ends, a byte at a time."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.over.wait(0.05):
            connection.sendall(b"x")

    def serve(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        while not self.over.is_set():
            with suppress(OSError):  # the client may close the connection at any time
                self._serve_one(listener, tls)

    def _serve_one(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        accepted, _ = listener.accept()
        accepted.settimeout(60)
        connection = tls.wrap_socket(accepted, server_side=True) if tls else accepted
        with connection:
            self.requests.append(_request(connection))
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
            if isinstance(step, bytes):
                connection.sendall(step)
            else:
                step(connection)


@contextmanager
def misbehaving(*steps: Step, tls: ssl.SSLContext | None = None) -> Iterator[Misbehaving]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scheme = "https" if tls else "http"
        made = Misbehaving(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", list(steps))
        thread = threading.Thread(target=made.serve, args=(listener, tls))
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the accept
            thread.join(30)
            assert not thread.is_alive()


def _request(connection: socket.socket) -> str:
    """Receive the head and the body of a request, as far as the client sends them."""
    received = b""
    while b"\r\n\r\n" not in received and (more := connection.recv(65536)):
        received += more
        if received[0] == 0x16:  # a TLS client at a server without TLS
            break
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return f"{head.decode('latin-1')}\r\n\r\n{body.decode()}"


def response(status: int, body: str = "", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n{body}".encode()


def settings(run_dir: Path, **environ: str) -> Settings:
    """Return settings that select ``http``. Names may omit the prefix ``VMNET_HTTP_``."""
    prefixed: Mapping[str, str] = {
        name if name.startswith("VMNET_") else f"VMNET_HTTP_{name}": value
        for name, value in environ.items()
    }
    common = {"VMNET_IPAM": "http", "VMNET_RUN_DIR": str(run_dir)}
    return testing.settings({**common, **prefixed}, *vmnet_settings())


def measured(act: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    started = time.monotonic()
    act()
    return time.monotonic() - started
