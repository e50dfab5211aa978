"""The state machine of a call: state × event → state + effects. Pure; the edge runs what it says.

Every pair that is listed in `TABLE` is handled; every other pair is dropped (one `Dropped` effect, which is counted).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .call import (
    OPEN_LEGS,
    Alive,
    Answered,
    Call,
    Cancelled,
    Complete,
    Completed,
    Declined,
    Delivered,
    Dropped,
    Due,
    Effect,
    Engaged,
    Event,
    Finished,
    Gone,
    Hung,
    Invited,
    Leg,
    LegState,
    Linked,
    Rang,
    Record,
    Relayed,
    Release,
    Restored,
    Settle,
    State,
    Step,
    Tell,
    Timers,
)  # fmt: skip
from .ending import PHONE_REASONS, Reason, words

STANDARD = Timers()


def step(call: Call | None, event: Event, now_ms: int, timers: Timers = STANDARD) -> Step:
    """The next state and what has to be done. An ended call never changes."""
    if call is None:
        if isinstance(event, Invited):
            return _invited(event, now_ms, timers)
        if isinstance(event, Restored):
            return _restored(event, now_ms, timers)
        return None, (Dropped("none", type(event).__name__),)
    handler = TABLE.get((call.state, type(event)))
    moved = handler(call, event, now_ms, timers) if handler else None
    return moved if moved is not None else (call, (Dropped(call.state, type(event).__name__),))


def _invited(event: Invited, now: int, timers: Timers) -> Step:
    call = Call(
        event.identity, legs=tuple(Leg(device) for device in event.rings), state=State.ROUTING,
        created_at=now, deadline=now + timers.route, pending=event.pending,
        activating=event.pending or event.grant is not None,
        window=event.window,
    )  # fmt: skip
    rings = tuple(Tell(device, "ring", body, key=f"ring:{call.id}") for device, body in event.rings.items())
    return call, (*_grant_events(call, event.grant), *rings)


def _restored(event: Restored, now: int, timers: Timers) -> Step:
    winner = event.devices[0] if len(event.devices) == 1 else None
    legs = tuple(Leg(device, LegState.WON if device == winner else LegState.GONE) for device in event.devices)
    call = Call(
        event.identity, legs=legs, state=State.CONNECTED, created_at=event.created_at, deadline=now + timers.alive,
        winner=winner, caller_seen=now, callee_seen=now, connected_at=now,
    )  # fmt: skip
    return call, ()


def _delivered(call: Call, event: Delivered, _now: int, _timers: Timers) -> Step | None:
    leg = call.leg(event.device)
    if leg is None or leg.state is not LegState.QUEUED:
        return None
    return _with_leg(call, event.device, LegState.DELIVERED), ()


def _rang(call: Call, event: Rang, now: int, timers: Timers) -> Step | None:
    leg = call.leg(event.device)
    if leg is None or leg.state not in OPEN_LEGS or leg.state is LegState.RINGING:
        return None
    moved = _with_leg(call, event.device, LegState.RINGING)
    if call.state is State.ROUTING:
        moved = replace(moved, state=State.RINGING, deadline=now + timers.ring, ringing_at=now)
    return moved, (_tell_caller(moved, "ringing", {"device": event.device}, key=f"ringing:{event.device}"),)


def _answered(call: Call, event: Answered, now: int, timers: Timers) -> Step | None:
    leg = call.leg(event.device)
    if leg is None or leg.state not in OPEN_LEGS:
        return None
    moved = replace(call, winner=event.device, blob=event.blob)
    if call.pending:
        return replace(moved, state=State.ACCEPTING, deadline=now + timers.accepting), (Complete(),)
    return _accepted(moved, now, timers, ())


def _answered_again(call: Call, event: Answered, _now: int, _timers: Timers) -> Step | None:
    return (call, (Complete(),)) if event.device == call.winner else None


def _repeated(call: Call, event: Answered | Alive, _now: int, _timers: Timers) -> Step | None:
    return (call, ()) if event.device in (call.winner, call.identity.caller_device) else None


def _accepted(call: Call, now: int, timers: Timers, first: tuple[Effect, ...]) -> Step:
    """The answer stands: the caller gets the blob, the other devices learn who answered."""
    assert call.winner is not None
    told: list[Effect] = [_tell_caller(call, "accepted", {"device": call.winner, "blob": call.blob}, key="accepted")]
    legs = []
    for leg in call.legs:
        if leg.device == call.winner:
            leg = replace(leg, state=LegState.WON)
        elif leg.state in OPEN_LEGS:
            told.append(_ended_event(call, leg.device, Reason.ANSWERED_ELSEWHERE, call.winner))
            leg = replace(leg, state=LegState.LOST)
        legs.append(leg)
    moved = replace(
        call, legs=tuple(legs), state=State.ACCEPTED, deadline=now + timers.setup, blob=None, accepted_at=now
    )
    return moved, (*first, *told)


def _completed(call: Call, event: Completed, now: int, timers: Timers) -> Step:
    if event.outcome not in ("granted", "already"):
        return _end(call, Reason.NOT_ACTIVATED, event.outcome, now)
    moved = replace(call, pending=False)
    granted = _grant_events(moved, event.grant)
    if call.ending is not None:
        ended, effects = _end(moved, call.ending, None, now)
        return ended, (*granted, *effects)
    return _accepted(moved, now, timers, granted)


def _declined(call: Call, event: Declined, now: int, _timers: Timers) -> Step | None:
    leg = call.leg(event.device)
    if leg is None or leg.state not in OPEN_LEGS:
        return None
    moved = _with_leg(call, event.device, LegState.DECLINED)
    return _end(moved, Reason.DECLINED, None, now) if event.account else _after_leg(moved, now)


def _engaged(call: Call, event: Engaged, now: int, _timers: Timers) -> Step | None:
    leg = call.leg(event.device)
    if leg is None or leg.state not in OPEN_LEGS:
        return None
    return _after_leg(_with_leg(call, event.device, LegState.BUSY), now)


def _gone(call: Call, event: Gone, now: int, _timers: Timers) -> Step | None:
    if event.device == call.identity.caller_device or event.device == call.winner:
        return _end(call, Reason.LOST, "device_revoked", now)
    leg = call.leg(event.device)
    if leg is None or leg.state not in OPEN_LEGS:
        return None
    gone = _with_leg(call, event.device, LegState.GONE)
    return _after_leg(gone, now) if call.state in (State.ROUTING, State.RINGING) else (gone, ())


def _after_leg(call: Call, now: int) -> Step:
    """One leg is over; the call goes on while another one may answer."""
    states = {leg.state for leg in call.legs}
    if states & OPEN_LEGS:
        return call, ()
    if LegState.DECLINED in states:
        return _end(call, Reason.DECLINED, None, now)
    return _end(call, Reason.BUSY if LegState.BUSY in states else Reason.UNREACHABLE, None, now)


def _cancelled(call: Call, event: Cancelled, now: int, _timers: Timers) -> Step | None:
    return _end(call, Reason.CANCELLED, None, now) if event.device == call.identity.caller_device else None


def _hung_early(call: Call, event: Hung, now: int, _timers: Timers) -> Step | None:
    if event.reason not in PHONE_REASONS:
        return None
    if event.device == call.identity.caller_device:
        return _end(call, Reason.CANCELLED if event.reason is Reason.HANGUP else event.reason, None, now)
    leg = call.leg(event.device)
    if leg is None or leg.state not in OPEN_LEGS:
        return None
    if event.reason is Reason.HANGUP:
        return _after_leg(_with_leg(call, event.device, LegState.DECLINED), now)
    rest = _with_leg(call, event.device, LegState.GONE)
    if any(other.state in OPEN_LEGS for other in rest.legs):
        return rest, ()
    return _end(rest, event.reason, None, now)


def _hung_accepting(call: Call, event: Hung, _now: int, _timers: Timers) -> Step | None:
    """The answer is being recorded: the call ends as soon as PostgreSQL has spoken."""
    if event.reason not in PHONE_REASONS or call.other_end(event.device) is None:
        return None
    return replace(call, ending=call.ending or event.reason), ()


def _hung(call: Call, event: Hung, now: int, _timers: Timers) -> Step | None:
    if event.reason not in PHONE_REASONS or call.other_end(event.device) is None:
        return None
    return _end(call, event.reason, None, now)


def _relayed(call: Call, event: Relayed, _now: int, _timers: Timers) -> Step | None:
    other = call.other_end(event.device)
    if other is None:
        return None
    return call, (Tell(other, "relay", {"call": call.id, "device": event.device, "blob": event.blob}, key=event.key),)


def _linked(call: Call, event: Linked, now: int, timers: Timers) -> Step | None:
    if call.other_end(event.device) is None:
        return None
    if event.device in call.connected:
        return call, ()
    connected = (*call.connected, event.device)
    if len(connected) < 2:
        return replace(call, connected=connected), ()
    moved = replace(
        call, connected=connected, state=State.CONNECTED, deadline=now + timers.alive,
        connected_at=now, caller_seen=now, callee_seen=now,
    )  # fmt: skip
    ends = (call.identity.caller_device, call.winner or "")
    told = tuple(Tell(end, "connected", {"call": call.id}, key=f"connected:{call.id}") for end in ends)
    return moved, (*told, Record())


def _linked_again(call: Call, event: Linked, _now: int, _timers: Timers) -> Step | None:
    return (call, ()) if call.other_end(event.device) is not None else None


def _alive(call: Call, event: Alive, now: int, timers: Timers) -> Step | None:
    if event.device == call.identity.caller_device:
        moved = replace(call, caller_seen=now)
    elif event.device == call.winner or (call.winner is None and call.leg(event.device)):
        moved = replace(call, callee_seen=now, winner=event.device)
    else:
        return None
    return replace(moved, deadline=min(moved.caller_seen, moved.callee_seen) + timers.alive), ()


def _due(call: Call, _event: Due, now: int, timers: Timers) -> Step | None:
    if now < call.deadline:
        return None
    if call.state is State.ACCEPTING and not call.settled:
        return replace(call, settled=True, deadline=now + timers.accepting), (Settle(),)
    reason, cause = {
        State.ROUTING: (Reason.UNREACHABLE, None),
        State.RINGING: (Reason.NO_ANSWER, None),
        State.ACCEPTING: (Reason.NOT_ACTIVATED, "try_again"),
        State.ACCEPTED: (Reason.SETUP_FAILED, None),
        State.CONNECTED: (Reason.LOST, None),
    }[call.state]
    return _end(call, reason, cause, now)


def _finished(call: Call, event: Finished, now: int, _timers: Timers) -> Step:
    return _end(call, event.reason, event.cause, now)


def _end(call: Call, reason: Reason, cause: str | None, now: int) -> Step:
    """ENDED, whatever it was: both ends are told, the reservation goes back, the journal is written."""
    ends = [call.identity.caller_device, *(leg.device for leg in call.legs if leg.state in OPEN_LEGS | {LegState.WON})]
    legs = tuple(replace(leg, state=LegState.CANCELLED) if leg.state in OPEN_LEGS else leg for leg in call.legs)
    ended = replace(
        call, state=State.ENDED, legs=legs, reason=reason, cause=cause, ended_at=now, pending=False, blob=None
    )
    told = tuple(_ended_event(call, device, reason, cause) for device in ends)
    release = (Release(reason),) if call.pending else ()
    return ended, (*told, *release, Record())


def _ended_event(call: Call, device: str, reason: Reason, cause: str | None) -> Tell:
    body = {"call": call.id, "reason": reason, "cause": cause, "words": words(reason, cause)}
    return Tell(device, "ended", body, key=f"ended:{call.id}")


def _tell_caller(call: Call, kind: str, body: Mapping[str, Any], *, key: str) -> Tell:
    return Tell(call.identity.caller_device, kind, {"call": call.id, **body}, key=f"{key}:{call.id}")


def _grant_events(call: Call, grant: Mapping[str, Any] | None) -> tuple[Tell, ...]:
    if grant is None:
        return ()
    return tuple(Tell(leg.device, "grant", grant, key=f"grant:{grant['grant']}") for leg in call.legs)


def _with_leg(call: Call, device: str, state: LegState) -> Call:
    return replace(call, legs=tuple(replace(leg, state=state) if leg.device == device else leg for leg in call.legs))


Handler = Callable[[Call, Any, int, Timers], "Step | None"]
_BEFORE: dict[type, Handler] = {
    Delivered: _delivered, Rang: _rang, Answered: _answered, Declined: _declined, Engaged: _engaged,
    Cancelled: _cancelled, Hung: _hung_early, Due: _due, Finished: _finished, Gone: _gone,
}  # fmt: skip
_ACCEPTING: dict[type, Handler] = {
    Answered: _answered_again, Completed: _completed, Hung: _hung_accepting, Due: _due, Finished: _finished,
    Gone: _gone,
}  # fmt: skip
_ACCEPTED: dict[type, Handler] = {
    Answered: _repeated, Relayed: _relayed, Linked: _linked, Alive: _repeated, Hung: _hung, Due: _due,
    Finished: _finished, Gone: _gone,
}  # fmt: skip
_CONNECTED: dict[type, Handler] = {
    Answered: _repeated, Relayed: _relayed, Linked: _linked_again, Alive: _alive, Hung: _hung, Due: _due,
    Finished: _finished, Gone: _gone,
}  # fmt: skip
TABLE: Mapping[tuple[State, type], Handler] = {
    (state, event): handler
    for state, row in (
        (State.ROUTING, _BEFORE),
        (State.RINGING, _BEFORE),
        (State.ACCEPTING, _ACCEPTING),
        (State.ACCEPTED, _ACCEPTED),
        (State.CONNECTED, _CONNECTED),
    )
    for event, handler in row.items()
}
