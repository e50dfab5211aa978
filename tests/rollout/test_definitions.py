"""Export, import, and the history of rulesets: what comes out goes in again, and earlier versions come back."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.audit.models import AuditEntry
from controlplane.base.wording import hidden_in
from rollout.actions import features
from rollout.actions.definitions import import_definitions
from rollout.models import Audience, Feature, Grant, Ruleset
from rollout.questions.definitions import export, plan
from rollout.questions.evaluate import current
from rollout.rules.definition.reading import KEY
from rollout.rules.ruleset.definitions import FORMAT
from rollout.rules.ruleset.difference import alike
from tests import builders, operators
from tests.operators import TESTS, Api

pytestmark = pytest.mark.django_db
NOW = timezone.now()
GERMANS = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]

keys = st.text(string.ascii_lowercase + string.digits + "._-", min_size=1, max_size=12).filter(KEY.match)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: not hidden_in(text)
)
whole = st.integers(-(2**53) + 1, 2**53 - 1)
clauses = st.one_of(
    st.fixed_dictionaries(
        {
            "trait": st.sampled_from(["country", "plan", "ünïcode"]),
            "operator": st.sampled_from(["IN", "NOT_IN", "STR_CONTAINS"]),
            "values": st.lists(st.one_of(words, whole, st.booleans(), st.floats(-1e6, 1e6)), min_size=1, max_size=4),
        },
        optional={"inverted": st.booleans(), "case_insensitive": st.booleans()},
    ),
    st.fixed_dictionaries({"trait": st.just("age"), "operator": st.just("NUM_GT"), "value": whole}),
    st.fixed_dictionaries({"audience": st.just("base")}, optional={"inverted": st.booleans()}),
)
any_of = st.lists(st.lists(clauses, min_size=1, max_size=3), max_size=3)
values = {
    "boolean": st.booleans(),
    "string": words,
    "integer": whole,
    "float": st.floats(-(2**53) + 1, 2**53 - 1),
    "object": st.dictionaries(words.filter(bool), st.one_of(whole, words, st.booleans(), st.none()), max_size=4),
}


@st.composite
def feature_definitions(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(values)))
    variants = draw(st.dictionaries(keys, values[kind], min_size=1, max_size=4))
    names = st.sampled_from(sorted(variants))
    rules = st.fixed_dictionaries(
        {"any_of": any_of, "share_ppm": st.integers(0, 1_000_000)}, optional={"name": words, "variant": names}
    )
    switch = draw(st.sampled_from(["off", "on", "killed"]))
    return {
        "kind": kind,
        "name": draw(words.filter(bool)),
        "description": draw(words),
        "owner": draw(words),
        "tags": draw(st.lists(words.filter(bool), max_size=3)),
        "salt": draw(st.text(string.hexdigits, min_size=1, max_size=32)),
        "switch": switch,
        "access": draw(st.sampled_from(["granted", "rules", "everyone"])),
        "requirements": draw(st.sampled_from([{}, {"platforms": {"android": {"app": "2.12.0"}}, "others": "allow"}])),
        "prerequisites": [],
        "rules": draw(st.lists(rules, max_size=3)),
        "variants": variants,
        "default_variant": draw(names),
        "off_variant": draw(names),
        "visible_to_phones": draw(st.booleans()),
        **({"killed_from": draw(st.sampled_from(["on", "off"]))} if switch == "killed" else {}),
    }


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    audiences = draw(st.dictionaries(keys, any_of, max_size=3))
    named = {key: {"name": draw(words.filter(bool)), "any_of": value} for key, value in audiences.items()}
    found = draw(st.dictionaries(keys, feature_definitions(), max_size=4))
    if len(found) > 1:
        first, second = sorted(found)[:2]
        found[first]["prerequisites"] = [second]
    return {
        "format": FORMAT,
        "audiences": {**named, "base": {"name": "Base", "any_of": GERMANS}},
        "features": found,
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=documents())
def test_export__of_what_was_imported__is_the_document_itself(document: dict[str, Any]) -> None:
    with transaction.atomic():
        import_definitions(document, actor=TESTS, now=NOW)

        exported = export()
        again = plan(exported, now=NOW)
        transaction.set_rollback(True)

    assert alike(exported, document)
    assert again.changes == ()
    assert again.remarks == ()


@pytest.fixture
def api() -> Api:
    return Api()


def small(**fields: Any) -> dict[str, Any]:
    base = {"format": FORMAT, "audiences": {"near": {"name": "Near", "any_of": GERMANS}}}
    return base | {"features": {"voice-calls": {"access": "rules", **fields}}}


def test_dry_run__says_everything_and_does_nothing(api: Api) -> None:
    operators.feature()
    counts = (Ruleset.objects.count(), AuditEntry.objects.count())

    told = api.post("import?dry_run=1", small(rules=[{"any_of": [[{"audience": "near"}]], "share_ppm": 10_000}])).told

    assert told["dry_run"] is True
    assert told["summary"] == "3 changes: 2 added, 1 changed."
    assert [change["path"] for change in told["changes"]] == [
        "features.voice-calls.access",
        "features.voice-calls.rules[0]",
        "audiences.near",
    ]
    assert told["changes"][0]["words"] == "The feature voice-calls, access: “rules” instead of “granted”."
    assert (told["changes"][0]["before"], told["changes"][0]["after"]) == ("granted", "rules")
    assert (Ruleset.objects.count(), AuditEntry.objects.count()) == counts
    assert not Audience.objects.exists()


def test_import__does_what_the_dry_run_said_and_is_audited_and_published(api: Api) -> None:
    feature = operators.feature()
    person = builders.subscriber()
    Grant.objects.create(feature=feature, subscriber=person, source="operator")
    document = small(rules=[{"any_of": [[{"audience": "near"}]]}])

    promised = api.post("import?dry_run=1", document).told
    done = api.post("import?reason=From+the+other+one", document).told

    assert done == promised | {"dry_run": False}
    changed = Feature.objects.get()
    assert (changed.access, changed.salt, changed.revision) == ("rules", feature.salt, feature.revision + 1)
    assert current().features["voice-calls"].feature.access == "rules"
    entries = AuditEntry.objects.filter(verb__endswith=".imported").values_list("verb", "reason")
    assert set(entries) == {
        ("audience.imported", "From the other one"),
        ("feature.imported", "From the other one"),
    }
    assert Grant.objects.live().count() == 1
    before = Ruleset.objects.count()
    assert api.post("import", api.get("export").told).told["summary"] == "Nothing changes."
    assert Ruleset.objects.count() == before


def test_import__with_one_fault__stores_nothing_of_it(api: Api) -> None:
    document = small() | {"audiences": {"near": {"any_of": GERMANS}, "far": {"any_of": [[{"audience": "no"}]]}}}

    refused = api.post("import", document)

    assert (refused.status_code, refused.told["code"]) == (422, "document_invalid")
    assert refused.told["path"] == "audiences.far"
    assert not Audience.objects.exists()
    assert not Feature.objects.exists()


def test_import__of_a_killed_features_switch__leaves_the_kill_alone(api: Api) -> None:
    operators.feature()
    features.kill("voice-calls", actor=TESTS, now=NOW)

    told = api.post("import", small(switch="on")).told

    assert "is killed and stays so" in told["remarks"][0]
    assert Feature.objects.get().switch == "killed"
    assert Feature.objects.get().access == "rules"


def history(api: Api) -> list[int]:
    """Three versions: granted; rules for the near; off for the far."""
    operators.feature()
    versions = [current().version]
    api.post("audiences", {"key": "near", "any_of": GERMANS})
    api.patch("features/voice-calls", {"access": "rules", "rules": [{"any_of": [[{"audience": "near"}]]}]})
    versions.append(current().version)
    api.patch("features/voice-calls", {"rules": [], "name": "Calls"})
    api.ask("DELETE", "audiences/near")
    return [*versions, current().version]


def test_rulesets__published__are_listed_shown_and_compared(api: Api) -> None:
    first, second, third = history(api)

    listed = api.get("rulesets?limit=2").told
    shown = api.get(f"rulesets/{second}").told
    diff = api.get(f"rulesets/{first}/diff/{second}").told

    assert [row["version"] for row in listed["results"]] == [third, third - 1]
    assert api.get(listed["next"].split("/api/")[1]).told["results"][0]["version"] == third - 2
    assert shown["document"]["features"]["voice-calls"]["access"] == "rules"
    assert shown["size"] > 100
    assert [change["path"] for change in diff["changes"]] == [
        "features.voice-calls.access",
        "features.voice-calls.rules[0]",
        "audiences.near",
    ]
    assert diff["summary"] == "3 changes: 2 added, 1 changed."
    assert api.get(f"rulesets/{first}/diff/{first}").told["summary"] == "Nothing changes."
    assert api.get(f"rulesets/0/diff/{first}").told["changes"][0]["what"] == "added"
    assert api.get("rulesets/999").told["code"] == "ruleset_unknown"
    assert api.get(f"rulesets/{first}/diff/999").status_code == 404


def test_restore__of_an_earlier_version__is_a_new_one_that_decides_alike(api: Api) -> None:
    _, second, third = history(api)

    told = api.post(f"rulesets/{second}/restore", {"reason": "It was better."}).told

    newest = current()
    assert newest.version == third + 1
    assert Ruleset.objects.get(version=newest.version).note == f"Restored the definitions of ruleset {second}"
    assert [change["what"] for change in api.get(f"rulesets/{second}/diff/{newest.version}").told["changes"]] == []
    assert [change["path"] for change in told["changes"]] == ["features.voice-calls.rules[0]", "audiences.near"]
    assert Feature.objects.get().name == "Calls"
    reasons = AuditEntry.objects.filter(verb__endswith=".restored").values_list("reason", flat=True)
    assert list(reasons) == ["It was better."] * 2
    assert api.post("rulesets/999/restore").told["code"] == "ruleset_unknown"
    assert api.post("rulesets/0/restore").told["code"] == "ruleset_unknown"


@pytest.mark.parametrize("killed_now", [True, False])
def test_restore__over_a_kill__neither_kills_nor_unkills_and_says_so(api: Api, killed_now: bool) -> None:
    operators.feature()
    alive = current().version
    features.kill("voice-calls", actor=TESTS, now=NOW)
    dead = current().version
    if not killed_now:
        features.unkill("voice-calls", actor=TESTS, now=NOW)

    told = api.post(f"rulesets/{alive if killed_now else dead}/restore").told

    assert Feature.objects.get().switch == ("killed" if killed_now else "on")
    assert told["changes"] == []
    assert "killed" in told["remarks"][0]


def test_import__of_eight_megabytes__is_read_and_more_is_not(api: Api) -> None:
    long = {"format": FORMAT, "features": {"f": {"description": "x" * 3_000_000}}}
    huge = {"format": FORMAT, "features": {"f": {"description": "x" * 9_000_000}}}

    assert api.post("import", long).told["path"] == "features.f.description"
    assert api.post("import", huge).told["code"] == "too_large"
    assert api.post("features", {"key": "f", "name": "x" * 3_000_000}).status_code == 413


def test_export__as_a_file__can_be_read(api: Api) -> None:
    operators.feature()

    answer = api.get("export")

    assert "rollcall-definitions.json" in answer["Content-Disposition"]
    assert json.loads(answer.content)["features"]["voice-calls"]["switch"] == "on"
    assert Api("evaluate").get("export").status_code == 403
    assert Api("read").post("import", small()).status_code == 403
