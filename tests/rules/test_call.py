"""The state machine of a call: every pair of state and event, every timer, every end reason, and what never happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from calls.rules import call as c
from calls.rules.call import Call, LegState, Meeting, Release, State, Tell, Timers, meet
from calls.rules.ending import CAUSES, ENDINGS, PHONE_REASONS, Reason, words
from calls.rules.moves import TABLE, step

NOW = 1_000_000
ALICE, BOB, BOBS_TABLET, MALLORY = "alice-phone", "bob-phone", "bob-tablet", "mallory-phone"
GRANT = {"feature": "voice-calls", "grant": 7, "source": "invite", "words": "On."}
IDENTITY = c.Identity("call-1", "voice-calls", "audio", "everywhere", "alice", ALICE, "bob")
EVENTS = (
    c.Invited, c.Restored, c.Delivered, c.Rang, c.Answered, c.Completed, c.Declined, c.Engaged, c.Cancelled, c.Hung,
    c.Relayed, c.Linked, c.Alive, c.Due, c.Finished, c.Gone,
)  # fmt: skip


def invited(
    *, pending: bool = False, grant: dict[str, Any] | None = None, devices: tuple[str, ...] = (BOB,)
) -> c.Invited:
    rings = {device: {"call": "call-1"} for device in devices}
    return c.Invited(IDENTITY, rings, pending=pending, grant=grant)


def play(*events: Any, start: c.Invited | None = None, at: int = NOW) -> tuple[Call, list[Any]]:
    """The call after these events, and every effect on the way."""
    moved, effects = step(None, start or invited(), at)
    everything = list(effects)
    for event in events:
        moved, effects = step(moved, event, at)
        everything += effects
    assert moved is not None
    return moved, everything


def told(effects: list[Any], device: str) -> list[str]:
    return [effect.type for effect in effects if isinstance(effect, Tell) and effect.device == device]


def in_state(state: State, *, pending: bool = False) -> Call:
    path: dict[State, tuple[Any, ...]] = {
        State.ROUTING: (),
        State.RINGING: (c.Rang(BOB),),
        State.ACCEPTING: (c.Rang(BOB), c.Answered(BOB, "offer")),
        State.ACCEPTED: (c.Rang(BOB), c.Answered(BOB, "offer")),
        State.CONNECTED: (c.Rang(BOB), c.Answered(BOB, "offer"), c.Linked(ALICE), c.Linked(BOB)),
        State.ENDED: (c.Cancelled(ALICE),),
    }
    call, _ = play(*path[state], start=invited(pending=pending or state is State.ACCEPTING))
    assert call.state is state
    return call


def sample(kind: type) -> Any:
    values: dict[type, Any] = {
        c.Invited: invited(),
        c.Restored: c.Restored(IDENTITY, (BOB,), NOW),
        c.Answered: c.Answered(BOB, "offer"),
        c.Completed: c.Completed("granted", GRANT),
        c.Cancelled: c.Cancelled(ALICE),
        c.Hung: c.Hung(ALICE, Reason.HANGUP),
        c.Relayed: c.Relayed(ALICE, "blob", "key"),
        c.Due: c.Due(),
        c.Finished: c.Finished(Reason.STOPPED),
    }
    return values[kind] if kind in values else kind(BOB)


def test_call__answered_and_connected__tells_each_end_once() -> None:
    call, effects = play(
        c.Delivered(BOB), c.Rang(BOB), c.Answered(BOB, "offer"), c.Relayed(ALICE, "answer", "k1"), c.Linked(ALICE),
        c.Linked(BOB), c.Hung(ALICE, Reason.HANGUP),
    )  # fmt: skip

    assert (call.state, call.reason, call.winner) == (State.ENDED, Reason.HANGUP, BOB)
    assert told(effects, ALICE) == ["ringing", "accepted", "connected", "ended"]
    assert told(effects, BOB) == ["ring", "relay", "connected", "ended"]
    assert call.connected_at == NOW


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", EVENTS)
def test_every_pair__that_is_not_listed__is_dropped_and_changes_nothing(state: State, kind: type) -> None:
    call = in_state(state)

    after, effects = step(call, sample(kind), NOW + 1)

    if (state, kind) in TABLE:
        assert effects != (c.Dropped(state, kind.__name__),) or kind in (c.Delivered, c.Rang, c.Due)
    else:
        assert after is call
        assert effects == (c.Dropped(state, kind.__name__),)


def test_no_call__other_event_than_invite_or_restore__is_dropped() -> None:
    for kind in set(EVENTS) - {c.Invited, c.Restored}:
        assert step(None, sample(kind), NOW) == (None, (c.Dropped("none", kind.__name__),))


@pytest.mark.parametrize(
    ("state", "seconds", "reason"),
    [
        (State.ROUTING, 60, Reason.UNREACHABLE),
        (State.RINGING, 45, Reason.NO_ANSWER),
        (State.ACCEPTED, 30, Reason.SETUP_FAILED),
        (State.CONNECTED, 90, Reason.LOST),
    ],
)
def test_timer__of_each_state__ends_the_call_only_when_it_is_over(state: State, seconds: int, reason: Reason) -> None:
    call = in_state(state)

    early, _ = step(call, c.Due(), NOW + seconds * 1000 - 1)
    late, effects = step(call, c.Due(), NOW + seconds * 1000)

    assert early is call
    assert late is not None
    assert (late.state, late.reason) == (State.ENDED, reason)
    assert "ended" in told(list(effects), ALICE)
    assert "ended" in told(list(effects), BOB)


def test_accepting__overdue__asks_the_grant_row_and_then_gives_up() -> None:
    accepting = in_state(State.ACCEPTING)

    asked, first = step(accepting, c.Due(), NOW + 5_000)
    ended, second = step(asked, c.Due(), NOW + 10_000)

    assert first == (c.Settle(),)
    assert ended is not None
    assert (ended.reason, ended.cause) == (Reason.NOT_ACTIVATED, "try_again")
    assert Release(Reason.NOT_ACTIVATED) in second


def test_accept__of_an_activating_call__waits_for_the_grant_and_beats_a_cancel() -> None:
    accepting, effects = step(in_state(State.RINGING, pending=True), c.Answered(BOB, "offer"), NOW)

    cancelled, dropped = step(accepting, c.Cancelled(ALICE), NOW)
    accepted, granted = step(accepting, c.Completed("granted", GRANT), NOW)

    assert effects == (c.Complete(),)
    assert cancelled is accepting
    assert isinstance(dropped[0], c.Dropped)
    assert accepted is not None
    assert (accepted.state, accepted.pending) == (State.ACCEPTED, False)
    assert told(list(granted), BOB) == ["grant"]
    assert told(list(granted), ALICE) == ["accepted"]


@pytest.mark.parametrize("outcome", ["window_closed", "no_reservation", "inviter_frozen", "overdue"])
def test_accept__that_is_refused_a_grant__ends_and_tells_both_why(outcome: str) -> None:
    ended, effects = step(in_state(State.ACCEPTING), c.Completed(outcome), NOW)

    assert ended is not None
    assert (ended.state, ended.reason, ended.cause) == (State.ENDED, Reason.NOT_ACTIVATED, outcome)
    assert told(list(effects), ALICE) == ["ended"]
    assert told(list(effects), BOB) == ["ended"]


def test_hangup__while_the_grant_is_being_made__ends_the_call_after_it() -> None:
    waiting, _ = step(in_state(State.ACCEPTING), c.Hung(ALICE, Reason.HANGUP), NOW)

    ended, effects = step(waiting, c.Completed("granted", GRANT), NOW)

    assert ended is not None
    assert (ended.state, ended.reason) == (State.ENDED, Reason.HANGUP)
    assert told(list(effects), BOB) == ["grant", "ended"]
    assert not [effect for effect in effects if isinstance(effect, Release)]


def test_cancel__before_the_answer__gives_the_reservation_back() -> None:
    ended, effects = step(in_state(State.RINGING, pending=True), c.Cancelled(ALICE), NOW)

    assert ended is not None
    assert ended.reason is Reason.CANCELLED
    assert [effect for effect in effects if isinstance(effect, Release)] == [Release("cancelled")]


def test_two_devices__one_answers__the_other_learns_which_and_can_t_answer_any_more() -> None:
    call, effects = play(
        c.Rang(BOB), c.Rang(BOBS_TABLET), c.Answered(BOBS_TABLET, "offer"), c.Answered(BOB, "late"),
        start=invited(devices=(BOB, BOBS_TABLET)),
    )  # fmt: skip

    ended = next(effect for effect in effects if isinstance(effect, Tell) and effect.type == "ended")
    assert call.winner == BOBS_TABLET
    assert (ended.device, ended.body["reason"], ended.body["cause"]) == (BOB, "answered_elsewhere", BOBS_TABLET)
    assert told(effects, ALICE) == ["ringing", "ringing", "accepted"]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ((c.Declined(BOB), c.Declined(BOBS_TABLET)), Reason.DECLINED),
        ((c.Engaged(BOB), c.Declined(BOBS_TABLET)), Reason.DECLINED),
        ((c.Engaged(BOB), c.Engaged(BOBS_TABLET)), Reason.BUSY),
        ((c.Gone(BOB), c.Gone(BOBS_TABLET)), Reason.UNREACHABLE),
        ((c.Gone(BOB), c.Engaged(BOBS_TABLET)), Reason.BUSY),
        ((c.Declined(BOB, account=True),), Reason.DECLINED),
        ((c.Declined(BOB),), None),
        ((c.Engaged(BOB),), None),
        ((c.Hung(BOB, Reason.SECURITY_ERROR),), None),
        ((c.Hung(BOB, Reason.HANGUP), c.Hung(BOBS_TABLET, Reason.SECURITY_ERROR)), Reason.SECURITY_ERROR),
    ],
)
def test_legs__that_are_over__end_the_call_with_the_last_one(events: tuple[Any, ...], reason: Reason | None) -> None:
    call, _ = play(*events, start=invited(devices=(BOB, BOBS_TABLET)))

    assert call.reason is reason
    assert call.over is (reason is not None)


@pytest.mark.parametrize(
    "event",
    [
        c.Answered(MALLORY, "x"), c.Declined(MALLORY), c.Cancelled(BOB), c.Cancelled(MALLORY), c.Engaged(ALICE),
        c.Rang(ALICE), c.Hung(MALLORY, Reason.HANGUP), c.Gone(MALLORY),
    ],
)  # fmt: skip
def test_event__of_a_device_that_may_not__changes_nothing(event: Any) -> None:
    call = in_state(State.RINGING)

    after, effects = step(call, event, NOW)

    assert after is call
    assert isinstance(effects[0], c.Dropped)


def test_alive__of_one_end_only__doesn_t_keep_the_call() -> None:
    call = in_state(State.CONNECTED)

    for seconds in (30, 60, 89):
        call, _ = step(call, c.Alive(ALICE), NOW + seconds * 1000)
    lost, _ = step(call, c.Due(), NOW + 90_000)
    both, _ = step(call, c.Alive(BOB), NOW + 89_000)

    assert lost is not None
    assert lost.reason is Reason.LOST
    assert both is not None
    assert both.deadline == NOW + 89_000 + 90_000


def test_restored__by_its_ticket__runs_and_can_be_stopped() -> None:
    call, effects = step(None, sample(c.Restored), NOW)

    stopped, told_to = step(call, c.Finished(Reason.STOPPED), NOW)

    assert call is not None
    assert (call.state, call.winner, effects) == (State.CONNECTED, BOB, ())
    assert stopped is not None
    assert stopped.reason is Reason.STOPPED
    assert told(list(told_to), BOB) == ["ended"]


@pytest.mark.parametrize(
    ("state", "caller", "age_ms", "meeting"),
    [
        (State.ROUTING, "bob", 0, Meeting.GLARE),
        (State.RINGING, "bob", 29_999, Meeting.GLARE),
        (State.RINGING, "bob", 30_001, Meeting.REPLACE),
        (State.RINGING, "alice", 0, Meeting.REPLACE),
        (State.ACCEPTING, "bob", 0, Meeting.GLARE),
        (State.CONNECTED, "bob", 0, Meeting.REPLACE),
        (State.CONNECTED, "alice", 0, Meeting.REPLACE),
    ],
)
def test_meeting__of_the_same_two_people__is_glare_only_while_both_call(
    state: State, caller: str, age_ms: int, meeting: Meeting
) -> None:
    assert meet(in_state(state), caller, NOW + age_ms) is meeting


def test_offered__grants_before_it_rings() -> None:
    call, effects = play(start=invited(grant=GRANT))

    assert told(effects, BOB) == ["grant", "ring"]
    assert (call.activating, call.pending) == (True, False)


def test_every_reason__has_a_sip_code_a_callkit_reason_and_a_sentence() -> None:
    assert set(ENDINGS) == set(Reason)
    callkit = {"failed", "remoteEnded", "unanswered", "answeredElsewhere", "declinedElsewhere"}
    for reason, ending in ENDINGS.items():
        assert 200 <= ending.sip < 700
        assert ending.callkit in callkit
        assert words(reason, None).endswith(".")
    for cause in CAUSES:
        assert words(Reason.NOT_ACTIVATED, cause).endswith(".")
        assert len(cause) <= 32


class Calls(RuleBasedStateMachine):
    """Two called devices, an impostor, and time that only goes forward."""

    devices = st.sampled_from([ALICE, BOB, BOBS_TABLET, MALLORY])

    @initialize(pending=st.booleans())
    def invite(self, pending: bool) -> None:
        self.now = NOW
        self.call, effects = step(None, invited(pending=pending, devices=(BOB, BOBS_TABLET)), NOW)
        self.effects = list(effects)
        self.ended: Call | None = None
        self.winners: set[str] = set()

    def move(self, event: Any) -> None:
        before = self.call
        self.call, effects = step(self.call, event, self.now)
        self.effects += effects
        assert self.call is not None
        if before is not None and before.over:
            assert self.call is before
            assert all(isinstance(effect, c.Dropped) for effect in effects)
        if self.call.state in (State.ACCEPTED, State.CONNECTED) and self.call.winner:
            self.winners.add(self.call.winner)

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.move(c.Due())

    @rule(
        device=devices, kind=st.sampled_from([c.Delivered, c.Rang, c.Engaged, c.Cancelled, c.Linked, c.Alive, c.Gone])
    )
    def plain(self, device: str, kind: type) -> None:
        self.move(kind(device))

    @rule(device=devices)
    def answer(self, device: str) -> None:
        self.move(c.Answered(device, "offer"))

    @rule(device=devices, account=st.booleans())
    def decline(self, device: str, account: bool) -> None:
        self.move(c.Declined(device, account))

    @rule(device=devices, reason=st.sampled_from(list(Reason)))
    def hang_up(self, device: str, reason: Reason) -> None:
        self.move(c.Hung(device, reason))

    @rule(outcome=st.sampled_from(["granted", "already", "window_closed", "no_reservation"]))
    def complete(self, outcome: str) -> None:
        self.move(c.Completed(outcome, GRANT if outcome == "granted" else None))

    @rule(device=devices)
    def relay(self, device: str) -> None:
        self.move(c.Relayed(device, "blob", ""))

    @rule(reason=st.sampled_from([Reason.STOPPED, Reason.GRANT_ENDED, Reason.REPLACED]))
    def finish(self, reason: Reason) -> None:
        self.move(c.Finished(reason))

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "call") or self.call is None:
            return
        call = self.call
        tells = [effect for effect in self.effects if isinstance(effect, Tell)]
        keyed = [(tell.device, tell.key) for tell in tells if tell.key]
        assert len(keyed) == len(set(keyed)), "an effect came twice"
        assert len(self.winners) <= 1
        assert sum(leg.state is LegState.WON for leg in call.legs) <= 1
        assert not any(tell.device == MALLORY for tell in tells)
        assert len([effect for effect in self.effects if isinstance(effect, Release)]) <= 1
        assert call.over == (call.reason is not None) == (call.ended_at is not None)
        assert not (call.over and call.pending)
        assert len([tell for tell in tells if tell.type == "accepted"]) <= 1
        if call.reason is not None and call.reason not in (Reason.STOPPED, Reason.GRANT_ENDED, Reason.REPLACED):
            assert call.reason in PHONE_REASONS or call.reason in ENDINGS


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


def test_timers__of_a_deployment__are_used() -> None:
    call, _ = step(None, invited(), NOW, Timers(route=1_000))

    assert call is not None
    assert call.deadline == NOW + 1_000
    assert replace(call, deadline=0) != call
