"""The controller at work: reports of edges in Redis to measurements, decisions, allowance and words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis
from django.test import override_settings
from django.utils import timezone

from controlplane.audit.models import AuditEntry
from controlplane.base.refusal import BadInput, NotFound
from rollout import tasks
from rollout.actions import capacity, evidence, waves
from rollout.actions.areas import change_area, create_area
from rollout.actions.capacity import claim, tick_area
from rollout.errors import AreaExists
from rollout.models import Allowance, Area, CapacityDecision, Measurement, Ruleset
from rollout.rules.capacity.controller import Tick
from rollout.rules.definition.area import AreaState
from tests.rollout import cast
from tests.rollout.cast import OPERATOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def report(store: redis.Redis, concurrent: int, *, edge: str = "edge-1", age: float = 0, attempts: int = 0) -> None:
    """What an edge writes of itself every two seconds."""
    at = (timezone.now() - timedelta(seconds=age)).timestamp() * 1000
    counts = {"concurrent": concurrent, "attempts": attempts, "setups": 0}
    store.hset("rc:edges", edge, json.dumps({"at": at, "areas": {"DE": counts}, "sockets": 3}))


def area(**fields: Any) -> Area:
    values = {"state": "unknown", "remaining": 0, "next_tick_at": timezone.now(), **fields}
    return cast.area(**values)


def tick(of: Area, *, later: float = 0.01) -> Tick | None:
    """The area's next tick, `later` seconds from now."""
    return tick_area(of.pk, now=timezone.now() + timedelta(seconds=later))


def next_tick(of: Area) -> Tick | None:
    Area.objects.filter(pk=of.pk).update(next_tick_at=timezone.now())
    return tick(of)


def allowance() -> Allowance:
    return Allowance.objects.get()


def test_tick__with_a_fresh_report__measures_mints_and_writes_why(store: redis.Redis) -> None:
    de = area()
    report(store, 4, attempts=12)

    told = tick(de)

    assert told is not None
    assert (told.state, told.minted) == (AreaState.RAMP, 250)
    measured = Measurement.objects.get()
    assert (measured.concurrent_calls, measured.attempts) == (4, 12)
    assert measured.edges["edge-1"]["concurrent"] == 4
    decision = CapacityDecision.objects.get()
    assert (decision.previous_state, decision.state, decision.minted) == ("unknown", "ramp", 250)
    assert decision.reason == "DE takes people in – 4 of 20 calls, 20 %."
    assert decision.inputs["sample"]["concurrent_calls"] == 4
    assert (allowance().remaining, allowance().minted_total) == (250, 250)
    assert timedelta(seconds=29) < allowance().valid_until - timezone.now() <= timedelta(seconds=31)
    de.refresh_from_db()
    assert (de.state, de.reason) == ("ramp", decision.reason)
    assert AuditEntry.objects.get(verb="area.resumed").actor == "capacity controller"


def test_tick__at_85_per_cent__holds_voids_and_resumes_below_64(store: redis.Redis) -> None:
    de = area()
    report(store, 4)
    tick(de)

    report(store, 17)
    held = next_tick(de)

    assert held is not None
    assert held.state is AreaState.HOLD
    assert allowance().remaining == 0
    assert held.reason == "DE is held – 17 of 20 calls, 85 %; admission resumes below 64 %."
    report(store, 13)
    between = next_tick(de)
    assert between is not None
    assert between.state is AreaState.HOLD
    report(store, 12)
    resumed = next_tick(de)
    assert resumed is not None
    assert resumed.state is AreaState.RAMP
    assert allowance().remaining == 250
    states = CapacityDecision.objects.order_by("id").values_list("state", flat=True)
    assert list(states) == ["ramp", "hold", "hold", "ramp"]
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["area.resumed", "area.held", "area.resumed"]


