"""Check that the kernel can have dumped saved messages that another program may have written."""

from __future__ import annotations

from vmnet.model.wiring import Saved
from vmnet.net import rtnl
from vmnet.net.restore.message import FIXED, Message


def require_sound(saved: Saved) -> None:
    """Require that the messages are of the kinds that are saved, and complete.

    :raises ValueError: a message is not
    """
    for message in saved.messages:
        if message.kind not in FIXED:
            raise ValueError(f"{message.kind} is no kind of message that a start saves")
        _require_complete(Message.parse(message.kind, bytes.fromhex(message.body)))


def _require_complete(message: Message) -> None:
    """Require the attributes and hops that the restoration reads."""
    if len(message.fixed) < FIXED[message.kind]:
        raise ValueError("a saved message is incomplete")
    try:
        _ = message.meaning, message.slot, message.indices, message.body, str(message)
        if message.kind in (rtnl.RTM_NEWROUTE, rtnl.RTM_NEWNEXTHOP):
            _ = message.nexthops
        if message.kind == rtnl.RTM_NEWROUTE:
            message.gateway_route()
    except KeyError as error:
        raise ValueError(f"a saved message lacks the attribute {error}") from None
    except OverflowError:
        raise ValueError("a saved message has an attribute that is too long") from None
