"""A call as a value: its states and legs, what can happen to it, and what has then to be done.

`moves.py` beside it says which leads to which. All times are milliseconds of the server's clock. A call has one leg
for each device of the called person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .ending import Reason


class State(StrEnum):
    ROUTING = "routing"
    RINGING = "ringing"
    ACCEPTING = "accepting"
    ACCEPTED = "accepted"
    CONNECTED = "connected"
    ENDED = "ended"


class LegState(StrEnum):
    QUEUED = "queued"
    DELIVERED = "delivered"
    RINGING = "ringing"
    WON = "won"
    LOST = "lost"
    DECLINED = "declined"
    BUSY = "busy"
    CANCELLED = "cancelled"
    GONE = "gone"


OPEN_LEGS = frozenset({LegState.QUEUED, LegState.DELIVERED, LegState.RINGING})
ESTABLISHED = frozenset({State.ACCEPTED, State.CONNECTED})
GLARE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Timers:
    """How long each state may last, in milliseconds."""

    route: int = 60_000
    ring: int = 45_000
    setup: int = 30_000
    accepting: int = 5_000
    alive: int = 90_000


@dataclass(frozen=True, slots=True)
class Leg:
    """One device that is called."""

    device: str
    state: LegState = LegState.QUEUED


@dataclass(frozen=True, slots=True)
class Identity:
    """Which call it is: what never changes of it. Ticket, events and record carry this one value."""

    call: str
    feature: str
    media: str
    area: str
    caller: str
    caller_device: str
    callee: str


@dataclass(frozen=True, slots=True)
class Call:
    """A live call. `deadline`: when `Due` comes. `activating`: it turns the feature on for the callee.

    `pending`: a reservation is held that a grant has not replaced yet. `ending`: why it ends once the answer stands.
    """

    identity: Identity
    legs: tuple[Leg, ...]
    state: State
    created_at: int
    deadline: int
    pending: bool = False
    activating: bool = False
    winner: str | None = None
    blob: str | None = None
    connected: tuple[str, ...] = ()
    ending: Reason | None = None
    settled: bool = False
    reason: Reason | None = None
    cause: str | None = None
    window: str | None = None
    caller_seen: int = 0
    callee_seen: int = 0
    ringing_at: int | None = None
    accepted_at: int | None = None
    connected_at: int | None = None
    ended_at: int | None = None

    @property
    def id(self) -> str:
        return self.identity.call

    @property
    def over(self) -> bool:
        return self.state is State.ENDED

    def leg(self, device: str) -> Leg | None:
        return next((leg for leg in self.legs if leg.device == device), None)

    def has(self, device: str) -> bool:
        """Whether this device is an end of the call."""
        return device == self.identity.caller_device or self.leg(device) is not None

    def other_end(self, device: str) -> str | None:
        """The device at the other end of an answered call, or None for a device that is neither end."""
        if device == self.identity.caller_device:
            return self.winner
        return self.identity.caller_device if device == self.winner else None


# Events


@dataclass(frozen=True, slots=True)
class Invited:
    """The caller's invite passed every check. `rings` holds, for each called device, the body of its ring event."""

    identity: Identity
    rings: Mapping[str, Mapping[str, Any]]
    pending: bool = False
    window: str | None = None
    grant: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """A running call whose record was lost shows itself again by its ticket."""

    identity: Identity
    devices: tuple[str, ...]
    created_at: int


@dataclass(frozen=True, slots=True)
class Delivered:
    device: str


@dataclass(frozen=True, slots=True)
class Rang:
    device: str


@dataclass(frozen=True, slots=True)
class Answered:
    device: str
    blob: str


@dataclass(frozen=True, slots=True)
class Completed:
    """What PostgreSQL said about turning the reservation into a grant; `grant` is the body of the grant event."""

    outcome: str
    grant: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    device: str
    account: bool = False


@dataclass(frozen=True, slots=True)
class Engaged:
    """The device is in another call."""

    device: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    device: str


@dataclass(frozen=True, slots=True)
class Hung:
    device: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Relayed:
    device: str
    blob: str
    key: str


@dataclass(frozen=True, slots=True)
class Linked:
    """Media flows, as one end says."""

    device: str


@dataclass(frozen=True, slots=True)
class Alive:
    device: str


@dataclass(frozen=True, slots=True)
class Due:
    """The deadline of the call's state has passed."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The server ends the call: stopped, grant_ended, replaced, lost."""

    reason: Reason
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The device was signed out or revoked."""

    device: str


Event = (
    Invited | Restored | Delivered | Rang | Answered | Completed | Declined | Engaged | Cancelled | Hung | Relayed
    | Linked | Alive | Due | Finished | Gone
)  # fmt: skip

# Effects


@dataclass(frozen=True, slots=True)
class Tell:
    """Append an event to a device's inbox; a key that the inbox has seen is not appended again."""

    device: str
    type: str
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True)
class Complete:
    """Turn the reservation into the grant; the outcome comes back as `Completed`."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Overdue: release the reservation unless the grant stands already; the outcome comes back as `Completed`."""


@dataclass(frozen=True, slots=True)
class Release:
    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """Write the call to the journal."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The event means nothing in this state."""

    state: str
    event: str


Effect = Tell | Complete | Settle | Release | Record | Dropped
Step = tuple[Call | None, tuple[Effect, ...]]


class Meeting(StrEnum):
    """What becomes of the older call when the same two people meet in a new invite."""

    GLARE = "glare"
    REPLACE = "replace"


def meet(older: Call, caller: str, now_ms: int) -> Meeting:
    """Two people called each other within 30 s and neither has connected: glare. Else the newer call replaces."""
    if older.identity.caller == caller or older.state in ESTABLISHED or now_ms - older.created_at > GLARE_MS:
        return Meeting.REPLACE
    return Meeting.GLARE
