"""Call tickets: what `prepare` found out, sealed for the phone to carry, so that invite and alive need no look-up.

Only the edges can open one. It names the device that it was made for; the call's record makes it single use.
"""

from __future__ import annotations

import binascii
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import orjson
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from calls.rules.call import Identity
from controlplane.base import base64url
from controlplane.base.refusal import Refusal

TICKET_MS = 60_000


class BadTicket(Refusal):
    code = "bad_ticket"
    status = 400
    title = "This is not a ticket for this call and device"


class TicketExpired(Refusal):
    code = "ticket_expired"
    status = 410
    title = "The ticket is older than 60 seconds"


class TicketSpent(Refusal):
    code = "ticket_spent"
    status = 409
    title = "The ticket was used already"


@dataclass(frozen=True, slots=True)
class Ticket:
    """`caller_list` is the fingerprint of the caller's device list; `window` what refusals say of the window."""

    FORMAT: ClassVar[int] = 1
    identity: Identity
    phone: str
    caller_list: str
    devices: tuple[str, ...]
    activates: bool
    caller_grant: int | None
    window: dict[str, Any]
    made_at: int
    epoch: str

    def seal(self, box: SecretBox) -> str:
        return base64url.encode(box.encrypt(orjson.dumps(asdict(self))))


def unseal(box: SecretBox, sealed: str, call: str, device: str) -> Ticket:
    """The ticket of this call, for one of its devices. Raises `BadTicket`."""
    try:
        raw = base64url.decode(sealed)
        values = orjson.loads(box.decrypt(raw))
        ticket = Ticket(**{**values, "identity": Identity(**values["identity"]), "devices": tuple(values["devices"])})
    except (CryptoError, binascii.Error, ValueError, TypeError, KeyError) as error:
        raise BadTicket("Ask for a new ticket with prepare.") from error
    if ticket.identity.call != call or device not in (ticket.identity.caller_device, *ticket.devices):
        raise BadTicket("The ticket belongs to another call or device: ask for a new one with prepare.")
    return ticket
