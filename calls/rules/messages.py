"""Every message of the signaling protocol, declared once: what is validated, and what `docs/protocol.md` shows.

A field's kind says what may stand in it; `read` turns raw JSON into checked values or says where the fault is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from .ending import PHONE_REASONS

BLOB_BYTES = 16 * 1024
FRAME_BYTES = 64 * 1024
MOST_DEVICES = 32
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_B64 = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class Unreadable(ValueError):
    """A message can't be read; `path` says where, the text says what is expected there."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path} must be {expected}.")
        self.path = path


class Kind(StrEnum):
    """What may stand in a field."""

    UUID = "a UUID in lower case"
    TEXT = "text of at most 200 characters"
    TOKEN = "an access token"  # noqa: S105
    WHOLE = "a whole number from 0 to 2^53"
    BLOB = "base64url without padding, at most 16 KiB"
    BLOBS = "an object of 1 to 32 members: device id → base64url without padding, at most 16 KiB each"
    CALLEE = 'either {"phone": "+4930…"} or {"subscriber": UUID}'
    MEDIA = '"audio"'
    SCOPE = '"device" or "account"'
    REASON = "one of " + ", ".join(PHONE_REASONS)
    TICKET = "a ticket as `prepare` gave it"
    SHOWN = "as described"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: Kind
    about: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `answer` is an example of the good answer of a request."""

    name: str
    about: str
    fields: tuple[Field, ...] = ()
    answer: str = ""
    refusals: tuple[str, ...] = ()


CALL = Field("call", Kind.UUID, "the call")
TICKET = Field("ticket", Kind.TICKET, "sealed by the server, valid for 60 s, single use")
LIST = Field("list", Kind.BLOB, "the caller's signed device list")
SIGNATURE = Field("signature", Kind.BLOB, "its signature by the account key")
CANNOT = ("not_enabled", "stopped", "cannot_be_called_now", "rate_limited", "try_again")

HELLO = Message(
    "hello",
    "First frame of a phone, within 5 s of opening the socket. The token never stands in an address.",
    (
        Field("v", Kind.WHOLE, "protocol version: 1"),
        Field("token", Kind.TOKEN, "the access token"),
        Field("device", Kind.UUID, "this device, as in the token"),
        Field("last_seq", Kind.WHOLE, "highest event number that was handled; 0 for none", required=False),
        Field("epoch", Kind.TEXT, "as the last `welcome` said; another one makes last_seq count as 0", required=False),
        Field("resume", Kind.TEXT, "the session that broke off", required=False),
    ),
    answer='{"k":"welcome","session":…,"epoch":…,"resumed":true,"server_time":ms,"subscriber":…,"device":…}',
    refusals=("not_authenticated", "bad_input", "rate_limited", "try_again"),
)
ACK = Message("ack", "Events up to this number are handled and are not sent again.", (Field("seq", Kind.WHOLE),))
TOKEN = Message("token", "A fresh access token for the open socket.", (Field("token", Kind.TOKEN),))

REQUESTS: Mapping[str, Message] = {
    message.name: message
    for message in (
        Message(
            "prepare",
            "May I call this person? Plain and activating calls are answered alike.",
            (
                Field("callee", Kind.CALLEE, "who is to be called"),
                Field("media", Kind.MEDIA, "what kind of call", required=False),
            ),
            '{"call":…,"ticket":…,"expires_in":60,"callee":{"subscriber":…,"phone":…,"list":…,"signature":…,"devices":[…]},'
            '"ice_servers":[…],"profile":{…},"ring_seconds":45}',
            ("phone_invalid", "not_authenticated", "device_not_listed", *CANNOT),
        ),
        Message(
            "invite",
            "Ring the callee's devices, each with a sealed blob of its own.",
            (CALL, TICKET, Field("blobs", Kind.BLOBS, "Noise message 1 for each device"), LIST, SIGNATURE),
            '{"state":"routing"}',
            (*CANNOT, "device_list_superseded", "bad_ticket", "ticket_expired", "ticket_spent", "glare"),
        ),
        Message(
            "ringing",
            "This device rings.",
            (CALL,),
            '{"state":"ringing"}',
            ("out_of_state", "call_over", "call_unknown"),
        ),
        Message(
            "accept",
            "The user answers. On an activating call the grant is made before the answer is.",
            (CALL, Field("blob", Kind.BLOB, "Noise message 2: the offer")),
            '{"state":"accepted"}',
            ("out_of_state", "call_over", "call_unknown", "try_again"),
        ),
        Message(
            "decline",
            "The user declines; scope account ends the call on every device.",
            (CALL, Field("scope", Kind.SCOPE, "device unless given", required=False)),
            '{"state":"ended"}',
            ("out_of_state", "call_unknown"),
        ),
        Message(
            "busy", "This device is in another call.", (CALL,), '{"state":"ended"}', ("out_of_state", "call_unknown")
        ),
        Message(
            "cancel",
            "The caller gives up before an answer. If an accept was first, `too_late` says so.",
            (CALL,),
            '{"state":"ended","reason":"cancelled"}',
            ("out_of_state", "too_late", "call_unknown"),
        ),
        Message(
            "end",
            "One end finishes the call.",
            (CALL, Field("reason", Kind.REASON, "why")),
            '{"state":"ended","reason":"hangup"}',
            ("out_of_state", "call_unknown"),
        ),
        Message(
            "relay",
            "A sealed message (answer, candidates, renegotiation) for the other end of an answered call.",
            (CALL, Field("blob", Kind.BLOB, "counter and ciphertext")),
            "{}",
            ("out_of_state", "call_over", "call_unknown"),
        ),
        Message(
            "connected",
            "Media flows at this end. Once both ends have said so, the answer is `connected`.",
            (CALL,),
            '{"state":"accepted"}',
            ("out_of_state", "call_over", "call_unknown"),
        ),
        Message(
            "alive",
            "Sent every 30 s of a running call. With its ticket it brings back a record that the server lost.",
            (CALL, Field("ticket", Kind.TICKET, "from `prepare` or from the ring event", required=False)),
            '{"state":"connected"}',
            ("bad_ticket", "out_of_state", "call_over", "call_unknown"),
        ),
    )
}

EVENTS: tuple[Message, ...] = (
    Message(
        "ring",
        "Somebody calls. `ticket` brings the record back in `alive`.",
        (
            CALL,
            Field("from", Kind.SHOWN, '{"subscriber","device","phone","list","signature"}: who calls'),
            Field("media", Kind.MEDIA),
            Field("blob", Kind.BLOB, "Noise message 1"),
            Field("activates", Kind.SHOWN, "true: answering turns calling on"),
            Field("ice_servers", Kind.SHOWN, "TURN servers with credentials for this call and device"),
            Field("ring_ms", Kind.WHOLE, "how long it rings"),
            Field("lifetime", Kind.WHOLE, "seconds after which a handshake is too old: 60"),
            Field("ticket", Kind.TICKET),
        ),
    ),
    Message("ringing", "To the caller: a device rings.", (CALL, Field("device", Kind.UUID))),
    Message("accepted", "To the caller: answered.", (CALL, Field("device", Kind.UUID), Field("blob", Kind.BLOB))),
    Message(
        "relay", "A sealed message from the other end.", (CALL, Field("device", Kind.UUID), Field("blob", Kind.BLOB))
    ),
    Message("connected", "Both ends say that media flows.", (CALL,)),
    Message(
        "ended",
        "The call is over.",
        (
            CALL,
            Field("reason", Kind.SHOWN, "one of the end reasons below"),
            Field("cause", Kind.SHOWN, "what lies behind it, or null (answered_elsewhere: the device that answered)"),
            Field("words", Kind.SHOWN, "the same in whole sentences"),
        ),
    ),
    Message(
        "missed",
        "A call came while this device was away.",
        (CALL, Field("from", Kind.SHOWN), Field("media", Kind.MEDIA)),
    ),
    Message(
        "grant",
        "A feature was turned on for this person.",
        (
            Field("feature", Kind.TEXT),
            Field("grant", Kind.SHOWN, "the grant's id"),
            Field("source", Kind.SHOWN, "invite, wave, operator, seed or launch"),
            Field("words", Kind.SHOWN, "the same in a whole sentence"),
        ),
    ),
    Message("features", "The rules changed: ask for the features again.", (Field("version", Kind.WHOLE),)),
)


def read(message: Message, raw: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The checked fields of a message; members that are not declared are left out. Raises `Unreadable`."""
    checked: dict[str, Any] = {}
    for field in message.fields:
        where = f"{path}/{field.name}"
        value = raw.get(field.name)
        if value is None:
            if field.required:
                raise Unreadable(where, field.kind.value)
            continue
        checked[field.name] = _check(field.kind, value, where)
    return checked


