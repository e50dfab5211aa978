"""Invites by call and operators' grants, on the real PostgreSQL: every outcome, replays, the books after each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from controlplane.accounts.models import Block, Subscriber
from controlplane.audit.models import AuditEntry
from controlplane.base.refusal import BadInput, NotFound
from controlplane.outbox.models import Outbox
from rollout.actions.grants import freeze_grant, grant_people, revoke_grant, thaw_grant
from rollout.errors import FeatureUnknown, GrantNotLive
from rollout.models import Allowance, Area, Feature, Grant, GrantState, Refusal, Reservation, Window
from rollout.rules.spread.invite import CALLEE_ONLY, Outcome
from tests.rollout import cast
from tests.rollout.cast import Launch

pytestmark = pytest.mark.django_db


@pytest.fixture
def launch() -> Launch:
    return cast.launch()


# One fact is changed from the situation in which alice may invite bob; the outcome and its cause follow.
SITUATIONS: dict[str, tuple[Callable[[Launch], Any], Outcome, str]] = {
    "nothing_stands_against_it": (lambda it: None, Outcome.OK, ""),
    "has_it_already": (lambda it: cast.grant(it.feature, it.bob), Outcome.ALREADY, ""),
    "has_it_frozen": (lambda it: cast.grant(it.feature, it.bob, state="frozen"), Outcome.ALREADY, ""),
    "had_it_revoked": (lambda it: cast.grant(it.feature, it.bob, state="revoked"), Outcome.OK, ""),
    "inviter_without_grant": (lambda it: _grant(it, state="revoked"), Outcome.INVITER_FROZEN, "no_grant"),
    "inviter_frozen": (lambda it: _grant(it, state="frozen"), Outcome.INVITER_FROZEN, ""),
    "inviter_asks_too_often": (lambda it: _refusals(it, 60), Outcome.RATE_LIMITED, ""),
    "inviter_asks_often": (lambda it: _refusals(it, 59), Outcome.OK, ""),
    "feature_off": (lambda it: _feature(it, switch="off"), Outcome.WINDOW_CLOSED, "feature_off"),
    "feature_killed": (lambda it: _feature(it, switch="killed"), Outcome.WINDOW_CLOSED, "feature_killed"),
    "no_window": (lambda it: Window.objects.all().delete(), Outcome.WINDOW_CLOSED, "no_window"),
    "window_scheduled": (lambda it: _window(it, state="scheduled"), Outcome.WINDOW_CLOSED, "no_window"),
    "window_closed": (lambda it: cast.close(it.window.pk), Outcome.WINDOW_CLOSED, ""),
    "window_past_its_time": (lambda it: _window(it, closes_at=cast.shortly(-1)), Outcome.WINDOW_CLOSED, ""),
    "window_before_its_time": (lambda it: _window(it, closes_at=cast.shortly(30)), Outcome.OK, ""),
    "window_of_another_area": (lambda it: it.window.areas.add(cast.area(key="FR")), Outcome.WINDOW_CLOSED, "no_window"),
    "window_of_this_area": (lambda it: it.window.areas.add(it.area), Outcome.OK, ""),
    "depth_reached": (lambda it: _window(it, depth_limit=0), Outcome.DEPTH, ""),
    "depth_left": (lambda it: _window(it, depth_limit=1), Outcome.OK, ""),
    "inviter_too_new": (lambda it: _window(it, min_grant_age_seconds=7200), Outcome.INVITER_TOO_NEW, ""),
    "inviter_old_enough": (lambda it: _window(it, min_grant_age_seconds=1800), Outcome.OK, ""),
    "quota_of_none": (lambda it: _window(it, quota=0), Outcome.QUOTA_SPENT, ""),
    "quota_spent": (lambda it: _spend(it, quota=1), Outcome.QUOTA_SPENT, ""),
    "root_budget_of_none": (lambda it: _window(it, root_budget=0), Outcome.ROOT_BUDGET, ""),
    "root_budget_spent": (lambda it: _spend(it, root_budget=1), Outcome.ROOT_BUDGET, ""),
    "places_spent": (lambda it: _spend(it, places=1), Outcome.BUDGET_SPENT, ""),
    "no_area": (lambda it: _person(it.bob, country="FR"), Outcome.THROTTLED, "no_area"),
    "area_held": (lambda it: _area(it, state="hold"), Outcome.THROTTLED, "hold"),
    "area_unknown": (lambda it: _area(it, state="unknown"), Outcome.THROTTLED, "capacity_unknown"),
    "allowance_expired": (
        lambda it: _allowance(it, valid_until=cast.shortly(-1)),
        Outcome.THROTTLED,
        "capacity_unknown",
    ),
    "allowance_spent": (lambda it: _allowance(it, remaining=0), Outcome.THROTTLED, "allowance_spent"),
    "blocked": (lambda it: Block.objects.create(blocker=it.bob, blocked=it.alice), Outcome.CALLEE_OPTED_OUT, "blocked"),
    "blocked_with_calling": (
        lambda it: (cast.grant(it.feature, it.bob), Block.objects.create(blocker=it.bob, blocked=it.alice)),
        Outcome.CALLEE_OPTED_OUT,
        "blocked",
    ),
    "blocks_the_callee": (lambda it: Block.objects.create(blocker=it.alice, blocked=it.bob), Outcome.OK, ""),
    "opted_out": (lambda it: _person(it.bob, accepts_invites=False), Outcome.CALLEE_OPTED_OUT, "no_invites"),
    "called_by_another": (lambda it: _called_by_another(it), Outcome.CALLEE_INELIGIBLE, "reserved_elsewhere"),
    "called_by_another_before": (lambda it: cast.overdue([_called_by_another(it)]), Outcome.OK, ""),
    # Of two reasons, the one about the inviter and the window is told.
    "opted_out_and_closed": (
        lambda it: (_person(it.bob, accepts_invites=False), cast.close(it.window.pk)),
        Outcome.WINDOW_CLOSED,
        "",
    ),
    "blocked_and_throttled": (
        lambda it: (Block.objects.create(blocker=it.bob, blocked=it.alice), _allowance(it, remaining=0)),
        Outcome.THROTTLED,
        "allowance_spent",
    ),
}


def _window(it: Launch, **fields: Any) -> None:
    Window.objects.filter(pk=it.window.pk).update(**fields)


def _feature(it: Launch, **fields: Any) -> None:
    Feature.objects.filter(pk=it.feature.pk).update(**fields)


def _grant(it: Launch, **fields: Any) -> None:
    Grant.objects.filter(pk=it.root.pk).update(**fields)


def _area(it: Launch, **fields: Any) -> None:
    Area.objects.filter(pk=it.area.pk).update(**fields)


def _allowance(it: Launch, **fields: Any) -> None:
    Allowance.objects.filter(pk=it.area.pk).update(**fields)


def _person(person: Subscriber, **fields: Any) -> None:
    Subscriber.objects.filter(pk=person.pk).update(**fields)


def _spend(it: Launch, **limits: int) -> None:
    _window(it, **limits)
    assert cast.reserve(it.alice, it.carol)[0] == "reserved"


def _called_by_another(it: Launch) -> Any:
    cast.grant(it.feature, it.dave)
    outcome, _, call = cast.reserve(it.dave, it.bob)
    assert outcome == "reserved"
    return call


def _refusals(it: Launch, count: int) -> None:
    Refusal.objects.bulk_create(
        Refusal(feature=it.feature, call=uuid4(), inviter=it.alice.pk, outcome="depth", at=timezone.now())
        for _ in range(count)
    )


@pytest.mark.parametrize("situation", SITUATIONS)
def test_verdict__in_each_situation__has_its_outcome_cause_and_time(launch: Launch, situation: str) -> None:
    change, outcome, cause = SITUATIONS[situation]
    change(launch)

    told, detail = cast.verdict(launch.alice, launch.bob)

    assert (told, detail.get("cause", "")) == (outcome, cause)
    can_tell = outcome in (Outcome.RATE_LIMITED, Outcome.INVITER_TOO_NEW, Outcome.THROTTLED) and cause != "no_area"
    assert ("retry_at" in detail) is can_tell
    if outcome is Outcome.INVITER_TOO_NEW:
        assert detail["retry_at"] == int((launch.root.granted_at + timedelta(hours=2)).timestamp() * 1000)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_reserve__in_each_situation__does_what_the_verdict_says(launch: Launch, situation: str) -> None:
    change, outcome, cause = SITUATIONS[situation]
    change(launch)
    before = Reservation.objects.count()

    told, _, call = cast.reserve(launch.alice, launch.bob)

    assert told == ("reserved" if outcome is Outcome.OK else outcome)
    assert Reservation.objects.count() - before == (told == "reserved")
    refusal = Refusal.objects.filter(call=call).first()
    if outcome in (Outcome.OK, Outcome.ALREADY):
        assert refusal is None
    else:
        assert refusal is not None
        assert (refusal.outcome, refusal.detail.get("cause", "")) == (outcome, cause)
    if situation not in ("allowance_spent", "blocked_and_throttled", "no_window"):
        assert cast.faults_in_books() == []


def test_verdict__of_somebody_unknown__looks_at_the_inviter_s_area_or_the_number_s_country(launch: Launch) -> None:
    cast.area(key="FR", state="hold")

    assert cast.verdict(launch.alice, None)[0] == Outcome.CALLEE_INELIGIBLE
    outcome, detail = cast.verdict(launch.alice, None, "FR")
    assert (outcome, detail["cause"], detail["area"]) == (Outcome.THROTTLED, "hold", "FR")


def test_outcomes__that_concern_the_callee__are_marked() -> None:
    assert {outcome for _, outcome, _ in SITUATIONS.values()} & CALLEE_ONLY == {
        Outcome.ALREADY,
        Outcome.CALLEE_INELIGIBLE,
        Outcome.CALLEE_OPTED_OUT,
    }


def test_invite__answered__becomes_a_grant_that_is_announced(launch: Launch) -> None:
    outcome, detail, call = cast.reserve(launch.alice, launch.bob)
    assert (outcome, detail["window"], detail["depth"]) == ("reserved", launch.window.pk, 1)

    outcome, detail = cast.complete(call)

    assert outcome == "granted"
    grant = Grant.objects.get(subscriber=launch.bob)
    assert (grant.source, grant.parent_id, grant.root, grant.depth) == ("invite", launch.root.pk, launch.root.pk, 1)
    assert (grant.call, grant.window_id, grant.area_id) == (call, launch.window.pk, launch.area.pk)
    told = Outbox.objects.get(key=f"grant:{grant.pk}")
    assert told.kind == "grant.created"
    assert told.payload == {
        "subscriber": str(launch.bob.pk),
        "feature": cast.CALLS,
        "grant": grant.pk,
        "source": "invite",
        "depth": 1,
        "root": launch.root.pk,
        "at": int(grant.granted_at.timestamp()),
        "inviter": str(launch.alice.pk),
        "call": str(call),
        "window": launch.window.pk,
        "frozen": False,
    }
    assert detail["grant"] == grant.pk
    assert cast.faults_in_books() == []


def test_invite__of_the_invited__keeps_the_root_and_counts_depth(launch: Launch) -> None:
    cast.complete(cast.reserve(launch.alice, launch.bob)[2])

    _, _, call = cast.reserve(launch.bob, launch.carol)
    cast.complete(call)

    grant = Grant.objects.get(subscriber=launch.carol)
    assert (grant.depth, grant.root) == (2, launch.root.pk)
    assert cast.faults_in_books() == []


def test_invite__offered_in_a_window_that_activates_on_the_offer__is_granted_at_once() -> None:
    it = cast.launch(activate_on="offered")

    outcome, detail, call = cast.reserve(it.alice, it.bob)

    assert outcome == "granted"
    assert Grant.objects.get(subscriber=it.bob).pk == detail["grant"]
    assert cast.complete(call) == ("granted", detail)
    assert not cast.release(call)
    assert cast.faults_in_books() == []


def test_reserve__replayed__answers_what_stands(launch: Launch) -> None:
    first = cast.reserve(launch.alice, launch.bob)

    again = cast.reserve(launch.alice, launch.bob, call=first[2])

    assert again == first
    cast.complete(first[2])
    assert cast.reserve(launch.alice, launch.bob, call=first[2])[0] == "granted"
    assert Window.objects.get().used == 1
    assert cast.faults_in_books() == []


def test_reserve__replayed_after_a_refusal__refuses_as_before(launch: Launch) -> None:
    _window(launch, depth_limit=0)
    outcome, detail, call = cast.reserve(launch.alice, launch.bob)
    _window(launch, depth_limit=None)

    assert cast.reserve(launch.alice, launch.bob, call=call) == (outcome, detail, call)
    assert Refusal.objects.count() == 1


def test_complete__twice__grants_once(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]

    assert cast.complete(call) == cast.complete(call)
    assert Grant.objects.filter(source="invite").count() == 1
    assert cast.faults_in_books() == []


def test_complete__without_a_reservation__grants_nothing(launch: Launch) -> None:
    assert cast.complete(uuid4()) == ("no_reservation", {})
    assert not Grant.objects.filter(source="invite").exists()


def test_complete__after_the_close__says_that_the_window_closed(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    assert cast.close(launch.window.pk) == (True, 1)

    outcome, _ = cast.complete(call)

    assert outcome == "window_closed"
    assert not Grant.objects.filter(subscriber=launch.bob).exists()
    cast.sweep()
    assert cast.faults_in_books() == []


def test_complete__after_the_closing_time__says_that_the_window_closed(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    _window(launch, closes_at=cast.shortly(-1))

    assert cast.complete(call)[0] == "window_closed"
    assert Reservation.objects.get().state == "cancelled"
    assert cast.faults_in_books() == []


def test_complete__after_a_kill__grants_nothing(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    _feature(launch, switch="killed")

    assert cast.complete(call)[0] == "window_closed"
    assert cast.faults_in_books() == []


def test_complete__after_switching_off__lets_the_running_call_finish(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    _feature(launch, switch="off")

    assert cast.complete(call)[0] == "granted"


def test_complete__while_the_area_is_held__spends_what_was_spent_before(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    _area(launch, state="hold")
    _allowance(launch, remaining=0)

    assert cast.complete(call)[0] == "granted"
    assert Allowance.objects.get().spent_total == 1


def test_complete__when_the_inviter_was_revoked_meanwhile__grants_nothing(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    revoke_grant(launch.root.pk, actor=cast.OPERATOR, now=timezone.now(), reason="spam")

    assert cast.complete(call)[0] == "inviter_frozen"
    assert cast.complete(call)[0] == "inviter_frozen"
    assert cast.faults_in_books() == []


def test_complete__when_the_callee_got_it_meanwhile__gives_the_place_back(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    grant_people(cast.CALLS, subscribers=[launch.bob.pk], actor=cast.OPERATOR, now=timezone.now())

    assert cast.complete(call)[0] == "already"
    assert cast.complete(call)[0] == "already"
    assert (Window.objects.get().used, Window.objects.get().pending) == (0, 0)
    assert cast.faults_in_books() == []


def test_complete__past_the_expiry__grants_nothing(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]
    cast.overdue([call])

    assert cast.complete(call)[0] == "no_reservation"
    assert Reservation.objects.get().state == "expired"
    assert cast.faults_in_books() == []


def test_release__of_a_ringing_call__gives_places_back_but_not_allowance(launch: Launch) -> None:
    call = cast.reserve(launch.alice, launch.bob)[2]

    assert cast.release(call, "no_answer")
    assert not cast.release(call)

    assert (Window.objects.get().used, Window.objects.get().pending) == (0, 0)
    assert Reservation.objects.get().why == "no_answer"
    assert (Allowance.objects.get().remaining, Allowance.objects.get().spent_total) == (999, 1)
    assert cast.complete(call)[0] == "no_reservation"
    assert cast.faults_in_books() == []


def test_reserve__again_for_the_same_two_people__takes_the_place_over(launch: Launch) -> None:
    _window(launch, quota=1, places=1, root_budget=1)
    lost = cast.reserve(launch.alice, launch.bob)[2]

    outcome, _, call = cast.reserve(launch.alice, launch.bob)

    assert outcome == "reserved"
    assert Reservation.objects.get(call=lost).why == "superseded"
    assert cast.complete(lost)[0] == "no_reservation"
    assert cast.complete(call)[0] == "granted"
    assert cast.faults_in_books() == []


def test_reserve__again_in_another_window__leaves_the_old_place_to_the_sweeper(launch: Launch) -> None:
    cast.reserve(launch.alice, launch.bob)
    later = cast.window(launch.feature, name="Window B", opened_at=cast.shortly(1))

    outcome, detail, _ = cast.reserve(launch.alice, launch.bob)

    assert (outcome, detail["window"]) == ("reserved", later.pk)
    assert cast.sweep() == (0, 1)
    assert Window.objects.get(pk=launch.window.pk).pending == 0
    assert cast.faults_in_books() == []


def test_sweep__of_overdue_reservations__gives_every_place_back(launch: Launch) -> None:
    calls = [cast.reserve(launch.alice, each)[2] for each in (launch.bob, launch.carol, launch.dave)]
    cast.overdue(calls[:2])

    assert cast.sweep() == (2, 2)
    assert cast.sweep() == (0, 0)

    assert sorted(Reservation.objects.values_list("state", flat=True)) == ["expired", "expired", "pending"]
    assert Window.objects.get().pending == 1
    assert cast.faults_in_books() == []


def test_sweep__after_a_close__gives_the_inviters_places_back(launch: Launch) -> None:
    for each in (launch.bob, launch.carol):
        cast.reserve(launch.alice, each)
    cast.close(launch.window.pk)
    assert cast.faults_in_books(returned=False) == []

    assert cast.sweep() == (0, 2)
    assert cast.faults_in_books() == []


def test_refuse__on_the_edge__is_recorded_once_for_the_open_window(launch: Launch) -> None:
    call = uuid4()
    for outcome in ("depth", "quota_spent"):
        cast.ask("SELECT rollout_refuse(%s, %s, %s, NULL, %s, %s, '{}')", cast.CALLS, call, launch.alice.pk, b"\x01",
                 outcome)  # fmt: skip

    refusal = Refusal.objects.get()
    assert (refusal.outcome, refusal.window_id, refusal.detail) == ("depth", launch.window.pk, {"callee_hash": "01"})


def test_complete__undone_before_the_commit__leaves_the_books_exact(launch: Launch) -> None:
    class Crash(Exception):
        pass

    call = cast.reserve(launch.alice, launch.bob)[2]

    def crash() -> None:
        with transaction.atomic():
            assert cast.complete(call)[0] == "granted"
            raise Crash

    with pytest.raises(Crash):
        crash()
    assert Grant.objects.filter(source="invite").count() == 0
    assert cast.faults_in_books() == []
    assert cast.complete(call)[0] == "granted"


def test_constraints__behind_the_functions__refuse_an_overdraft(launch: Launch) -> None:
    from django.db import IntegrityError

    for table in ("rollout_window SET pending = places + 1", "rollout_allowance SET remaining = -1"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table}")


def test_area_of__with_several_areas__prefers_the_closest(launch: Launch) -> None:
    from rollout.rules.definition.area import AreaPlace, area_of

    for key, countries, carriers in (
        ("E-PLUS", [], ["262-03"]),
        ("E-PLUS-DE", ["DE"], ["262-03"]),
        ("WORLD", [], []),
        ("A-WORLD", [], []),
        ("CH", ["CH", "LI"], []),
    ):
        cast.area(key=key, countries=countries, carriers=carriers)
    places = [AreaPlace(a.key, frozenset(a.countries), frozenset(a.carriers)) for a in Area.objects.all()]

    for country, carrier, expected in (
        ("DE", "262-03", "E-PLUS-DE"),
        ("FR", "262-03", "E-PLUS"),
        ("DE", "", "DE"),
        ("LI", "228-01", "CH"),
        ("BR", "", "A-WORLD"),
    ):
        assert cast.ask("SELECT rollout_area_of(%s, %s)", country, carrier)[0] == expected
        assert area_of(places, country, carrier) == expected


def test_grant_people__by_an_operator__makes_roots_and_keeps_who_has_it(launch: Launch) -> None:
    given = grant_people(
        cast.CALLS,
        subscribers=[launch.alice.pk, launch.bob.pk],
        actor=cast.OPERATOR,
        now=timezone.now(),
        reason="pilot",
    )

    grant = Grant.objects.get(subscriber=launch.bob)
    assert given.grants == (grant.pk,)
    assert given.already == (launch.alice.pk,)
    assert (grant.source, grant.depth, grant.root, grant.granted_by) == ("operator", 0, None, "olga")
    assert Outbox.objects.get(key=f"grant:{grant.pk}").payload["root"] == grant.pk
    assert AuditEntry.objects.get().reason == "pilot"
    assert Allowance.objects.get().spent_total == 0


def test_grant_people__with_somebody_unknown__grants_nobody(launch: Launch) -> None:
    with pytest.raises(NotFound):
        grant_people(cast.CALLS, subscribers=[launch.bob.pk, uuid4()], actor=cast.OPERATOR, now=timezone.now())

    assert Grant.objects.count() == 1
    assert not Outbox.objects.exists()


def test_grant_people__of_an_unknown_feature_or_nobody__is_refused(launch: Launch) -> None:
    with pytest.raises(FeatureUnknown):
        grant_people("telepathy", subscribers=[launch.bob.pk], actor=cast.OPERATOR, now=timezone.now())
    with pytest.raises(BadInput):
        grant_people(cast.CALLS, subscribers=[], actor=cast.OPERATOR, now=timezone.now())


def test_revoke_grant__of_an_inviter__leaves_the_branch(launch: Launch) -> None:
    cast.complete(cast.reserve(launch.alice, launch.bob)[2])

    revoke_grant(launch.root.pk, actor=cast.OPERATOR, now=timezone.now(), reason="asked for it")

    assert not Grant.objects.live().filter(subscriber=launch.alice).exists()
    assert Grant.objects.live().filter(subscriber=launch.bob).exists()
    told = Outbox.objects.get(kind="grant.revoked")
    assert told.payload == {"subscriber": str(launch.alice.pk), "feature": cast.CALLS, "grant": launch.root.pk}
    with pytest.raises(GrantNotLive):
        revoke_grant(launch.root.pk, actor=cast.OPERATOR, now=timezone.now())


def test_reserve__with_a_person_who_has_no_account__is_refused(launch: Launch) -> None:
    outcome, _, _ = cast.reserve(launch.alice, uuid4())

    assert outcome == "callee_ineligible"


def test_freeze_and_thaw__of_an_inviter__keep_the_feature_and_end_and_give_back_the_inviting(launch: Launch) -> None:
    by = {"actor": cast.OPERATOR, "now": timezone.now()}
    call = uuid4()
    assert cast.reserve(launch.alice, launch.bob, call=call)[0] == "reserved"

    freeze_grant(launch.root.pk, reason="many strangers", **by)

    assert cast.complete(call)[0] == "inviter_frozen"
    assert cast.reserve(launch.alice, launch.bob)[0] == "inviter_frozen"
    assert Grant.objects.live().filter(subscriber=launch.alice).exists()
    with pytest.raises(GrantNotLive):
        freeze_grant(launch.root.pk, **by)

    thaw_grant(launch.root.pk, reason="explained", **by)

    assert cast.reserve(launch.alice, launch.bob)[0] == "reserved"
    with pytest.raises(GrantNotLive):
        thaw_grant(launch.root.pk, **by)
    kinds = Outbox.objects.filter(kind__in=("grant.frozen", "grant.thawed")).order_by("id")
    assert [row.kind for row in kinds] == ["grant.frozen", "grant.thawed"]


@pytest.mark.parametrize(
    ("verb", "state"), [("freeze", GrantState.FROZEN), ("thaw", GrantState.ACTIVE), ("revoke", GrantState.REVOKED)]
)
def test_command__verb_of_a_grant__is_done_and_audited(launch: Launch, verb: str, state: GrantState) -> None:
    if verb == "thaw":
        freeze_grant(launch.root.pk, actor=cast.OPERATOR, now=timezone.now())

    call_command("grants", verb, str(launch.root.pk), "--reason", "tried", stdout=StringIO())

    assert Grant.objects.get(pk=launch.root.pk).state == state
    assert AuditEntry.objects.order_by("-id").first().reason == "tried"
