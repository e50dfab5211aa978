"""Previews: they count what publishing would do, store nothing, and agree with the decisions that follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from controlplane.accounts.models import Subscriber
from controlplane.audit.models import AuditEntry
from rollout.actions import windows
from rollout.models import Feature, Grant, Ruleset
from rollout.questions import people
from rollout.questions.evaluate import current, find_person
from rollout.questions.people import choose, tables
from rollout.questions.preview import of_document, of_feature
from rollout.rules.decision.decision import decide
from rollout.rules.ruleset.definitions import FORMAT
from tests import builders, operators
from tests.operators import TESTS, Api

GERMANS = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]
NOW = timezone.now()


def crowd() -> list[Subscriber]:
    """Six in Germany with phones, three in Austria without."""
    made = []
    for i in range(9):
        german = i < 6
        person = builders.subscriber(
            country="DE" if german else "AT",
            carrier="262-03" if german else "",
            traits={"plan": "gold", "country": "XX"},
        )
        if german:
            builders.device(person, platform="ios" if i % 2 else "android")
            builders.device(person, platform="web", seen_at=NOW - timedelta(days=9))
            builders.device(person, platform="blackberry", revoked_at=NOW)
        made.append(person)
    return made


@pytest.fixture
def api(db: None) -> Api:
    return Api()


def counts(told: dict[str, Any], n: int = 0) -> tuple[int, int, int]:
    row = told["features"][n]
    return row["gains"], row["loses"], row["changes"]


def test_preview__of_a_rule__counts_who_gains_by_place_and_stores_nothing(api: Api) -> None:
    crowd()
    operators.feature(access="rules")
    before = (Ruleset.objects.count(), AuditEntry.objects.count(), Feature.objects.get().revision)

    told = api.post("features/voice-calls/preview", {"rules": [{"any_of": GERMANS}]}).told

    assert (told["looked_at"], told["people"], told["everybody"], told["exact"]) == (9, 9, True, True)
    assert counts(told) == (6, 0, 0)
    row = told["features"][0]
    assert (row["had"], row["has"]) == (0, 6)
    assert row["by"]["country"] == {"DE": {"gains": 6, "loses": 0, "changes": 0}}
    assert {place: cell["gains"] for place, cell in row["by"]["platform"].items()} == {"android": 3, "ios": 3}
    assert list(row["by"]["carrier"]) == ["262-03"]
    assert len(row["examples"]["gains"]) == 5
    assert row["examples"]["gains"][0]["before"] == {"variant": "off", "cause": "default"}
    assert row["examples"]["gains"][0]["after"] == {"variant": "on", "cause": "rule"}
    assert told["words"] == [
        "All 9 subscribers were looked at.",
        "voice-calls: 6 gain it; 6 have it afterwards, 0 before.",
    ]
    assert (Ruleset.objects.count(), AuditEntry.objects.count(), Feature.objects.get().revision) == before


def test_preview__of_any_change__is_what_the_decisions_then_are(api: Api) -> None:
    everybody = crowd()
    feature = operators.feature(access="rules", rules=[{"any_of": GERMANS, "share_ppm": 500_000}])
    Grant.objects.create(feature=feature, subscriber=everybody[0], source="operator")
    had = {person.pk for person in everybody if _has(person)}

    for changes in (
        {"access": "granted"},
        {"access": "everyone"},
        {"rules": []},
        {"requirements": {"others": "refuse"}},
    ):
        told = api.post("features/voice-calls/preview", changes).told
        feature_before = api.get("export").told
        api.patch("features/voice-calls", changes)
        has = {person.pk for person in everybody if _has(person)}
        assert counts(told) == (len(has - had), len(had - has), 0), changes
        api.post("import", feature_before)


def _has(person: Subscriber) -> bool:
    found = find_person(person.pk)
    assert found is not None
    return decide(current(), "voice-calls", found.party(), NOW).enabled


def test_preview__of_an_audience__covers_every_feature_that_uses_it_or_needs_one(api: Api) -> None:
    crowd()
    api.post("audiences", {"key": "near", "any_of": []})
    api.post("audiences", {"key": "nearer", "any_of": [[{"audience": "near"}]]})
    operators.feature(access="rules", rules=[{"any_of": [[{"audience": "nearer"}]]}])
    operators.feature("video-calls", access="everyone", prerequisites=["voice-calls"])
    operators.feature("chat", access="everyone")

    told = api.post("audiences/near/preview", {"any_of": GERMANS}).told

    assert [row["feature"] for row in told["features"]] == ["video-calls", "voice-calls"]
    assert counts(told, 0) == counts(told, 1) == (0, 3, 0)
    assert list(told["features"][0]["by"]["country"]) == ["AT"]
    assert list(told["features"][0]["by"]["platform"]) == ["not known"]
    assert api.post("audiences/none/preview", {"any_of": []}).told["code"] == "audience_unknown"
    refused = api.post("audiences/near/preview", {"any_of": [[{"audience": "nearer"}]]})
    assert (refused.status_code, refused.told["path"]) == (422, "any_of")


def test_preview__of_a_document__compares_variants_too(api: Api) -> None:
    crowd()
    colours = {"red": "r", "blue": "b", "off": ""}
    operators.feature(access="everyone")
    api.post("features", {"key": "colour", "name": "C", "kind": "string", "variants": colours,
                          "default_variant": "red", "off_variant": "off", "access": "everyone"})  # fmt: skip
    api.post("features/colour/on", {"reason": "a test"})
    document = api.get("export").told
    document["features"]["colour"]["default_variant"] = "blue"
    document["features"]["new"] = {"access": "everyone", "switch": "on"}

    told = api.post("preview", document).told

    assert [row["feature"] for row in told["features"]] == ["colour", "new"]
    assert (counts(told, 0), counts(told, 1)) == ((0, 0, 9), (9, 0, 0))
    document["features"]["colour"]["default_variant"] = "green"
    assert api.post("preview", document).told["path"] == "features.colour.default_variant"


def test_preview__of_a_feature_that_is_off__can_be_counted_as_if_it_were_on(api: Api) -> None:
    crowd()
    operators.feature(on=False)

    plain = api.post("features/voice-calls/preview", {"access": "everyone"}).told
    assumed = api.post("features/voice-calls/preview?assume_on=1", {"access": "everyone"}).told

    assert (counts(plain), counts(assumed)) == ((0, 0, 0), (9, 0, 0))
    assert assumed["assumed_on"] is True


def test_preview__of_many_people__looks_at_a_sample_and_says_so(api: Api) -> None:
    crowd()
    operators.feature()

    told = api.post("features/voice-calls/preview?sample=4", {"access": "everyone"}).told

    assert (told["looked_at"], told["people"], told["everybody"]) == (4, 9, False)
    assert told["words"][0] == "4 of 9 subscribers were looked at."
    assert api.post("features/voice-calls/preview?sample=1000001", {}).told["path"] == "sample"
    assert api.post("features/voice-calls/preview?assume_on=maybe", {}).told["path"] == "assume_on"


@pytest.mark.parametrize(
    ("changes", "status", "path"),
    [
        ({"rules": [{"share_ppm": -1}]}, 422, "rules[0].share_ppm"),
        ({"rules": [{"any_of": [[{"audience": "none"}]]}]}, 422, "rules[0].any_of"),
        ({"reason": "x"}, 400, "reason"),
        ({"salt": "x"}, 400, "salt"),
    ],
)
def test_preview__of_what_could_not_be_saved__is_refused_with_the_path(
    api: Api, changes: dict[str, Any], status: int, path: str
) -> None:
    operators.feature()

    refused = api.post("features/voice-calls/preview", changes)

    assert (refused.status_code, refused.told["path"]) == (status, path)


def test_preview__for_readers__is_allowed_and_for_backends_not(api: Api) -> None:
    operators.feature()

    assert Api("read").post("features/voice-calls/preview", {}).status_code == 200
    assert Api("evaluate").post("features/voice-calls/preview", {}).status_code == 403
    assert api.post("features/none/preview", {}).told["code"] == "feature_unknown"


@pytest.mark.django_db
def test_people__in_bulk__are_the_same_as_one_by_one() -> None:
    everybody = crowd()
    feature, _ = operators.feature(), operators.area()
    window = windows.create_window("voice-calls", name="W", actor=TESTS, now=NOW)
    parent = Grant.objects.create(feature=feature, subscriber=everybody[0], source="operator")
    Grant.objects.create(
        feature=feature,
        subscriber=everybody[7],
        source="invite",
        state="frozen",
        parent=parent,
        root=parent.pk,
        depth=1,
        call=uuid4(),
        window=window,
    )
    Grant.objects.create(feature=feature, subscriber=everybody[1], source="operator", state="revoked")

    names = {name for person in everybody for name in find_person(person.pk).party().traits}
    found = {}
    for table in tables(choose(100), traits=names, grants=["voice-calls"], areas=current().areas):
        found |= {party.subscriber: party for party in map(table.party, range(table.size))}

    assert len(found) == 9
    for person in everybody:
        one = find_person(person.pk).party()
        sources = {feature: fact.source for feature, fact in one.grants.items()}
        assert found[str(person.pk)].traits == one.traits
        assert {feature: fact.source for feature, fact in found[str(person.pk)].grants.items()} == sources


@pytest.mark.django_db
def test_people__in_several_parts__are_each_in_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = crowd()
    monkeypatch.setattr(people, "CHUNK", 2)

    parts = list(tables(choose(100), traits=["platform", "joined_at"]))

    found = [part.party(row) for part in parts for row in range(part.size)]
    assert max(part.size for part in parts) == 2
    assert sorted(party.subscriber for party in found) == sorted(str(person.pk) for person in everybody)
    for party in found:
        assert party.traits == {name: find_person(UUID(party.subscriber)).party().traits[name] for name in party.traits}


@pytest.mark.django_db
def test_preview__of_everybody__says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd()
    operators.feature(access="rules")
    monkeypatch.setattr(people, "CHUNK", 4)
    told: list[tuple[int, int]] = []
    document = {"format": FORMAT, "features": {"voice-calls": {"access": "everyone"}}}

    preview = of_document(document, now=NOW, progress=lambda *far: told.append(far))

    assert told == [(4, 9), (8, 9), (9, 9)]
    assert (preview.everybody, preview.tallies[0].moves["gains"]) == (True, 9)


@pytest.mark.django_db
def test_sample__of_an_estimated_crowd__is_not_called_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd()
    operators.feature()
    monkeypatch.setattr(people, "EXACT_BELOW", -2)
    monkeypatch.setattr(people, "ESTIMATE", "SELECT 1000::bigint")

    preview = of_feature("voice-calls", {}, now=NOW, sample=5)

    assert (preview.people, preview.exact, preview.everybody) == (1000, False, False)
    assert preview.words[0].endswith("of about 1,000 subscribers were looked at.")


@given(had=st.booleans(), has=st.booleans(), same=st.booleans())
def test_moved__table__of_all_cases(had: bool, has: bool, same: bool) -> None:
    from rollout.rules.bulk.preview import Move, moved
    from rollout.rules.decision.decision import Cause, Decision, Reason

    def decision(enabled: bool, variant: str) -> Decision:
        cause = Cause.RULE if enabled else Cause.DEFAULT
        return Decision("f", variant, variant, Reason.STATIC, cause)

    move = moved(decision(had, "a"), decision(has, "a" if same else "b"))

    expected = {(False, True): Move.GAINS, (True, False): Move.LOSES, (False, False): Move.STAYS}
    assert move is expected.get((had, has), Move.STAYS if same else Move.CHANGES)
