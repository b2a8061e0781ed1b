#!/usr/bin/env python3
"""A small IPAM service for the protocol of openapi.yaml, with a pool of addresses in SQLite.

    ipam_server.py --pool 10.20.0.0/24 --gateway 10.20.0.1 --database ipam.sqlite \\
        --listen 10.0.0.5:8443 --certificate server.pem --token-file token

It needs only Python's standard library. Use it for tests, or as a starting point: it has one pool
and one token.
"""

from __future__ import annotations

import argparse
import hmac
import json
import re
import signal
import sqlite3
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

_MAX_REQUEST_BYTES = 64 << 10
_MAX_DELAY = 3600  # seconds after which a delayed request can't arrive any more
_PATH = re.compile(r"/v1/allocations/([0-9a-f-]{36})")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS allocation (id TEXT PRIMARY KEY, question TEXT, answer TEXT, made REAL);
CREATE TABLE IF NOT EXISTS address (
    address TEXT PRIMARY KEY,
    id TEXT REFERENCES allocation ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE IF NOT EXISTS released (id TEXT PRIMARY KEY, at REAL);
"""


class Refusal(Exception):  # noqa: N818 # some refusals are not errors
    """Becomes a problem document (RFC 9457)."""

    def __init__(self, status: int, title: str, detail: str = "") -> None:
        super().__init__(title)
        self.status = status
        self.document = {"title": title, "status": status, "detail": detail}


class Store:
    """The allocations. Each request is a single transaction."""

    def __init__(self, database: Path, options: argparse.Namespace) -> None:
        self._database = database
        self._options = options
        with closing(self._connect()) as store:
            store.executescript(_SCHEMA)

    def allocate(self, id: str, question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the existing allocation of an id with 200, or a new allocation with 201."""
        canonical = json.dumps(question, sort_keys=True)
        with self._transaction() as store:
            if store.execute("SELECT 1 FROM released WHERE id = ?", (id,)).fetchone():
                raise Refusal(410, "released", "this id was released, and can't be used again")
            row = store.execute(
                "SELECT question, answer FROM allocation WHERE id = ?", (id,)
            ).fetchone()
            if row is None:
                answer = self._answer(store, id, question)
                store.execute(
                    "INSERT INTO allocation VALUES (?, ?, ?, ?)",
                    (id, canonical, json.dumps(answer), time.time()),
                )
                return 201, answer
            if row[0] != canonical:
                raise Refusal(422, "different request", "this id was used with another request")
            existing: dict[str, Any] = json.loads(row[1])
            return 200, existing

    def release(self, id: str) -> None:
        """Free the addresses of an id, and refuse a delayed request to allocate for it."""
        now = time.time()
        with self._transaction() as store:
            store.execute("DELETE FROM allocation WHERE id = ?", (id,))
            store.execute("INSERT OR REPLACE INTO released VALUES (?, ?)", (id, now))
            store.execute("DELETE FROM released WHERE at < ?", (now - _MAX_DELAY,))

    def _answer(self, store: sqlite3.Connection, id: str, question: dict[str, Any]) -> Any:
        """Allocate an address for each NIC, and a default route for the first."""
        interfaces = []
        for number, interface in enumerate(question["interfaces"]):
            address = self._take(store, id)
            interfaces.append({"name": interface["name"], "addresses": [address], "routes": []})
            if number == 0 and self._options.gateway:
                default = "0.0.0.0/0" if ":" not in address else "::/0"
                interfaces[0]["routes"] = [
                    {"destination": default, "gateway": self._options.gateway}
                ]
        answer: dict[str, Any] = {"interfaces": interfaces}
        if self._options.nameserver:
            answer["nameservers"] = self._options.nameserver
        if self._options.domain:
            answer |= {"domain": self._options.domain, "search": [self._options.domain]}
        return answer

    def _take(self, store: sqlite3.Connection, id: str) -> str:
        pool, gateway = self._options.pool, self._options.gateway
        taken = {row[0] for row in store.execute("SELECT address FROM address")}
        hosts = map(str, pool.hosts())
        address = next((host for host in hosts if host not in taken and host != gateway), None)
        if address is None:
            raise Refusal(409, "pool exhausted", f"all addresses of {pool} are in use")
        store.execute("INSERT INTO address VALUES (?, ?)", (address, id))
        return f"{address}/{self._options.subnet.prefixlen}"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as store:
            store.execute("PRAGMA foreign_keys = ON")
            store.execute("BEGIN IMMEDIATE")
            try:
                yield store
            except BaseException:
                store.execute("ROLLBACK")
                raise
            store.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database, timeout=30, isolation_level=None)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds until an idle client is disconnected
    server: Server

    def do_PUT(self) -> None:
        self._answer(self._allocate)

    def do_DELETE(self) -> None:
        self._answer(self._release)

    def _allocate(self, id: str) -> tuple[int, Any]:
        question = self._question()
        return self.server.store.allocate(id, question)

    def _release(self, id: str) -> tuple[int, Any]:
        self.server.store.release(id)
        return 204, None

    def _answer(self, act: Any) -> None:
        try:
            self._authorise()
            match = _PATH.fullmatch(self.path)
            if not match:
                raise Refusal(404, "no such resource", "the path is not /v1/allocations/{id}")
            status, document = act(match[1])
        except Refusal as refusal:
            status, document = refusal.status, refusal.document
            self.close_connection = True  # the rest of the request is not read
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        kind = "problem+json" if status >= 400 else "json"
        self.send_header("Content-Type", f"application/{kind}")
        self.end_headers()
        self.wfile.write(body)

    def _authorise(self) -> None:
        if self.server.token_file is None:
            return
        token = self.server.token_file.read_text().strip()
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise Refusal(401, "unknown token")

    def _question(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_REQUEST_BYTES:
            raise Refusal(413, "Content-Length is missing or too large")
        try:
            question: dict[str, Any] = json.loads(self.rfile.read(int(length)))
            nics = [
                (str(interface["name"]), str(interface["mac"]))
                for interface in question["interfaces"]
            ]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refusal(400, "malformed", "openapi.yaml specifies the request") from None
        if not nics:
            raise Refusal(400, "malformed", "the request has no interface")
        return question


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # containers that start at the same time
    daemon_threads = True

    def __init__(
        self,
        listen: tuple[str, int],
        store: Store,
        token_file: Path | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.store, self.token_file = store, token_file
        super().__init__(listen, Handler)
        if tls is not None:
            # The handshake runs in the thread of the client, so a slow client blocks no other.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a client that disconnects or fails the TLS handshake in a single line."""
        print(f"{client_address[0]}: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    options.subnet = options.subnet or options.pool
    store = Store(options.database, options)
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.client_ca)
        tls.load_cert_chain(options.certificate, options.key)
        if options.client_ca:
            tls.verify_mode = ssl.CERT_REQUIRED
    host, _, port = options.listen.rpartition(":")
    with Server((host, int(port)), store, options.token_file, tls) as server:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print(f"listening on {host}:{server.server_address[1]}", file=sys.stderr, flush=True)
        server.serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A small IPAM service; see openapi.yaml.")
    parser.add_argument("--pool", type=ip_network, required=True, help="10.20.0.128/25")
    parser.add_argument("--subnet", type=ip_network, help="10.20.0.0/24; default: the pool")
    parser.add_argument("--gateway", type=_address, help="for the first NIC's default route")
    parser.add_argument("--nameserver", type=_address, action="append", help="may be repeated")
    parser.add_argument("--domain", help="domain and search domain")
    parser.add_argument("--database", type=Path, required=True, help="an SQLite file")
    parser.add_argument("--listen", default="127.0.0.1:8443", help="127.0.0.1:8443")
    parser.add_argument("--certificate", type=Path, help="PEM file; without it: plain HTTP")
    parser.add_argument("--key", type=Path, help="key file, unless --certificate contains the key")
    parser.add_argument("--client-ca", type=Path, help="require client certificates of these CAs")
    parser.add_argument("--token-file", type=Path, help="bearer token, read for each request")
    return parser


def _address(text: str) -> str:
    return str(ip_address(text))


if __name__ == "__main__":
    main(sys.argv[1:])
