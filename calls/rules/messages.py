"""Every message of the signaling protocol, declared once: what is read, published, and shown in `docs/protocol.md`.

A type's title says what may stand in a field, a field's description what it means, a docstring what the message is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, field, json, structs, to_builtins

from controlplane.base.refusal import BadInput

from .ending import PHONE_REASONS

BLOB_BYTES = 16 * 1024
FRAME_BYTES = 64 * 1024
MOST_DEVICES = 32
END = r"$(?!\n)"  # a bare $ lets a line break follow
_HEX, _B64 = "[0-9a-f]", "[A-Za-z0-9_-]"

Uuid = Annotated[str, Meta(title="a UUID in lower case", pattern=f"^{_HEX}{{8}}-({_HEX}{{4}}-){{3}}{_HEX}{{12}}{END}")]
Text = Annotated[str, Meta(title="text of at most 200 characters", max_length=200)]
Visible = Annotated[str, Meta(min_length=1, max_length=16_384, pattern=f"^[!-~]*{END}")]
AccessToken = Annotated[Visible, Meta(title="an access token")]
Ticket = Annotated[Visible, Meta(title="a ticket as `prepare` gave it")]
Whole = Annotated[int, Meta(title="a whole number from 0 to 2^53", ge=0, le=2**53)]
Phone = Annotated[
    str, Meta(title="a phone number with its country code, such as +49 30 12345678", min_length=1, max_length=64)
]
Base64url = Annotated[str, Meta(min_length=1, pattern=f"^(?:{_B64}{{4}})*(?:{_B64}{{2,3}})?{END}")]
Blob = Annotated[
    Base64url, Meta(title="base64url without padding, at most 16 KiB", max_length=(BLOB_BYTES * 4 + 2) // 3)
]
Blobs = Annotated[
    dict[Uuid, Blob],
    Meta(min_length=1, max_length=MOST_DEVICES),
    Meta(title="an object of 1 to 32 members: device id → base64url without padding, at most 16 KiB each"),
]
Media = Annotated[Literal["audio"], Meta(title='"audio"')]
Scope = Annotated[Literal["device", "account"], Meta(title='"device" or "account"')]
Ended = Annotated[str, Meta(title="one of " + ", ".join(PHONE_REASONS), pattern=f"^({'|'.join(PHONE_REASONS)}){END}")]
WHO = '{"subscriber","device","phone","list","signature"}: who calls'


def about(words: str) -> Meta:
    return Meta(description=words)


class Callee(Struct, frozen=True):
    """Who is to be called, by one of the two."""

    phone: Phone | UnsetType = UNSET
    subscriber: Uuid | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.phone is UNSET) is (self.subscriber is UNSET):
            raise ValueError("one of the two")


class Caller(Struct, frozen=True):
    """Who calls, with the signed list of their devices."""

    subscriber: Uuid
    device: Uuid
    phone: str | None
    list: Blob
    signature: Blob


class IceServer(Struct, frozen=True):
    """A relay with credentials for one device in one call."""

    urls: list[str]
    username: str
    credential: str


class Message(Struct, frozen=True):
    """`answer` is an example of the good answer of a request."""

    answer: ClassVar[str] = ""
    refusals: ClassVar[tuple[str, ...]] = ()


class OfCall(Message, frozen=True):
    call: Annotated[Uuid, about("the call")]


CANNOT = ("not_enabled", "stopped", "cannot_be_called_now", "rate_limited", "try_again")
GONE = ("out_of_state", "call_over", "call_unknown")


class Hello(Message, frozen=True):
    """First frame of a phone, within 5 s of opening the socket. The token never stands in an address."""

    answer = '{"k":"welcome","session":…,"epoch":…,"resumed":true,"server_time":ms,"subscriber":…,"device":…}'
    refusals = ("not_authenticated", "bad_input", "rate_limited", "try_again")
    v: Annotated[Whole, about("protocol version: 1")]
    token: Annotated[AccessToken, about("the access token")]
    device: Annotated[Uuid, about("this device, as in the token")]
    last_seq: Annotated[Whole, about("highest event number that was handled; 0 for none")] | UnsetType = UNSET
    epoch: Annotated[Text, about("as the last `welcome` said; another one makes last_seq count as 0")] | UnsetType = (
        UNSET
    )
    resume: Annotated[Text, about("the session that broke off")] | UnsetType = UNSET


class Ack(Message, frozen=True):
    """Events up to this number are handled and are not sent again."""

    seq: Whole


class NewToken(Message, frozen=True):
    """A fresh access token for the open socket."""

    token: AccessToken


class Prepare(Message, frozen=True):
    """May I call this person? Plain and activating calls are answered alike."""

    answer = (
        '{"call":…,"ticket":…,"expires_in":60,"callee":{"subscriber":…,"phone":…,"list":…,"signature":…,"devices":[…]},'
        '"ice_servers":[…],"profile":{…},"ring_seconds":45}'
    )
    refusals = ("phone_invalid", "not_authenticated", "device_not_listed", *CANNOT)
    callee: Annotated[
        Callee, Meta(title='either {"phone": "+4930…"} or {"subscriber": UUID}', description="who is to be called")
    ]
    media: Annotated[Media, about("what kind of call")] | UnsetType = UNSET


class Invite(OfCall, frozen=True):
    """Ring the callee's devices, each with a sealed blob of its own."""

    answer = '{"state":"routing"}'
    refusals = (*CANNOT, "device_list_superseded", "bad_ticket", "ticket_expired", "ticket_spent", "glare")
    ticket: Annotated[Ticket, about("sealed by the server, valid for 60 s, single use")]
    blobs: Annotated[Blobs, about("Noise message 1 for each device")]
    list: Annotated[Blob, about("the caller's signed device list")]
    signature: Annotated[Blob, about("its signature by the account key")]


