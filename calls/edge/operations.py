"""What a phone may do with a call, the same over the socket and over REST. Each operation answers one JSON object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from calls.rules.call import (
    Alive,
    Answered,
    Call,
    Cancelled,
    Declined,
    Engaged,
    Event,
    Finished,
    Hung,
    LegState,
    Linked,
    Rang,
    Relayed,
    Restored,
)
from calls.rules.ending import Reason, words
from calls.rules.messages import REQUESTS, read
from controlplane.base.refusal import BadInput, TryAgain

from .arbiter import Arbiter, Moved
from .errors import CallOver, CallUnknown, OutOfState, TooLate
from .placing import Placing
from .tickets import unseal
from .tokens import Token


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who asks, for what, under which id (empty when it has none), and since when (loop time, s)."""

    token: Token
    op: str
    fields: Mapping[str, Any]
    id: str
    started: float

    @property
    def device(self) -> str:
        return self.token.device

    @property
    def call(self) -> str:
        return str(self.fields["call"])


Answer = dict[str, Any]
ENDED = "ended"


def read_request(op: object, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The checked fields of a request. Raises `BadInput` with the path of the fault."""
    message = REQUESTS.get(op) if isinstance(op, str) else None
    if message is None:
        raise BadInput(f"t must be one of {', '.join(REQUESTS)}.", path="/t")
    return read(message, raw)


class Operations:
    def __init__(self, arbiter: Arbiter, placing: Placing) -> None:
        self.arbiter = arbiter
        self.placing = placing
        self._table: Mapping[str, Callable[[Asked], Awaitable[Answer]]] = {
            "prepare": self._prepare,
            "invite": self._invite,
            "ringing": self._ringing,
            "accept": self._accept,
            "decline": self._decline,
            "busy": self._busy,
            "cancel": self._cancel,
            "end": self._end,
            "relay": self._relay,
            "connected": self._connected,
            "alive": self._alive,
        }

    async def run(self, asked: Asked) -> Answer:
        """The good answer. Raises `Refusal`, and `StoreAway` when Redis gives none."""
        return await self._table[asked.op](asked)

    async def state(self, call: str, device: str) -> Answer:
        """What a device of the call may know of it."""
        found = await self.arbiter.look(call)
        if found is None or not found.has(device):
            raise _unknown()
        answer: Answer = {"call": call, "state": found.state, "media": found.identity.media}
        if found.over and found.reason:
            answer |= {"reason": found.reason, "cause": found.cause, "words": words(found.reason, found.cause)}
        return answer

    async def turn(self, call: str, device: str) -> Answer:
        """Fresh relay credentials for a live call."""
        found = await self.arbiter.look(call)
        if found is None or not found.has(device):
            raise _unknown()
        if found.over:
            raise _over(found)
        return {"ice_servers": self.placing.ice_servers(call, device)}

    async def _prepare(self, asked: Asked) -> Answer:
        return await self.placing.prepare(asked.token, asked.fields, asked.started)

    async def _invite(self, asked: Asked) -> Answer:
        return await self.placing.invite(asked.token, asked.fields, asked.id, asked.started)

    async def _move(self, asked: Asked, event: Event) -> tuple[Moved, Call]:
        """Move the call; a device that is no end of it learns nothing about it."""
        moved = await self.arbiter.apply(asked.call, event)
        if moved.call is None or not moved.call.has(asked.device):
            raise _unknown()
        return moved, moved.call

    async def _ringing(self, asked: Asked) -> Answer:
        moved, call = await self._move(asked, Rang(asked.device))
        leg = call.leg(asked.device)
        if moved.dropped and (call.over or leg is None or leg.state is not LegState.RINGING):
            raise _over(call) if call.over else _out_of_state(call)
        return {"state": call.state}

    async def _accept(self, asked: Asked) -> Answer:
        _, call = await self._move(asked, Answered(asked.device, asked.fields["blob"]))
        if call.over:
            raise _over(call)
        if call.winner != asked.device:
            if call.leg(asked.device) is None:
                raise _out_of_state(call)
            raise CallOver(
                "The call was answered on another device.",
                extra={"reason": Reason.ANSWERED_ELSEWHERE, "cause": call.winner},
            )
        return {"state": call.state}

    async def _decline(self, asked: Asked) -> Answer:
        account = asked.fields.get("scope") == "account"
        moved, call = await self._move(asked, Declined(asked.device, account))
        leg = call.leg(asked.device)
        if moved.dropped and not call.over and (leg is None or leg.state is not LegState.DECLINED):
            raise _out_of_state(call)
        return {"state": call.state}

    async def _busy(self, asked: Asked) -> Answer:
        moved, call = await self._move(asked, Engaged(asked.device))
        leg = call.leg(asked.device)
        if moved.dropped and not call.over and (leg is None or leg.state is not LegState.BUSY):
            raise _out_of_state(call)
        return {"state": call.state}

    async def _cancel(self, asked: Asked) -> Answer:
        _, call = await self._move(asked, Cancelled(asked.device))
        if call.over:
            return {"state": call.state, "reason": call.reason}
        if asked.device != call.identity.caller_device:
            raise _out_of_state(call)
        raise TooLate("The other person has answered: end the call instead.", extra={"state": call.state})

    async def _end(self, asked: Asked) -> Answer:
        moved, call = await self._move(asked, Hung(asked.device, Reason(asked.fields["reason"])))
        if moved.dropped and not call.over:
            leg = call.leg(asked.device)
            if leg is None or leg.state is LegState.RINGING:
                raise _out_of_state(call)
        return {"state": call.state, "reason": call.reason or call.ending}

    async def _relay(self, asked: Asked) -> Answer:
        key = f"relay:{asked.device}:{asked.id}" if asked.id else ""
        moved, call = await self._move(asked, Relayed(asked.device, asked.fields["blob"], key))
        if call.over:
            raise _over(call)
        if moved.dropped:
            raise _out_of_state(call)
        return {}

    async def _connected(self, asked: Asked) -> Answer:
        moved, call = await self._move(asked, Linked(asked.device))
        if call.over:
            raise _over(call)
        if moved.dropped:
            raise _out_of_state(call)
        return {"state": call.state}

    async def _alive(self, asked: Asked) -> Answer:
        moved = await self.arbiter.apply(asked.call, Alive(asked.device))
        if moved.call is None and asked.fields.get("ticket"):
            moved = await self._restore(asked)
        call = moved.call
        if call is None or not call.has(asked.device):
            raise _unknown()
        if call.over:
            raise _over(call)
        if moved.dropped:
            raise _out_of_state(call)
        if asked.device == call.identity.caller_device:
            self.arbiter.mine.add(call.id)
        return {"state": call.state}

    async def _restore(self, asked: Asked) -> Moved:
        """A running call shows itself again after its record was lost; not one that ended, or was never answered."""
        ticket = unseal(self.placing.box, asked.fields["ticket"], asked.call, asked.device)
        if ticket.epoch == await self.arbiter.store.epoch() or not await self._was_running(asked.call):
            raise _ended_long_ago()
        moved = await self.arbiter.begin(Restored(ticket.identity, ticket.devices, ticket.made_at))
        if moved.older == asked.call:
            return await self.arbiter.apply(asked.call, Alive(asked.device))
        if moved.call is None:
            raise _ended_long_ago()
        if self.placing.gate.is_stopped(ticket.identity.feature, ticket.made_at):
            return await self.arbiter.apply(asked.call, Finished(Reason.STOPPED))
        return moved

    async def _was_running(self, call: str) -> bool:
        """By the journal's word; while PostgreSQL is away the phones' word counts, since they talk to each other."""
        try:
            row = await self.arbiter.database.row("SELECT calls_running(%s)", (call,))
        except TryAgain:
            return True
        return bool(row and row[0])


def _unknown() -> CallUnknown:
    return CallUnknown("No live call of yours has this id.")


def _ended_long_ago() -> CallOver:
    return CallOver("The call is over.", extra={"reason": Reason.LOST, "cause": None})


def _over(call: Call) -> CallOver:
    reason = call.reason or Reason.LOST
    return CallOver(words(reason, call.cause), extra={"reason": reason, "cause": call.cause})


def _out_of_state(call: Call) -> OutOfState:
    return OutOfState(f"The call is {call.state}: this can't be done now.", extra={"state": call.state})
