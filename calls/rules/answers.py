"""What the edge answers over REST about calls: declared for the published document, which tests hold the edge to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Struct, UnsetType

from .messages import IceServer, Media, Ticket, Uuid, Whole, about

State = Annotated[
    Literal["routing", "ringing", "accepting", "accepted", "connected", "ended"], about("the state of the call")
]
Devices = list[Uuid]  # named here: in its class, `list` is a field
Why = Annotated[str | None, about("the end reason, once the call is over")]


class IceServers(Struct):
    ice_servers: list[IceServer]


class PreparedCallee(Struct):
    """Who will be called: their signed device list, and the devices that may ring."""

    subscriber: Uuid
    phone: str | None
    list: str
    signature: str
    devices: Devices


class Profile(Struct):
    """How the call should sound."""

    name: str
    codec: str
    bitrate: Annotated[int, about("bit/s")]
    frame_ms: int
    cbr: Annotated[bool, about("at a constant rate")]
    fec: Annotated[bool, about("forward error correction")]
    video: bool


class Prepared(Struct):
    """What is needed to place the call."""

    call: Uuid
    ticket: Ticket
    expires_in: Annotated[int, about("seconds")]
    callee: PreparedCallee
    ice_servers: list[IceServer]
    profile: Profile
    ring_seconds: int


class Moved(Struct):
    """The call after a request."""

    state: State
    reason: Why | UnsetType = UNSET


class Nothing(Struct):
    """An empty object: what was sent is on its way."""


class CallState(Struct):
    """What a device of the call may know of it."""

    call: Uuid
    state: State
    media: Media
    reason: Why | UnsetType = UNSET
    cause: str | UnsetType | None = UNSET
    words: Annotated[str, about("the reason in whole sentences")] | UnsetType = UNSET


class Inbox(Struct):
    """What happened after the given number, as the socket would have told it."""

    epoch: Annotated[str, about("names the life of the inboxes: under another one, numbers count from 0 again")]
    server_time: Annotated[Whole, about("epoch milliseconds")]
    events: list[dict[str, Any]]
