"""Features, audiences and rulesets in the console: faults beside their field, and a look before people are moved."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from controlplane.audit.models import AuditEntry
from rollout.models import Audience, Feature
from rollout.questions.evaluate import current
from tests import builders, operators
from tests.operators import Api, signed_in

pytestmark = pytest.mark.django_db
GERMANS = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]


@pytest.fixture
def client() -> Client:
    return signed_in("operator")


def form(**changes: Any) -> dict[str, Any]:
    fields = {
        "name": "Voice calls",
        "description": "",
        "owner": "",
        "visible_to_phones": "on",
        "requirements": "{}",
        "prerequisites": "",
        "rules": "[]",
        "variants": '{"on": true, "off": false}',
        "default_variant": "on",
        "off_variant": "off",
        "why": "",
    }
    return fields | changes


def send(client: Client, thing: Any, data: dict[str, Any]) -> Any:
    """As the page sends it: with the revision that it was made from."""
    thing.refresh_from_db()
    return client.post(page_of(thing), {"at_revision": thing.revision, **data})


def page_of(thing: Any) -> str:
    return f"/console/rollout/{thing._meta.model_name}/{thing.pk}/change/"


def test_feature__change_that_moves_people__is_shown_before_it_is_stored(client: Client) -> None:
    people = [builders.subscriber(), builders.subscriber(country="AT")]
    feature = operators.feature(access="rules")
    sent = form(rules=json.dumps([{"any_of": GERMANS}]), why="Germany first.")

    asked = send(client, feature, sent)

    page = asked.content.decode()
    assert asked.status_code == 200
    assert "Nothing is stored yet" in page
    assert "voice-calls: 1 gain it; 1 have it afterwards, 0 before." in page
    assert "country DE" in page
    assert str(people[0].pk) in page
    assert Feature.objects.get().rules == []

    stored = send(client, feature, {**sent, "_confirmed": "1"})

    assert stored.status_code == 302
    assert Feature.objects.get().rules == [{"any_of": GERMANS}]
    assert AuditEntry.objects.get(verb="feature.changed").reason == "Germany first."


def test_feature__change_that_moves_nobody__is_stored_at_once(client: Client) -> None:
    feature = operators.feature(access="rules")
    builders.subscriber(country="AT")

    assert send(client, feature, form(rules=json.dumps([{"any_of": GERMANS}]))).status_code == 302
    assert send(client, feature, form(name="Calls", rules=json.dumps([{"any_of": GERMANS}]))).status_code == 302

    assert (Feature.objects.get().name, Feature.objects.get().rules) == ("Calls", [{"any_of": GERMANS}])


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"rules": '[{"share_ppm": -1}]'}, "rules", "rules[0].share_ppm: is -1"),
        ({"rules": '[{"any_of": [[{"audience": "no"}]]}]'}, "rules", "rules[0].any_of: names the audience"),
        ({"default_variant": "blue"}, "default_variant", "names no variant"),
        ({"requirements": '{"platforms": {"ios": {"app": "x"}}}'}, "requirements", "requirements.platforms.ios.app"),
    ],
)
def test_feature__that_can_not_be_saved__says_so_beside_the_field(
    client: Client, changes: dict[str, str], field: str, said: str
) -> None:
    feature = operators.feature()

    answer = send(client, feature, form(**changes))

    errors = answer.context["adminform"].form.errors
    assert list(errors) == [field]
    assert said in errors[field][0]
    assert Feature.objects.get().revision == feature.revision


def test_audience__made_changed_and_deleted__by_the_console(client: Client) -> None:
    builders.subscriber()
    added = client.post(
        "/console/rollout/audience/add/", {"key": "near", "name": "Near", "any_of": json.dumps(GERMANS), "why": "New."}
    )
    assert added.status_code == 302
    audience = Audience.objects.get()
    operators.feature(access="rules", rules=[{"any_of": [[{"audience": "near"}]]}])
    sent = {"name": "Near", "any_of": "[]", "why": ""}
    builders.subscriber(country="AT")

    asked = send(client, audience, sent)
    assert "voice-calls: 1 gain it" in asked.content.decode()
    unanswered = send(client, audience, {**sent, "_confirmed": "1"})
    assert "Say why: people gain it." in unanswered.content.decode()
    assert current().audiences["near"] != ()
    assert send(client, audience, {**sent, "_confirmed": "1", "why": "All of them."}).status_code == 302
    assert current().audiences["near"] == ()
    page = client.get(page_of(audience)).content.decode()
    assert "features.voice-calls.rules[0]" in page

    refused = client.post(f"/console/rollout/audience/{audience.pk}/delete/", {"post": "yes"}, follow=True)
    assert "Take it out there first" in refused.content.decode()
    Api().patch("features/voice-calls", {"rules": []})
    client.post(f"/console/rollout/audience/{audience.pk}/delete/", {"post": "yes"})
    assert not Audience.objects.exists()
    verbs = AuditEntry.objects.filter(subject="audience:near").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["audience.created", "audience.changed", "audience.deleted"]


def test_audience__that_can_not_be_used__says_where(client: Client) -> None:
    sent = {"key": "near", "name": "Near", "any_of": '[[{"trait": "country", "operator": "IS"}]]'}

    answer = client.post("/console/rollout/audience/add/", sent)

    assert "any_of[0][0].operator" in answer.context["adminform"].form.errors["any_of"][0]
    assert not Audience.objects.exists()


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_definitions__seen_by_somebody_who_only_looks__stay(role: str) -> None:
    Api().post("audiences", {"key": "near", "any_of": GERMANS})
    feature, audience, client = operators.feature(), Audience.objects.get(), signed_in(role)

    assert client.get(page_of(audience)).status_code == 200
    assert "Delete…" not in client.get(page_of(audience)).content.decode()
    assert send(client, audience, {"name": "X", "any_of": "[]"}).status_code == 403
    assert send(client, feature, form(rules="[{}]")).status_code == 403
    assert client.post(f"/console/rollout/audience/{audience.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/console/rollout/audience/add/").status_code == 403


def test_rulesets__in_the_console__show_what_changed_and_are_restored(client: Client) -> None:
    operators.feature()
    first = current().version
    Api().post("features/voice-calls/launch", {"reason": "a test"})

    assert f"{first + 1}" in client.get("/console/rollout/ruleset/").content.decode()
    newest = client.get(f"/console/rollout/ruleset/{first + 1}/change/").content.decode()
    assert "The feature voice-calls, access: “everyone” instead of “granted”." in newest
    assert "Restore" not in newest
    earlier = f"/console/do/ruleset/{first}/restore/"
    asked = client.get(earlier).content.decode()
    assert "access: “granted” instead of “everyone”" in asked
    assert "neither kills nor un-kills" in asked

    assert client.post(earlier, {"reason": ""}).status_code == 200
    assert Feature.objects.get().access == "everyone"
    client.post(earlier, {"reason": "Too early."})
    assert Feature.objects.get().access == "granted"
    assert current().version == first + 2
    assert client.post(f"/console/do/ruleset/{first + 2}/restore/", {"reason": "x"}).status_code == 409


def test_launch__asked_for__says_who_gains(client: Client) -> None:
    builders.subscriber()
    feature = operators.feature()

    assert "voice-calls: 1 gain it" in client.get(f"/console/do/feature/{feature.pk}/launch/").content.decode()


def test_feature__changed_by_somebody_else_meanwhile__is_not_overwritten(client: Client) -> None:
    feature = operators.feature(access="rules", rules=[{"any_of": GERMANS}])
    stale = {**form(name="Calls"), "at_revision": feature.revision}
    Api().patch("features/voice-calls", {"rules": [], "reason": "Too early."})

    answer = client.post(page_of(feature), stale)

    page = answer.content.decode()
    assert "It was changed meanwhile: Feature voice-calls changed by API key a backend" in page
    assert "(rules)" in page
    assert 'value="Calls"' in page
    found = Feature.objects.get()
    assert (found.name, found.rules) == ("Voice calls", [])
    assert client.post(page_of(feature), form(name="Calls")).status_code == 200  # without a revision, it may be older


def test_audience__changed_by_somebody_else_meanwhile__is_not_overwritten(client: Client) -> None:
    Api().post("audiences", {"key": "near", "any_of": GERMANS})
    audience = Audience.objects.get()
    Api().patch("audiences/near", {"any_of": []})

    answer = client.post(
        page_of(audience), {"name": "N", "any_of": json.dumps(GERMANS), "at_revision": audience.revision}
    )

    assert "Audience near changed by API key a backend" in answer.content.decode()
    assert Audience.objects.get().any_of == []


def test_feature__shown_to_phones__needs_a_reason(client: Client) -> None:
    feature = operators.feature(visible_to_phones=False)

    answer = send(client, feature, form())

    assert "Say why" in answer.context["adminform"].form.errors["why"][0]
    assert not Feature.objects.get().visible_to_phones
    assert send(client, feature, form(why="We announce it.")).status_code == 302


def test_feature__that_narrows__needs_no_reason(client: Client) -> None:
    feature = operators.feature(access="rules", rules=[{}])
    builders.subscriber()
    sent = form(rules="[]")

    assert "voice-calls: 1 lose it" in send(client, feature, sent).content.decode()
    assert send(client, feature, {**sent, "_confirmed": "1"}).status_code == 302


def test_feature__with_rules_that_decide_nothing__says_so(client: Client) -> None:
    terms = {**form(rules=json.dumps([{"any_of": GERMANS}])), "key": "video", "kind": "boolean"}

    page = client.post("/console/rollout/feature/add/", {**terms, "access": "granted"}, follow=True).content.decode()
    feature = Feature.objects.get()
    client.post("/console/rollout/feature/add/", {**terms, "key": "ruled", "access": "rules"})

    idle = "It has 1 rule, which decides nothing while access is “granted”: set access to “rules” for that."
    assert idle in page
    assert idle in client.get(f"/console/panel/feature/{feature.pk}/").content.decode()
    ruled = Feature.objects.get(key="ruled")
    assert ruled.access == "rules"
    assert "decides nothing" not in client.get(f"/console/panel/feature/{ruled.pk}/").content.decode()
