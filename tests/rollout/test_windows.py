"""Windows: made, opened, closed for certain, and reported on with the ledger's own numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from controlplane.audit.models import AuditEntry
from controlplane.base.refusal import BadInput, NotFound
from controlplane.outbox.actions import Effect, deliver_due
from controlplane.outbox.models import Outbox
from rollout import tasks
from rollout.actions import narrowing, windows
from rollout.actions.windows import close_due, close_window, create_window, open_window, write_report
from rollout.errors import FeatureUnknown, WindowNotOpenable
from rollout.models import CallEvidence, Grant, Measurement, Ruleset, Window, WindowState
from rollout.rules.spread.window import is_open
from tests.rollout import cast
from tests.rollout.cast import OPERATOR, Launch

pytestmark = pytest.mark.django_db


def made(**fields: Any) -> Window:
    values = {"name": "Window A", "actor": OPERATOR, "now": timezone.now(), **fields}
    return create_window(cast.CALLS, **values)


def opened(window: Window) -> Window:
    return open_window(window.pk, actor=OPERATOR, now=timezone.now(), reason="the test begins")


def closed(window: Window) -> bool:
    return close_window(window.pk, actor=OPERATOR, now=timezone.now(), reason="enough seen").changed


def windows_open() -> bool:
    import json

    latest = Ruleset.objects.order_by("-version").first()
    assert latest is not None
    return bool(json.loads(bytes(latest.body))["features"][cast.CALLS]["windows_open"])


def test_create_window__sound__is_scheduled_audited_and_lets_nobody_in() -> None:
    owner = cast.feature()
    place = cast.area()
    alice, bob = cast.people(2)
    cast.grant(owner, alice)

    window = made(areas=["DE"], test=True, question="Does it carry?", depth_limit=1, places=10)

    assert window.state == "scheduled"
    assert list(window.areas.all()) == [place]
    assert AuditEntry.objects.get(verb="window.created").detail["depth_limit"] == 1
    assert cast.reserve(alice, bob)[0] == "window_closed"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"places": 0}, "places"),
        ({"places": 10**9}, "places"),
        ({"quota": -1}, "quota"),
        ({"root_budget": -1}, "root_budget"),
        ({"depth_limit": -1}, "depth_limit"),
        ({"min_grant_age_seconds": -1}, "min_grant_age_seconds"),
        ({"activate_on": "ringing"}, "activate_on"),
        ({"closes_at": timezone.now() - timedelta(hours=1)}, "closes_at"),
    ],
)
def test_create_window__with_a_value_that_can_t_be__says_which(fields: dict[str, Any], path: str) -> None:
    cast.feature()

    with pytest.raises(BadInput) as refused:
        made(**fields)

    assert refused.value.extra["path"] == path
    assert not Window.objects.exists()


def test_create_window__of_an_unknown_feature_or_area__is_refused() -> None:
    with pytest.raises(FeatureUnknown):
        made()
    cast.feature()
    with pytest.raises(NotFound):
        made(areas=["ATLANTIS"])
    assert not Window.objects.exists()


def test_open_window__scheduled__lets_invite_and_shows_in_the_ruleset() -> None:
    owner = cast.feature()
    cast.area()
    alice, bob = cast.people(2)
    cast.grant(owner, alice)

    window = opened(made())

    assert window.opened_at is not None
    assert windows_open()
    assert AuditEntry.objects.get(verb="window.opened").reason == "the test begins"
    assert cast.reserve(alice, bob)[0] == "reserved"


def test_open_window__that_was_open_before_or_is_past_its_time__is_refused() -> None:
    cast.feature()
    window = opened(made())
    late = made(closes_at=timezone.now() + timedelta(hours=1))
    Window.objects.filter(pk=late.pk).update(closes_at=timezone.now() - timedelta(seconds=1))

    for each in (window, late):
        with pytest.raises(WindowNotOpenable):
            opened(each)
    closed(window)
    with pytest.raises(WindowNotOpenable):
        opened(window)


def test_close_window__open__cancels_ringing_invites_and_orders_the_report() -> None:
    it = cast.launch()
    calls = [cast.reserve(it.alice, each)[2] for each in (it.bob, it.carol)]

    told = close_window(it.window.pk, actor=OPERATOR, now=timezone.now(), reason="enough seen")

    assert (told.changed, told.cancelled, told.window.pending) == (True, 2, 0)
    assert [cast.complete(call)[0] for call in calls] == ["window_closed", "window_closed"]
    assert Outbox.objects.get(kind="window.closed").payload == {"window": it.window.pk}
    assert AuditEntry.objects.get(verb="window.closed").detail == {"cancelled": 2, "used": 0}
    assert not windows_open()
    cast.sweep()
    assert cast.faults_in_books() == []


def test_close_window__twice__is_said_once() -> None:
    it = cast.launch()

    assert closed(it.window)
    assert not closed(it.window)

    assert AuditEntry.objects.filter(verb="window.closed").count() == 1
    assert Outbox.objects.filter(kind="window.closed").count() == 1


@pytest.mark.parametrize("window_id", [99, 2**63, 10**30])
def test_close_window__unknown__is_not_found(window_id: int) -> None:
    with pytest.raises(NotFound):
        close_window(window_id, actor=OPERATOR, now=timezone.now())


def test_close_window__when_the_ruleset_can_t_be_published__is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the ruleset does not compile")

    it = cast.launch()
    monkeypatch.setattr(narrowing, "publish", broken)

    assert closed(it.window)
    assert Window.objects.get().state == "closed"


def test_close_due__when_one_can_t_be_closed__closes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    it = cast.launch(closes_at=cast.shortly(-1))
    other = cast.window(it.feature, name="Window B", closes_at=cast.shortly(-1))
    closing = windows.close_window

    def poisoned(window_id: int, **how: Any) -> Any:
        if window_id == it.window.pk:
            raise RuntimeError("poisoned")
        return closing(window_id, **how)

    monkeypatch.setattr(windows, "close_window", poisoned)

    assert close_due(now=timezone.now()) == 1
    assert [Window.objects.get(pk=each.pk).state for each in (it.window, other)] == ["open", "closed"]


def test_close_due__at_the_closing_time__closes_those_and_only_those() -> None:
    it = cast.launch(closes_at=cast.shortly(-1))
    later = cast.window(it.feature, name="Window B", closes_at=cast.shortly(60))

    assert close_due(now=timezone.now()) == 1
    assert close_due(now=timezone.now()) == 0

    assert [Window.objects.get(pk=each.pk).state for each in (it.window, later)] == ["closed", "open"]
    assert AuditEntry.objects.get(verb="window.closed").actor == "closing time"


def played() -> Launch:
    """One activation, one call without answer, one refusal for depth, one invite that rings at the close."""
    it = cast.launch(depth_limit=1, opened_at=timezone.now() - timedelta(minutes=5))
    now = timezone.now()
    Measurement.objects.create(area=it.area, sampled_at=now - timedelta(minutes=2), concurrent_calls=17, attempts=3)
    Measurement.objects.create(area=it.area, sampled_at=now - timedelta(hours=2), concurrent_calls=99, attempts=3)
    for seconds, setup in ((60, 800), (90, 1200), (3600, 5), (30, None)):
        at = now - timedelta(seconds=seconds)
        CallEvidence.objects.create(call=uuid4(), feature=cast.CALLS, area="DE", setup_ms=setup, at=at)
    cast.complete(cast.reserve(it.alice, it.bob)[2])
    assert cast.reserve(it.bob, it.carol)[0] == "depth"
    cast.release(cast.reserve(it.alice, it.dave)[2], "no_answer")
    cast.reserve(it.alice, it.carol)
    return it


def test_report__of_a_closed_window__matches_what_happened() -> None:
    it = played()
    closed(it.window)

    deliver_due(timezone.now() + timedelta(seconds=1))

    report = Window.objects.get().report
    assert report["activations"] == 1
    assert report["by_depth"] == {"1": 1}
    assert report["reservations"] == {"cancelled": 1, "completed": 1, "released": 1}
    assert report["refusals"] == {"depth": 1}
    assert report["peak_calls"] == 17
    assert report["setup_ms"] == {"n": 2, "p50": 800, "p95": 1200}
    assert report["matches_ledger"] is True
    assert report["ledger"] == {"grants": 1, "places_used": 1, "announced": 1}


def test_report__written_again_after_more_demand__keeps_its_numbers() -> None:
    it = played()
    closed(it.window)
    first = write_report(it.window.pk, now=timezone.now())

    cast.sweep()
    assert cast.reserve(it.alice, it.dave)[0] == "window_closed"
    tasks.deliver_window_reports(
        [Effect("window.closed", "window:1:closed", {"window": it.window.pk})], now=timezone.now()
    )

    assert Window.objects.get().report == first
    assert AuditEntry.objects.filter(verb="window.reported").count() == 1


def test_refusals__after_the_close__don_t_count_for_the_window() -> None:
    it = cast.launch()
    closed(it.window)

    cast.reserve(it.alice, it.bob)

    from rollout.models import Refusal

    assert Refusal.objects.get().window is None


@pytest.mark.parametrize(("hours", "matches"), [(25, True), (1, False)])
def test_report__of_a_window_open_for_days__misses_only_announcements_that_can_t_have_been_forgotten(
    hours: int, matches: bool
) -> None:
    it, now = cast.launch(), timezone.now()
    cast.complete(cast.reserve(it.alice, it.bob)[2])
    cast.complete(cast.reserve(it.alice, it.carol)[2])
    bobs = Grant.objects.filter(subscriber=it.bob)
    bobs.update(granted_at=now - timedelta(hours=hours))
    assert Outbox.objects.filter(key=f"grant:{bobs.get().pk}").delete()[0] == 1  # as the outbox does after a day
    closed(it.window)

    report = write_report(it.window.pk, now=now)

    assert (report["activations"], report["matches_ledger"]) == (2, matches)


CLOSING = {"by_hand": None, "just_past": -0.001, "now": 0, "in_a_moment": 0.001, "in_an_hour": 3600}


@pytest.mark.parametrize("state", WindowState)
@pytest.mark.parametrize("closing", CLOSING)
def test_window__in_each_state_and_time__is_open_by_rule_sql_and_query_alike(state: WindowState, closing: str) -> None:
    now = timezone.now()
    seconds = CLOSING[closing]
    closes_at = None if seconds is None else now + timedelta(seconds=seconds)
    window = cast.window(cast.feature(), state=state, closes_at=closes_at)

    expected = state == "open" and closing in ("by_hand", "in_a_moment", "in_an_hour")

    assert is_open(state, closes_at, now) is expected
    assert cast.ask("SELECT rollout_window_is_open(%s, %s, %s)", state.value, closes_at, now)[0] is expected
    assert list(Window.objects.inviting(now)) == [window] * expected
    assert list(Window.objects.due(now)) == [window] * (state == "open" and not expected)


def test_window__past_its_time__hides_no_older_one_that_is_open() -> None:
    it = cast.launch()
    cast.window(it.feature, name="Window B", closes_at=cast.shortly(-1))

    assert cast.reserve(it.alice, it.bob)[1]["window"] == it.window.pk
    assert invites_left(it)[cast.CALLS]["closes_at"] is None


def test_invites_left__after_the_closing_time__are_none() -> None:
    it = cast.launch(closes_at=cast.shortly(-1))

    assert invites_left(it) == {}
    Window.objects.update(closes_at=cast.shortly(30))
    assert invites_left(it)[cast.CALLS]["left"] == 5


def invites_left(it: Launch) -> dict[str, Any]:
    return dict(cast.loaded(cast.ask("SELECT rollout_invites_left(%s)", it.alice.pk)[0]))