class Ringing(OfCall, frozen=True):
    """This device rings."""

    answer = '{"state":"ringing"}'
    refusals = GONE


class Accept(OfCall, frozen=True):
    """The user answers. On an activating call the grant is made before the answer is."""

    answer = '{"state":"accepted"}'
    refusals = (*GONE, "try_again")
    blob: Annotated[Blob, about("Noise message 2: the offer")]


class Decline(OfCall, frozen=True):
    """The user declines; scope account ends the call on every device."""

    answer = '{"state":"ended"}'
    refusals = ("out_of_state", "call_unknown")
    scope: Annotated[Scope, about("device unless given")] | UnsetType = UNSET


class Busy(OfCall, frozen=True):
    """This device is in another call."""

    answer = '{"state":"ended"}'
    refusals = ("out_of_state", "call_unknown")


class Cancel(OfCall, frozen=True):
    """The caller gives up before an answer. If an accept was first, `too_late` says so."""

    answer = '{"state":"ended","reason":"cancelled"}'
    refusals = ("out_of_state", "too_late", "call_unknown")


class End(OfCall, frozen=True):
    """One end finishes the call."""

    answer = '{"state":"ended","reason":"hangup"}'
    refusals = ("out_of_state", "call_unknown")
    reason: Annotated[Ended, about("why")]


class Relay(OfCall, frozen=True):
    """A sealed message (answer, candidates, renegotiation) for the other end of an answered call."""

    answer = "{}"
    refusals = GONE
    blob: Annotated[Blob, about("counter and ciphertext")]


class Connected(OfCall, frozen=True):
    """Media flows at this end. Once both ends have said so, the answer is `connected`."""

    answer = '{"state":"accepted"}'
    refusals = GONE


class Alive(OfCall, frozen=True):
    """Sent every 30 s of a running call. With its ticket it brings back a record that the server lost."""

    answer = '{"state":"connected"}'
    refusals = ("bad_ticket", *GONE)
    ticket: Annotated[Ticket, about("from `prepare` or from the ring event")] | UnsetType = UNSET