def _check(kind: Kind, value: Any, path: str) -> Any:
    match kind:
        case Kind.UUID:
            good = isinstance(value, str) and _UUID.fullmatch(value) is not None
        case Kind.TEXT:
            good = isinstance(value, str) and len(value) <= 200
        case Kind.TOKEN | Kind.TICKET:
            good = isinstance(value, str) and 1 <= len(value) <= 16_384 and value.isascii()
        case Kind.WHOLE:
            good = type(value) is int and 0 <= value <= 2**53
        case Kind.BLOB:
            good = _is_blob(value)
        case Kind.BLOBS:
            return _blobs(value, path)
        case Kind.CALLEE:
            return _callee(value, path)
        case Kind.MEDIA:
            good = value == "audio"
        case Kind.SCOPE:
            good = value in ("device", "account")
        case Kind.REASON:
            good = isinstance(value, str) and value in tuple(PHONE_REASONS)
        case Kind.SHOWN:
            good = True
        case _:
            assert_never(kind)
    if not good:
        raise Unreadable(path, kind.value)
    return value


def _is_blob(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= (BLOB_BYTES * 4 + 2) // 3
        and len(value) % 4 != 1
        and _B64.fullmatch(value) is not None
    )


def _blobs(value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MOST_DEVICES:
        raise Unreadable(path, Kind.BLOBS.value)
    for device, blob in value.items():
        _check(Kind.UUID, device, f"{path}/{str(device)[:40]}")
        _check(Kind.BLOB, blob, f"{path}/{device}")
    return dict(value)


def _callee(value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise Unreadable(path, Kind.CALLEE.value)
    if "subscriber" in value:
        return {"subscriber": _check(Kind.UUID, value["subscriber"], f"{path}/subscriber")}
    phone = value.get("phone")
    if not isinstance(phone, str) or not 1 <= len(phone) <= 64:
        raise Unreadable(f"{path}/phone", "a phone number with its country code, such as +49 30 12345678")
    return {"phone": phone}
