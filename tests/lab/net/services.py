"""Run real servers in a namespace: a web server and dnsmasq."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ..command import Process, run
from ..wait import WAIT, until
from .namespace import Namespace


@contextmanager
def web_server(where: Namespace, page: str = "hello\n", port: int = 80) -> Iterator[Process]:
    """Serve *page* at / on every address of a namespace, over IPv4 and IPv6."""
    with tempfile.TemporaryDirectory(prefix="vmt-web-") as folder:
        Path(folder, "index.html").write_text(page)
        with file_server(where, Path(folder), port) as process:
            yield process


@contextmanager
def file_server(where: Namespace, folder: Path, port: int = 80) -> Iterator[Process]:
    """Serve the files of a folder as :func:`web_server` serves a page."""
    server = (sys.executable, "-m", "http.server", str(port), "--bind", "::", "-d", folder)
    with where.popen(*server) as process:

        def listens() -> bool:
            process.require_running()
            listing = run("ss", "-Hnlt", f"sport = :{port}", netns=where.name)
            return bool(listing.stdout.strip())

        until(listens, WAIT, f"a web server on port {port}", detail=process.output)
        yield process


@contextmanager
def dnsmasq(where: Namespace, *options: str, port: int = 53) -> Iterator[Process]:
    """
    Run dnsmasq in a namespace, with these long options and without the machine's configuration.

    :param port: port of the DNS server; 0 for no DNS server.
    """
    with tempfile.TemporaryDirectory(prefix="vmt-dnsmasq-") as folder:
        private = (
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--log-facility=-",
            "--log-dhcp",
            "--log-queries",
            "--user=root",  # the default user cannot write to the folder
            f"--pid-file={folder}/pid",
            f"--dhcp-leasefile={folder}/leases",
            f"--port={port}",
        )
        with where.popen("dnsmasq", *private, *options) as process:

            def serves() -> bool:
                process.require_running()
                # dnsmasq logs this after it has opened all sockets.
                return "started, version" in process.output()

            until(serves, WAIT, "dnsmasq", detail=process.output)
            yield process


def dns_server(where: Namespace, names: Mapping[str, str]) -> AbstractContextManager[Process]:
    """Run a DNS server that knows the addresses of only these names."""
    return dnsmasq(where, *(f"--address=/{name}/{names[name]}" for name in names))