class RingEvent(OfCall, frozen=True):
    """Somebody calls. `ticket` brings the record back in `alive`."""

    from_: Annotated[Caller, about(WHO)] = field(name="from")
    media: Media
    blob: Annotated[Blob, about("Noise message 1")]
    activates: Annotated[bool, about("true: answering turns calling on")]
    ice_servers: Annotated[list[IceServer], about("TURN servers with credentials for this call and device")]
    ring_ms: Annotated[Whole, about("how long it rings")]
    lifetime: Annotated[Whole, about("seconds after which a handshake is too old: 60")]
    ticket: Ticket


class RingingEvent(OfCall, frozen=True):
    """To the caller: a device rings."""

    device: Uuid


class AcceptedEvent(OfCall, frozen=True):
    """To the caller: answered."""

    device: Uuid
    blob: Blob


class RelayEvent(OfCall, frozen=True):
    """A sealed message from the other end."""

    device: Uuid
    blob: Blob


class ConnectedEvent(OfCall, frozen=True):
    """Both ends say that media flows."""


class EndedEvent(OfCall, frozen=True):
    """The call is over."""

    reason: Annotated[str, about("one of the end reasons below")]
    cause: Annotated[str | None, about("what lies behind it, or null (answered_elsewhere: the device that answered)")]
    words: Annotated[str, about("the same in whole sentences")]


class MissedEvent(OfCall, frozen=True):
    """A call came while this device was away."""

    from_: Caller = field(name="from")
    media: Media


class GrantEvent(Message, frozen=True):
    """A feature was turned on for this person."""

    feature: Text
    grant: Annotated[int, about("the grant's id")]
    source: Annotated[str, about("invite, wave, operator, seed or launch")]
    words: Annotated[str, about("the same in a whole sentence")]


class FeaturesEvent(Message, frozen=True):
    """The rules changed: ask for the features again."""

    version: Whole


def _named(*messages: type[Message]) -> Mapping[str, type[Message]]:
    return {message.__name__.removesuffix("Event").lower(): message for message in messages}


REQUESTS = _named(Prepare, Invite, Ringing, Accept, Decline, Busy, Cancel, End, Relay, Connected, Alive)
EVENTS = _named(
    *(RingEvent, RingingEvent, AcceptedEvent, RelayEvent, ConnectedEvent, EndedEvent, MissedEvent),
    *(GrantEvent, FeaturesEvent),
)


def read(message: type[Message], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The checked fields of a message without those that are null or not declared. Raises `BadInput` with the path."""
    given = {name: value for name, value in raw.items() if value is not None}
    try:
        return dict(to_builtins(convert(given, message)))
    except ValidationError:
        path, kind = _fault(message, given)
        raise BadInput(f"{path} must be {json.schema(kind)['title']}.", path=path) from None


def _fault(kind: Any, value: Any, path: str = "") -> tuple[str, Any]:
    """The innermost place that isn't as declared, looked for by hand: msgspec doesn't name the key of a dict."""
    for name, declared, member in _members(kind, value) if isinstance(value, dict) else ():
        try:
            convert(member, declared)
        except ValidationError:
            return _fault(declared, member, f"{path}/{name}")
    return path, kind


def _members(kind: Any, value: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, declared type and value of each member; of a dict the keys too."""
    kind = getattr(kind, "__origin__", kind)
    if get_origin(kind) is dict:
        for name, member in value.items():
            yield from (
                (name[:40], declared, part) for declared, part in zip(get_args(kind), (name, member), strict=True)
            )
    elif isinstance(kind, type) and issubclass(kind, Struct):
        for each in structs.fields(kind):
            if each.required or each.encode_name in value:
                yield each.encode_name, each.type, value.get(each.encode_name)
