"""Acting in the console: each verb shows what it will do, does it once asked, and says so; refusals change nothing."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.messages import get_messages
from django.utils import timezone

from calls.models import CallRecord
from controlplane.accounts.models import ApiKey
from controlplane.audit.models import AuditEntry
from rollout.models import Area, Feature, Grant, Measurement, Ruleset, Wave, Window
from tests import builders, operators
from tests.operators import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    return signed_in("operator")


def do(client, kind, thing, verb, **data):
    return client.post(f"/console/do/{kind}/{thing.pk}/{verb}/", data)


def said(answer):
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


VERBS = [
    ({"on": False}, "on", {"reason": "Go."}, "on", "is on"),
    ({}, "off", {}, "off", "is off"),
    ({}, "kill", {"end_calls": "no"}, "killed", "is killed"),
]


@pytest.mark.parametrize(("made", "verb", "data", "switch", "words"), VERBS)
def test_feature_verb__confirmed__acts_and_says_so(client, made, verb, data, switch, words):
    feature = operators.feature(**made)

    shown = client.get(f"/console/do/feature/{feature.pk}/{verb}/")
    answer = do(client, "feature", feature, verb, **data)

    assert shown.status_code == 200
    assert answer.status_code == 302
    feature.refresh_from_db()
    assert feature.switch == switch
    assert words in said(answer)
    assert "/console/do/feature/" in said(answer)  # a way back
    assert AuditEntry.objects.latest("id").actor == "operator"


def test_kill__also_ending_calls__marks_the_time(client):
    feature = operators.feature()

    do(client, "feature", feature, "kill", end_calls="yes", reason="Something burns.")
    feature.refresh_from_db()
    assert feature.stop_calls_before is not None
    do(client, "feature", feature, "unkill", reason="It is out.")

    feature.refresh_from_db()
    assert feature.switch == "on"


def test_launch_and_access__with_a_reason__change_who_has_it(client):
    feature = operators.feature()

    do(client, "feature", feature, "launch", reason="The day has come.")
    feature.refresh_from_db()
    assert feature.access == "everyone"
    do(client, "feature", feature, "access", access="granted", reason="Not yet.")

    feature.refresh_from_db()
    assert feature.access == "granted"


@pytest.mark.parametrize("verb", ["on", "launch"])
def test_widening_verb__without_a_reason__changes_nothing(client, verb):
    feature = operators.feature(on=False)

    answer = do(client, "feature", feature, verb)

    assert answer.status_code == 200
    assert "This field is required" in answer.content.decode()
    feature.refresh_from_db()
    assert (feature.switch, feature.access) == ("off", "granted")


def test_verb__asked_for_by_get__changes_nothing(client):
    feature = operators.feature()

    client.get(f"/console/do/feature/{feature.pk}/kill/")

    feature.refresh_from_db()
    assert feature.switch == "on"


def test_verb__that_is_not_possible_any_more__says_so(client):
    feature = operators.feature()
    do(client, "feature", feature, "off")

    answer = do(client, "feature", feature, "off")

    assert answer.status_code == 409
    assert "This is not possible any more" in answer.content.decode()


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_verb__by_somebody_who_only_looks__is_refused(role):
    feature = operators.feature()

    answer = do(signed_in(role), "feature", feature, "kill", end_calls="yes")

    assert answer.status_code == 403
    feature.refresh_from_db()
    assert feature.switch == "on"


def test_verb__without_signing_in__leads_to_the_login(client):
    feature = operators.feature()
    client.logout()

    assert "/login/" in do(client, "feature", feature, "kill").headers["Location"]


def test_verb__asked_to_return_elsewhere__stays_on_this_site(client):
    feature = operators.feature()

    answer = do(client, "feature", feature, "off", next="https://mallory.example/")

    assert answer.headers["Location"] == f"/console/rollout/feature/{feature.pk}/change/"


def test_verb__in_the_dialog__tells_the_page_where_to_go(client):
    feature = operators.feature()

    answer = client.post(
        f"/console/do/feature/{feature.pk}/off/", {"next": "/console/"}, headers={"HX-Request": "true"}
    )

    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/console/")


# fmt: off
WINDOW = {"name": "Saturday test", "question": "", "activate_on": "answered", "quota": 5, "places": 10,
          "root_budget": 10, "min_grant_age_seconds": 0, "closes_at_0": "", "closes_at_1": "", "depth_limit": ""}
# fmt: on


def test_window__made_opened_and_closed__goes_through_its_states(client):
    feature = operators.feature()

    made = client.post("/console/rollout/window/add/", {**WINDOW, "feature": feature.pk, "why": "A first try."})
    assert made.status_code == 302, made.context["errors"]
    window = Window.objects.get()
    assert (window.state, window.places) == ("scheduled", 10)
    page = client.get(f"/console/rollout/window/{window.pk}/change/").content.decode()
    assert f"/console/do/window/{window.pk}/open/" in page
    do(client, "window", window, "open", reason="Now.")
    window.refresh_from_db()
    assert window.state == "open"
    do(client, "window", window, "close")

    window.refresh_from_db()
    assert window.state == "closed"


def test_wave__made_opened_held_and_resumed__goes_through_its_states(client):
    feature = operators.feature()

    terms = {"feature": feature.pk, "name": "Android", "any_of": "[]", "share_ppm": 1_000_000, "why": "Next."}
    assert client.post("/console/rollout/wave/add/", terms).status_code == 302
    wave = Wave.objects.get()
    states = []
    for verb in ("open", "hold", "resume"):
        do(client, "wave", wave, verb, reason="Testing.")
        wave.refresh_from_db()
        states.append(wave.state)

    assert states == ["open", "held", "open"]


def test_wave__with_a_clause_that_can_not_be__is_refused_beside_its_field_and_keeps_what_was_typed(client):
    feature = operators.feature()

    terms = {"feature": feature.pk, "name": "Only Germans", "any_of": '[[{"trait": "country"}]]', "share_ppm": 10}
    answer = client.post("/console/rollout/wave/add/", terms)

    assert not Wave.objects.exists()
    assert "any_of" in answer.context["adminform"].form.errors["any_of"][0]
    page = answer.content.decode()
    assert 'value="Only Germans"' in page
    assert "country" in page


def test_window__refused_by_the_action__keeps_what_was_typed(client):
    feature = operators.feature()
    closed = {"closes_at_0": "2015-03-31", "closes_at_1": "12:00:00"}

    answer = client.post("/console/rollout/window/add/", {**WINDOW, **closed, "feature": feature.pk, "why": "Soon."})

    assert not Window.objects.exists()
    assert "A window closes in the future." in answer.context["adminform"].form.errors["closes_at"][0]
    page = answer.content.decode()
    for typed in ("Saturday test", "2015-03-31", "Soon."):
        assert f'value="{typed}"' in page


def test_feature__made_and_changed__publishes_a_ruleset(client):
    terms = {"key": "video", "access": "granted",
             "name": "Video", "description": "", "owner": "", "requirements": "{}", "prerequisites": "",
             "rules": "[]", "kind": "boolean", "variants": '{"on": true, "off": false}', "default_variant": "on",
             "off_variant": "off"}  # fmt: skip
    made = client.post("/console/rollout/feature/add/", terms)
    assert made.status_code == 302, made.context["errors"]
    version = Ruleset.objects.latest("version").version
    feature = Feature.objects.get()

    changed = {**terms, "visible_to_phones": "on", "why": "We announce it.", "at_revision": feature.revision}
    client.post(f"/console/rollout/feature/{feature.pk}/change/", changed)

    feature.refresh_from_db()
    assert feature.visible_to_phones
    assert Ruleset.objects.latest("version").version > version
    assert AuditEntry.objects.latest("id").reason == "We announce it."


def test_area__with_its_capacity_changed__keeps_who_belongs_to_it(client):
    area = operators.area()
    terms = {"name": "Germany", "countries": "DE", "carriers": "", "capacity_calls": 50, "hold_above_ppm": 800_000,
             "resume_below_ppm": 640_000, "activations_per_minute": 1000, "tick_seconds": 15,
             "stale_seconds": 45}  # fmt: skip

    client.post(f"/console/rollout/area/{area.pk}/change/", terms)

    area.refresh_from_db()
    assert (area.capacity_calls, area.countries) == (50, ["DE"])
    refused = client.post(
        f"/console/rollout/area/{area.pk}/change/", {**terms, "resume_below_ppm": 900_000}, follow=True
    )
    assert "must resume below" in refused.content.decode() or "area_resumes_below_hold" in refused.content.decode()
    assert Area.objects.get().resume_below_ppm == 640_000


def test_people__granted_by_number__have_it_and_can_lose_it_again(client):
    feature = operators.feature()
    number = builders.phone_number()
    bob = builders.subscriber(phone=number, name="bob")

    answer = client.post("/console/grant/", {"feature": "voice-calls", "people": number, "reason": "The first."})
    grant = Grant.objects.get(subscriber=bob)
    assert answer.headers["Location"] == f"/console/rollout/feature/{feature.pk}/change/"
    assert "1 person has a grant from now on" in said(answer)
    do(client, "grant", grant, "revoke", reason="A mistake.")

    grant.refresh_from_db()
    assert grant.state == "revoked"


def test_people__one_of_them_unknown__grants_nobody(client):
    operators.feature()
    bob = builders.subscriber()

    answer = client.post(
        "/console/grant/", {"feature": "voice-calls", "people": f"{bob.pk}\n+493090182099", "reason": "x"}
    )

    assert "registered" in answer.content.decode()
    assert not Grant.objects.exists()


def test_api_key__made_and_revoked__is_shown_once(client):
    answer = client.post("/console/keys/new/", {"name": "backend", "scopes": ["read"]})
    key = ApiKey.objects.get(name="backend")

    assert f"{key.prefix}" in answer.content.decode()
    assert key.prefix not in client.get("/console/keys/new/").content.decode()
    do(client, "key", key, "revoke", reason="Lost.")

    key.refresh_from_db()
    assert key.revoked_at is not None


def test_wave__before_it_is_opened__says_for_how_many_people_it_is(client):
    feature = operators.feature(requirements={"platforms": {"android": {"app": "2.0.0"}}})
    for number in range(6):
        person = builders.subscriber(country="DE" if number < 5 else "AT")
        builders.device(person, app_version="1.0.0" if number == 0 else "2.12.0")
        if number == 1:
            Grant.objects.create(feature=feature, subscriber=person, source="operator")
    germans = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]
    wave = Wave.objects.create(feature=feature, position=1, name="Germany", any_of=germans)

    dialog = client.get(f"/console/do/wave/{wave.pk}/open/").content.decode()

    assert "It is for 4 people: all of its audience, with a phone that meets what Voice calls asks for." in dialog
    assert "1 person has it already, so 3 people may come in" in dialog


def test_launch__before_it_is_done__says_what_the_network_carries(client):
    feature, area = operators.feature(), operators.area()
    Measurement.objects.create(area=area, sampled_at=timezone.now(), concurrent_calls=17, attempts=3)

    dialog = client.get(f"/console/do/feature/{feature.pk}/launch/").content.decode()

    assert "Capacity holds nobody back: all of them may call at once." in dialog
    assert "Germany carries 20 calls; 17 of them run now." in dialog


def test_kill__of_one_feature__counts_only_its_own_calls(client):
    operators.feature("video", visible_to_phones=True)
    voice, now = operators.feature(), timezone.now()
    row = {"area": "DE", "caller": b"a", "callee": b"b", "media": "audio", "created_at": now, "state": "connected"}
    for key in ("video", "video", "voice-calls"):
        CallRecord.objects.create(id=uuid.uuid4(), feature=key, **row)

    dialog = client.get(f"/console/do/feature/{voice.pk}/kill/").content.decode()

    assert "1 call runs right now" in dialog
