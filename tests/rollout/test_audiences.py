"""Audiences: reusable sets of people, each change validated, audited, published, and never lost to another."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.audit.models import AuditEntry
from rollout.models import Audience, Ruleset
from rollout.questions.evaluate import current
from tests import operators
from tests.operators import Api

pytestmark = pytest.mark.django_db
GERMANS = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]
AUSTRIANS = [[{"trait": "country", "operator": "IN", "values": ["AT"]}]]


@pytest.fixture
def api() -> Api:
    return Api()


def test_audience__made_changed_and_deleted__is_audited_and_published(api: Api) -> None:
    made = api.post("audiences", {"key": "near", "any_of": GERMANS, "reason": "The first country."})
    assert (made.status_code, made.told["name"], made.told["revision"], made["ETag"]) == (201, "near", 1, '"1"')
    assert set(current().audiences) == {"near"}

    changed = api.patch("audiences/near", {"any_of": AUSTRIANS})
    assert (changed.told["any_of"], changed.told["revision"]) == (AUSTRIANS, 2)
    assert current().audiences["near"][0][0].values == ("AT",)

    assert api.ask("DELETE", "audiences/near").status_code == 204
    assert not Audience.objects.exists()
    assert not current().audiences
    verbs = list(AuditEntry.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs == ["audience.created", "audience.changed", "audience.deleted"]


def test_audience__changed_to_what_it_is__writes_nothing(api: Api) -> None:
    api.post("audiences", {"key": "near", "any_of": GERMANS})
    before = (AuditEntry.objects.count(), Ruleset.objects.count())

    assert api.patch("audiences/near", {"any_of": GERMANS}).told["revision"] == 1
    assert (AuditEntry.objects.count(), Ruleset.objects.count()) == before


@pytest.mark.parametrize("user", ["rule", "wave", "audience"])
def test_audience__in_use__is_not_deleted_and_says_where(api: Api, user: str) -> None:
    api.post("audiences", {"key": "near", "any_of": GERMANS})
    named = [[{"audience": "near"}]]
    rules = [{"any_of": []}, {"any_of": [[{"any_of": named}]]}] if user == "rule" else []
    operators.feature(rules=rules)
    if user == "wave":
        api.post("waves", {"feature": "voice-calls", "name": "First", "any_of": named})
    if user == "audience":
        api.post("audiences", {"key": "nearer", "any_of": named})

    refused = api.ask("DELETE", "audiences/near")

    places = {
        "rule": "features.voice-calls.rules[1]",
        "wave": "features.voice-calls.waves.First",
        "audience": "audiences.nearer",
    }
    assert (refused.status_code, refused.told["code"]) == (409, "audience_in_use")
    assert refused.told["used_by"] == [places[user]] == api.get("audiences/near").told["used_by"]
    assert Audience.objects.filter(key="near").exists()


BAD: list[tuple[Any, str]] = [
    ([[{"trait": "country", "operator": "IS", "values": ["DE"]}]], "any_of[0][0].operator"),
    ([[{"trait": "country", "operator": "REGEX", "values": ["("]}]], "any_of[0][0].values"),
    ([[{"trait": "country", "operator": "IN", "values": [None]}]], "any_of[0][0].values[0]"),
    ([[{"trait": "country", "operator": "IN", "values": ["DE"], "invert": True}]], "any_of[0][0].invert"),
    ([[{"audience": "nowhere"}]], "any_of"),
    ([[{"audience": "near"}]], "any_of"),
    ([[]], "any_of[0]"),
    (None, "any_of"),
    ({}, "any_of"),
]


@pytest.mark.parametrize(("any_of", "path"), BAD, ids=[f"{path}-{i}" for i, (_, path) in enumerate(BAD)])
def test_audience__that_can_not_be_used__is_refused_with_the_path(api: Api, any_of: Any, path: str) -> None:
    api.post("audiences", {"key": "near", "any_of": GERMANS})

    refused = api.patch("audiences/near", {"any_of": any_of})

    assert 400 <= refused.status_code < 500
    assert refused.told["path"] == path
    assert Audience.objects.get().any_of == GERMANS


def test_feature__rule_that_names_nobody_known__is_refused_though_grants_decide(api: Api) -> None:
    operators.feature(access="granted")

    refused = api.patch("features/voice-calls", {"rules": [{"any_of": [[{"any_of": [[{"audience": "no"}]]}]]}]})

    assert (refused.told["code"], refused.told["path"]) == ("feature_invalid", "rules[0].any_of")


def test_audiences__in_a_circle__are_refused(api: Api) -> None:
    api.post("audiences", {"key": "a", "any_of": GERMANS})
    api.post("audiences", {"key": "b", "any_of": [[{"audience": "a"}]]})

    refused = api.patch("audiences/a", {"any_of": [[{"audience": "b"}]]})

    assert (refused.told["code"], refused.told["path"]) == ("audience_invalid", "any_of")
    assert "circle" in refused.told["detail"]


def test_audience__somebody_was_faster__loses_no_update(api: Api) -> None:
    tag = api.post("audiences", {"key": "near", "any_of": GERMANS})["ETag"]
    first = api.ask("PATCH", "audiences/near", {"name": "Near"}, **{"If-Match": tag})
    second = api.ask("PATCH", "audiences/near", {"name": "Far"}, **{"If-Match": tag})
    gone = api.ask("DELETE", "audiences/near", **{"If-Match": tag})

    assert first.status_code == 200
    assert {second.status_code, gone.status_code} == {412}
    assert (second.told["code"], second.told["revision"]) == ("changed_meanwhile", 2)
    assert Audience.objects.get().name == "Near"
    assert api.ask("PATCH", "audiences/near", {"name": "Far"}, **{"If-Match": "W/x"}).told["path"] == "If-Match"


def test_audiences__many__come_in_pages_by_key(api: Api) -> None:
    for key in "cab":
        api.post("audiences", {"key": key, "any_of": []})

    first = api.get("audiences?limit=2").told
    rest = api.get(first["next"].split("/api/")[1]).told

    assert [row["key"] for row in first["results"] + rest["results"]] == ["a", "b", "c"]
    assert rest["next"] is None
    assert api.get("audiences?after=%00").status_code == 400


def test_feature__verb_for_another_revision__is_refused(api: Api) -> None:
    tag = api.post("features", {"key": "voice-calls", "name": "Voice"})["ETag"]
    api.ask("POST", "features/voice-calls/on", {"reason": "a test"}, **{"If-Match": tag})

    late = api.ask("POST", "features/voice-calls/launch", {"reason": "a test"}, **{"If-Match": tag})
    patched = api.ask("PATCH", "features/voice-calls", {"name": "X"}, **{"If-Match": tag})

    assert (
        (late.status_code, late.told["code"])
        == (412, "changed_meanwhile")
        == (patched.status_code, "changed_meanwhile")
    )
    assert api.get("features/voice-calls").told["access"] == "granted"


def test_area__tag__changes_with_its_settings_only(api: Api) -> None:
    tag = api.post("areas", {"key": "DE", "capacity_calls": 20})["ETag"]
    assert api.get("areas/DE")["ETag"] == tag

    changed = api.ask("PATCH", "areas/DE", {"capacity_calls": 30}, **{"If-Match": tag})
    late = api.ask("PATCH", "areas/DE", {"capacity_calls": 40}, **{"If-Match": tag})

    assert changed.status_code == 200
    assert changed["ETag"] != tag
    assert (late.status_code, late.told["code"]) == (412, "changed_meanwhile")
    assert api.get("areas/DE").told["capacity_calls"] == 30