def test_tick__with_no_report_at_all__is_unknown_and_never_zero(store: redis.Redis) -> None:
    de = area(state="ramp", remaining=50)

    told = tick(de)

    assert told is not None
    assert told.state is AreaState.UNKNOWN
    assert "no edge has reported yet" in told.reason
    assert not Measurement.objects.exists()
    assert allowance().remaining == 0


def test_allowance__after_the_edges_fell_silent__ends_by_itself_45_seconds_later(store: redis.Redis) -> None:
    de = area()
    report(store, 4, age=40)

    told = tick(de)

    assert told is not None
    assert told.state is AreaState.RAMP
    assert allowance().remaining == 250
    assert allowance().valid_until - timezone.now() <= timedelta(seconds=5)


def test_allowance__of_a_worker_whose_clock_runs_ahead__holds_no_longer_by_the_databases_clock(
    store: redis.Redis,
) -> None:
    de = area()
    report(store, 4, age=-29)

    told = tick(de, later=29)

    assert told is not None
    assert told.minted == 250
    assert timedelta(seconds=25) < allowance().valid_until - timezone.now() <= timedelta(seconds=30)


def test_tick__of_a_worker_that_stood_still__mints_nothing_after_the_next_one(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    de = area()
    report(store, 4)
    measure = evidence.measure

    def stand_still(*asked: Any, **at: Any) -> str:
        monkeypatch.setattr(capacity, "measure", measure)
        assert tick(de, later=16) is not None
        Allowance.objects.update(remaining=0)  # and its portion is spent
        return measure(*asked, **at)

    monkeypatch.setattr(capacity, "measure", stand_still)

    assert tick(de) is None

    assert CapacityDecision.objects.count() == 1
    assert (allowance().remaining, allowance().minted_total) == (0, 250)


def test_tick__when_edges_fall_silent__believes_the_last_report_for_45_seconds(store: redis.Redis) -> None:
    de = area()
    report(store, 4, age=10)
    tick(de)
    store.delete("rc:edges")

    still = next_tick(de)
    assert still is not None
    assert still.state is AreaState.RAMP
    Measurement.objects.update(sampled_at=timezone.now() - timedelta(seconds=46))
    blind = next_tick(de)

    assert blind is not None
    assert blind.state is AreaState.UNKNOWN
    assert blind.reason.startswith("capacity_unknown: DE is held – no edge has reported for 46 s")
    assert allowance().remaining == 0


def test_tick__with_only_stale_reports__writes_no_measurement(store: redis.Redis) -> None:
    de = area()
    report(store, 0, age=46)

    told = tick(de)

    assert told is not None
    assert told.state is AreaState.UNKNOWN
    assert not Measurement.objects.exists()


def test_tick__with_redis_away__is_unknown_and_says_why() -> None:
    de = area(state="ramp", remaining=50)

    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        told = tick(de)

    assert told is not None
    assert told.state is AreaState.UNKNOWN
    assert "the store of the edges' reports can't be reached" in told.reason


def test_tick__with_a_damaged_report__counts_that_edge_as_silent(store: redis.Redis) -> None:
    de = area()
    store.hset("rc:edges", "edge-2", b"{not json")
    store.hset("rc:edges", "edge-3", json.dumps([1, 2]))
    report(store, 4)

    tick(de)

    assert list(Measurement.objects.get().edges) == ["edge-1"]


def test_load__of_several_edges_and_the_shared_record__is_the_higher_count(store: redis.Redis) -> None:
    de = area()
    report(store, 4)
    report(store, 5, edge="edge-2")
    soon = timezone.now().timestamp() * 1000 + 60_000
    store.zadd("rc:live:DE", {f"call-{n}": soon for n in range(11)})
    store.zadd("rc:live:DE", {"overdue": 1})

    tick(de)

    assert Measurement.objects.get().concurrent_calls == 11
    store.delete("rc:live:DE")
    next_tick(de)
    newest = Measurement.objects.order_by("-id").first()
    assert newest is not None
    assert newest.concurrent_calls == 9


def test_attempts__between_two_measurements__are_counted_once(store: redis.Redis) -> None:
    de = area()
    for attempts in (10, 25, 3):
        report(store, 1, attempts=attempts)
        next_tick(de)

    assert list(Measurement.objects.order_by("id").values_list("attempts", flat=True)) == [10, 15, 3]


def test_tick__repeated__mints_once(store: redis.Redis) -> None:
    de = area()
    report(store, 1)
    now = timezone.now() + timedelta(seconds=1)

    assert tick_area(de.pk, now=now) is not None
    assert tick_area(de.pk, now=now) is None
    assert tick_area(de.pk, now=now + timedelta(seconds=10)) is None

    assert allowance().minted_total == 250
    assert CapacityDecision.objects.count() == 1


def test_claim__by_two_workers_that_saw_the_same_tick__is_one_s() -> None:
    de = area()
    one, other = Area.objects.get(pk=de.pk), Area.objects.get(pk=de.pk)
    now = timezone.now() + timedelta(seconds=1)

    assert [claim(one, now=now), claim(other, now=now)] == [True, False]


def test_claim__late__keeps_the_rhythm_and_makes_up_for_nothing() -> None:
    due = timezone.now() - timedelta(seconds=1)
    de = area(next_tick_at=due)
    claim(de, now=timezone.now())
    de.refresh_from_db()
    assert de.next_tick_at == due + timedelta(seconds=15)

    Area.objects.update(next_tick_at=due - timedelta(hours=1))
    de.refresh_from_db()
    now = timezone.now()
    claim(de, now=now)
    de.refresh_from_db()
    assert de.next_tick_at == now + timedelta(seconds=15)


def test_unspent_allowance__at_the_next_tick__is_gone(store: redis.Redis) -> None:
    de = area(activations_per_minute=8)
    report(store, 1)

    for _ in range(3):
        next_tick(de)

    assert (allowance().remaining, allowance().minted_total) == (2, 6)


def test_worker_stopped__after_two_ticks__throttles_as_unknown(store: redis.Redis) -> None:
    it = cast.launch(remaining=0)
    report(store, 1)
    next_tick(it.area)
    assert cast.reserve(it.alice, it.bob)[0] == "reserved"

    Allowance.objects.update(valid_until=timezone.now())  # two ticks passed, and no worker came
    outcome, detail, _ = cast.reserve(it.alice, it.carol)

    assert (outcome, detail["cause"]) == ("throttled", "capacity_unknown")
    assert detail["retry_at"] > timezone.now().timestamp() * 1000


def test_window_and_wave__in_one_area__stop_by_the_same_verdict(store: redis.Redis) -> None:
    it = cast.launch()
    wave = waves.create_wave(cast.CALLS, name="All", actor=OPERATOR, now=timezone.now())
    waves.open_wave(wave.pk, actor=OPERATOR, now=timezone.now())
    report(store, 17)
    next_tick(it.area)

    outcome, detail, _ = cast.reserve(it.alice, it.bob)
    still = waves.admit(wave.pk, now=timezone.now())

    assert (outcome, detail["cause"]) == ("throttled", "hold")
    assert still.admitted == 0
    assert "17 of 20 calls, 85 %" in still.standstill


def test_window_and_wave__in_one_area__spend_the_same_allowance(store: redis.Redis) -> None:
    it = cast.launch(remaining=0)
    Area.objects.update(activations_per_minute=8)
    report(store, 1)
    next_tick(it.area)  # 2 places
    wave = waves.create_wave(cast.CALLS, name="All", actor=OPERATOR, now=timezone.now())
    waves.open_wave(wave.pk, actor=OPERATOR, now=timezone.now())

    assert cast.reserve(it.alice, it.bob)[0] == "reserved"
    assert waves.admit(wave.pk, now=timezone.now()).admitted == 1

    assert cast.reserve(it.alice, it.dave)[1].get("cause") in ("allowance_spent", None)
    assert (allowance().remaining, allowance().spent_total) == (0, 2)
    assert cast.faults_in_books() == []


def test_tick_task__each_second__does_what_is_due_and_nudges_open_waves(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(waves.current_app, "send_task", lambda name, **options: sent.append((name, options["args"])))
    it = cast.launch(closes_at=cast.shortly(-1))
    cast.overdue([])
    Area.objects.update(next_tick_at=timezone.now())
    wave = cast_wave(it.feature)
    report(store, 1)

    tasks.tick()
    tasks.tick()

    assert CapacityDecision.objects.count() == 1
    it.window.refresh_from_db()
    assert it.window.state == "closed"
    assert sent.count(("rollout.tasks.admit_wave", [wave.pk])) == 1


def cast_wave(feature: Any) -> Any:
    from rollout.models import Wave

    return Wave.objects.create(feature=feature, position=1, name="All", state="open", opened_at=timezone.now())


def test_tick_task__when_one_area_fails__goes_on_with_the_others(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, sound = area(), area(key="FR")
    report(store, 1)
    honest = evidence.measure

    def measure(of: Area, *, now: datetime) -> str:
        if of.pk == poisoned.pk:
            raise ZeroDivisionError
        return honest(of, now=now)

    monkeypatch.setattr("rollout.actions.capacity.measure", measure)

    tasks.tick()

    assert list(CapacityDecision.objects.values_list("area", flat=True)) == [sound.pk]
    assert Allowance.objects.get(area=poisoned).minted_total == 0


def test_create_area__sound__is_held_until_measured_and_published() -> None:
    made = create_area(
        "DE", name="Germany", countries=["DE"], capacity_calls=20, tick_seconds=1, stale_seconds=4, actor=OPERATOR,
        now=timezone.now(),
    )  # fmt: skip

    assert (made.state, made.tick_seconds) == ("unknown", 1)
    assert allowance().remaining == 0
    latest = Ruleset.objects.order_by("-version").first()
    assert latest is not None
    assert json.loads(bytes(latest.body))["areas"] == {"DE": {"countries": ["DE"], "carriers": []}}
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.subject) == ("area.created", "area:DE Germany")
    with pytest.raises(AreaExists):
        create_area("DE", capacity_calls=20, actor=OPERATOR, now=timezone.now())


@pytest.mark.parametrize(
    "fields",
    [
        {"capacity_calls": 0},
        {"capacity_calls": "many"},
        {"capacity_calls": 20, "hold_above_ppm": 1_000_001},
        {"capacity_calls": 20, "hold_above_ppm": 500_000, "resume_below_ppm": 500_000},
        {"capacity_calls": 20, "tick_seconds": 0.1},
        {"capacity_calls": 20, "stale_seconds": 5, "tick_seconds": 6},
        {"capacity_calls": 20, "state": "ramp"},
        {"capacity_calls": 20, "countries": ["Germany"]},
        {},
    ],
)
def test_create_area__with_what_can_t_be__is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        create_area("DE", actor=OPERATOR, now=timezone.now(), **fields)

    assert str(refused.value)
    assert not Area.objects.exists()


def test_change_area__by_an_operator__is_judged_at_the_next_second(store: redis.Redis) -> None:
    de = cast.area()
    report(store, 13)

    change_area("DE", changes={"capacity_calls": 15}, actor=OPERATOR, now=timezone.now(), reason="a relay is down")

    told = tick(de)
    assert told is not None
    assert told.state is AreaState.HOLD
    entry = AuditEntry.objects.get(verb="area.changed")
    assert (entry.detail, entry.reason) == ({"capacity_calls": [20, 15]}, "a relay is down")
    with pytest.raises(BadInput):
        change_area("DE", changes={"state": "ramp"}, actor=OPERATOR, now=timezone.now())
    with pytest.raises(NotFound):
        change_area("ATLANTIS", changes={}, actor=OPERATOR, now=timezone.now())
