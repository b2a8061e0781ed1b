"""Call the Container Runtime Interface with dictionaries, from its protocol description.

Debian has the description, and no client. The messages are made at run time, so no generated code
is necessary.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from attrs import frozen
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from ...command import run
from ...images.cache import cached
from ...images.packages import unpack
from ...wait import WAIT

Json = dict[str, Any]

_PACKAGES = ("golang-github-kubernetes-cri-api-dev", "golang-github-gogo-protobuf-dev")
_PROTO = "k8s.io/cri-api/pkg/apis/runtime/v1/api.proto"
_SERVICES = ("runtime.v1.RuntimeService", "runtime.v1.ImageService")


class CriError(AssertionError):
    """The runtime refused a call."""


class UnavailableError(CriError):
    """The runtime does not listen yet."""


class DeadlineError(CriError):
    """A program in a container, or the runtime itself, took too long."""


_ERRORS = {"UNAVAILABLE": UnavailableError, "DEADLINE_EXCEEDED": DeadlineError}


@frozen
class Interface:
    """A connection to a runtime. A call's fields have the names of the protocol description."""

    _channel: grpc.Channel
    _pool: descriptor_pool.DescriptorPool

    def __call__(self, method: str, within: float = WAIT, /, **request: Any) -> Json:
        """Call a method, such as ``Version``, and return the answer.

        :param within: seconds in which the answer must arrive
        :raises CriError: the runtime refuses the call
        """
        services = map(self._pool.FindServiceByName, _SERVICES)
        service = next(found for found in services if method in found.methods_by_name)
        described = service.methods_by_name[method]
        sent = message_factory.GetMessageClass(described.input_type)
        received = message_factory.GetMessageClass(described.output_type)
        call = self._channel.unary_unary(
            f"/{service.full_name}/{method}",
            request_serializer=sent.SerializeToString,
            response_deserializer=received.FromString,
        )
        try:
            answer = call(json_format.ParseDict(request, sent()), timeout=within)
        except grpc.RpcError as error:
            code = error.code().name
            failure = _ERRORS.get(code, CriError)
            raise failure(f"{method}: {code}: {error.details()}") from None
        result: Json = json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        return result


def connect(socket: Path) -> Interface:
    """Return a connection to the runtime behind a Unix socket."""
    described = descriptor_pb2.FileDescriptorSet.FromString(_description().read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in described.file:
        pool.Add(file)
    return Interface(grpc.insecure_channel(f"unix://{socket}"), pool)


def _description() -> Path:
    """Return the compiled protocol description, from the cache or from Debian's packages."""
    return cached("cri-v1-1.descriptors", "the description of CRI", _compile)


def _compile(file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="vmnet-cri-") as folder:
        sources = unpack(Path(folder), *_PACKAGES) / "usr/share/gocode/src"
        protoc = (sys.executable, "-m", "grpc_tools.protoc", "-I", ".", "--include_imports")
        run(*protoc, f"--descriptor_set_out={file}", _PROTO, cwd=sources)
