"""The console's pages: each renders, says what to do when it is empty, and shows a role only what it may see."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from calls.models import CallRecord
from controlplane.outbox.models import Outbox
from rollout.actions import windows
from rollout.models import CapacityDecision, Feature, Grant, Measurement, Ruleset, Wave
from rollout.questions.evaluate import current
from tests import builders, operators
from tests.operators import TESTS, signed_in

pytestmark = pytest.mark.django_db

PAGES = [
    "", "explain/", "tree/", "rollout/feature/", "rollout/wave/", "rollout/window/", "rollout/area/", "rollout/grant/",
    "accounts/subscriber/", "calls/callrecord/", "outbox/outbox/", "rollout/audience/", "rollout/ruleset/",
]  # fmt: skip
ACTING = ["grant/", "keys/new/", "accounts/apikey/", "rollout/feature/add/", "rollout/window/add/", "rollout/wave/add/",
          "rollout/area/add/", "rollout/audience/add/"]  # fmt: skip


@pytest.fixture
def deployment():
    """A feature, an area with a measurement, an open window, and bob whom alice brought in."""
    feature, area = operators.feature(), operators.area()
    now = timezone.now()
    window = windows.create_window("voice-calls", name="Saturday test", actor=TESTS, now=now)
    windows.open_window(window.pk, actor=TESTS, now=now)
    alice, bob = builders.subscriber(name="alice"), builders.subscriber(name="bob")
    root = Grant.objects.create(feature=feature, subscriber=alice, source="operator")
    Grant.objects.create(
        feature=feature, subscriber=bob, source="invite", window=window, parent=root, root=root.pk, depth=1,
        call=uuid.uuid4(),
    )  # fmt: skip
    Measurement.objects.create(area=area, sampled_at=now, concurrent_calls=17, attempts=3)
    CapacityDecision.objects.create(
        area=area, at=now, state="hold", previous_state="ramp", minted=0, reason="Held at 85 %.",
        would_change="Resumes below 64 %.",
    )  # fmt: skip
    area.state, area.reason = "hold", "Held by capacity in DE: 17 of 20 calls, 85 %."
    area.save()
    return feature, area, window, alice, bob


def text(client, path):
    answer = client.get(f"/console/{path}")
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


@pytest.mark.parametrize("path", PAGES + ACTING)
def test_each_page__of_an_empty_deployment__renders(path):
    assert "Rollcall" in text(signed_in("operator"), path)


@pytest.mark.parametrize("path", PAGES)
def test_each_page__of_a_busy_deployment__renders_for_a_viewer(deployment, path):
    assert "Rollcall" in text(signed_in("viewer"), path)


def test_each_detail_page__of_a_busy_deployment__renders(deployment):
    feature, area, window, alice, bob = deployment
    client = signed_in("admin")

    assert "Saturday test" in text(client, f"rollout/feature/{feature.pk}/change/")
    assert "17" in text(client, f"rollout/area/{area.pk}/change/")
    assert "of 1,000 places" in text(client, f"rollout/window/{window.pk}/change/")
    assert "bob" in text(client, f"rollout/grant/{Grant.objects.get(subscriber=bob).pk}/change/")
    assert "alice" in text(client, f"accounts/subscriber/{alice.pk}/change/")
    assert "bob" in text(client, f"tree/?feature=voice-calls&root={alice.pk}")
    assert "Verified" in text(client, "audit/auditentry/")
    assert "operator" in text(client, "auth/user/")


def test_overview__with_nothing_at_all__says_what_to_do_first():
    page = text(signed_in("operator"), "")

    assert "There is no feature yet" in page
    assert "No area has a capacity yet" in page


def test_overview__feature_that_nobody_holds__never_leaves_one_guessing():
    operators.feature()

    page = text(signed_in("viewer"), "")

    assert "On, but nobody holds it yet." in page
    assert "Grant the first people, open a window, or start a wave." in page


def test_overview__area_held_by_load__says_so_in_words(deployment):
    page = text(signed_in("viewer"), "")

    assert "Held by capacity in DE: 17 of 20 calls, 85 %." in page
    assert "Resumes below 64 %." in page
    assert "capacity holds every area" in page


def test_overview__effect_that_can_not_be_delivered__is_on_top():
    Outbox.objects.create(key="k", kind="grant.created", due_at=timezone.now() - timedelta(minutes=5), attempts=9)

    assert "1 effect in the outbox could not be delivered yet." in text(signed_in("viewer"), "")


def test_overview__calls_that_run__are_counted(deployment):
    now = timezone.now()
    row = {"feature": "voice-calls", "area": "DE", "caller": b"a", "callee": b"b", "media": "audio", "created_at": now}
    CallRecord.objects.create(id=uuid.uuid4(), state="connected", **row)
    CallRecord.objects.create(id=uuid.uuid4(), state="ended", reason="hangup", ended_at=now, **row)

    client = signed_in("viewer")

    assert client.get("/console/").context["calls"].running == 1
    assert "1 call runs right now" in text(signed_in("operator"), f"do/feature/{Feature.objects.get().pk}/kill/")


def test_overview__asked_for_by_htmx__is_only_the_part(deployment):
    client = signed_in("viewer")

    part = client.get("/console/", headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in part
    assert "Voice calls" in part
    feature, area, window, *_ = deployment
    for kind, thing in (("feature", feature), ("area", area), ("window", window)):
        answer = client.get(f"/console/panel/{kind}/{thing.pk}/")
        assert answer.status_code == 200
        assert "hx-get" in answer.content.decode()


def test_part_of_a_page__after_the_session_ended__reloads_the_whole_page(client):
    answer = client.get("/console/", headers={"HX-Request": "true"})

    assert (answer.status_code, answer["HX-Refresh"]) == (204, "true")
    assert client.get("/console/").status_code == 302


def test_explain__person_by_number__shows_steps_and_exact_words():
    operators.feature()
    number = builders.phone_number()
    builders.subscriber(phone=number, name="bob")

    page = text(signed_in("viewer"), f"explain/?subscriber={number.replace('+', '%2B')}&feature=voice-calls")

    assert "does not have" in page
    assert "waiting_for_launch" in page
    assert number not in page.replace(f'value="{number}"', "")


def test_explain__unknown_number__is_refused_in_words():
    operators.feature()

    page = text(signed_in("viewer"), "explain/?subscriber=%2B493090182099&feature=voice-calls")

    assert "registered" in page


def test_subscribers__searched_by_number_id_and_name__are_found():
    number = builders.phone_number()
    bob = builders.subscriber(phone=number, name="bob")
    builders.subscriber(name="carol")
    client = signed_in("viewer")

    for term in (number, number.replace("+49", "+49 "), str(bob.pk), "bo"):
        rows = client.get("/console/accounts/subscriber/", {"q": term}).context["cl"].result_list
        assert list(rows) == [bob], term


def test_viewer__looks_at_every_page__sees_no_button_that_acts(deployment):
    feature, _, window, *_ = deployment
    client = signed_in("viewer")

    for path in ("", f"rollout/feature/{feature.pk}/change/", f"rollout/window/{window.pk}/change/"):
        assert "/console/do/" not in text(client, path)


@pytest.mark.parametrize("path", ACTING)
def test_viewer__opens_a_page_that_acts__is_refused(path):
    assert signed_in("viewer").get(f"/console/{path}").status_code == 403


def test_roles__audit_and_operators__are_for_auditors_and_admins():
    for role, audit, users in [
        ("viewer", 403, 403),
        ("operator", 403, 403),
        ("auditor", 200, 403),
        ("admin", 200, 200),
    ]:
        client = signed_in(role)
        assert client.get("/console/audit/auditentry/").status_code == audit, role
        assert client.get("/console/auth/user/").status_code == users, role


@pytest.mark.parametrize("page", ["rollout/grant", "audit/auditentry", "outbox/outbox", "calls/callrecord"])
def test_ledger__asked_to_add__refuses_even_admins(page):
    assert signed_in("admin").get(f"/console/{page}/add/").status_code == 403


def test_static_files__of_the_console__are_served_by_web_itself(client):
    for name in ("console/console.css", "console/console.js", "unfold/js/htmx/htmx.js", "unfold/css/styles.css"):
        assert client.get(f"/static/{name}").status_code == 200


def test_root__opened__leads_to_the_console(client):
    assert client.get("/").headers["Location"] == "/console/"


def test_overview__ruleset_that_is_refused__is_on_top_and_the_last_good_one_stays():
    operators.feature()
    good = current().version
    Ruleset.objects.create(
        version=good + 1,
        body=b"{}",
        signature=b"x" * 64,
        key_id="x",
        published_at=timezone.now(),
        published_by="mallory",
    )

    page = text(signed_in("viewer"), "")

    assert f"Ruleset {good + 1} was refused" in page
    assert f"Ruleset {good} stays in force." in page
    assert "signature is not by this deployment" in page


def test_overview__of_a_feature_by_rules__counts_who_has_it_and_not_who_holds_a_grant():
    feature = operators.feature(access="rules", rules=[{"any_of": [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]}])  # fmt: skip  # noqa: E501
    people = [builders.subscriber(country="DE" if n < 3 else "AT") for n in range(5)]
    for person in people:
        Grant.objects.create(feature=feature, subscriber=person, source="operator")

    page, panel = text(signed_in("viewer"), ""), text(signed_in("operator"), f"panel/feature/{feature.pk}/")

    for part in (page, panel):
        assert "<b>3</b> of 5 people have it" in part
    assert "the rules decide who has it. 3 people have it." in page
    assert "grants, which decide nothing now" in panel


def test_overview__of_a_launched_feature__shows_how_many_have_it():
    operators.feature(access="everyone")
    builders.subscriber()

    assert "<b>1</b> of 1 people have it" in text(signed_in("viewer"), "")


def test_people__granted_in_vain__are_not_said_to_have_it():
    operators.feature(access="rules")
    client, bob = signed_in("operator"), builders.subscriber()

    answer = client.post(
        "/console/grant/", {"feature": "voice-calls", "people": str(bob.pk), "reason": "x"}, follow=True
    )

    page = answer.content.decode()
    assert "1 person has a grant from now on." in page
    assert "grants change nothing until access is “granted”" in page


def test_wave__opened_in_vain__is_refused_with_the_reason(client):
    feature = operators.feature(access="rules")
    wave = Wave.objects.create(feature=feature, position=1, name="Android")
    client = signed_in("operator")

    for answer in (
        client.get(f"/console/do/wave/{wave.pk}/open/"),
        client.post(f"/console/do/wave/{wave.pk}/open/", {"reason": "Go."}),
    ):
        assert "grants change nothing until access is “granted”" in answer.content.decode()
    wave.refresh_from_db()
    assert wave.state == "draft"
