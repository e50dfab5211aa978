"""The verbs of a feature: what each changes, that it is audited and published, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.audit.models import AuditEntry
from rollout.actions import features
from rollout.errors import (
    FeatureChanged,
    FeatureExists,
    FeatureInvalid,
    FeatureKilled,
    FeatureUnknown,
    RulesetInvalid,
)
from rollout.models import Feature, Ruleset
from rollout.questions.evaluate import current, find_person
from rollout.rules.decision.decision import Cause, decide
from tests import builders
from tests.rollout import cast

pytestmark = pytest.mark.django_db
NOW = timezone.now()
BY: dict[str, Any] = {"actor": cast.OPERATOR, "now": NOW, "reason": "because"}


def verbs() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("verb", flat=True))


def cause_for(person: Any) -> Cause:
    decision = decide(current(), cast.CALLS, find_person(person.id).party(), NOW)
    return decision.cause


def test_create_feature__sound__is_off_audited_and_published() -> None:
    made = features.create_feature("video-calls", name="Video calls", **BY, fields={"access": "rules"})

    assert (made.switch, made.access, made.variants) == ("off", "rules", {"on": True, "off": False})
    assert len(made.salt) == 16
    assert verbs() == ["feature.created"]
    assert current().features["video-calls"].feature.switch == "off"


@pytest.mark.parametrize(
    ("key", "fields", "path"),
    [
        ("Video Calls", {}, "key"),
        ("v" * 65, {}, "key"),
        ("v", {"name": ""}, "name"),
        ("v", {"access": "nobody"}, "access"),
        ("v", {"rules": [{"share_ppm": -1}]}, "rules[0].share_ppm"),
        ("v", {"rules": "all"}, "rules"),
        ("v", {"default_variant": "purple"}, "default_variant"),
        ("v", {"variants": {"on": "yes", "off": "no"}}, "variants.on"),
        ("v", {"requirements": {"platforms": {"android": {"app": "x"}}}}, "requirements.platforms.android.app"),
        ("v", {"tags": ["x" * 33]}, "tags[0]"),
        ("v", {"salt": "mine"}, "salt"),
        ("v", {"visible_to_phones": "yes"}, "visible_to_phones"),
    ],
)
def test_create_feature__what_cannot_be_used__is_refused_with_its_path_and_nothing_is_stored(
    key: str, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(FeatureInvalid) as refused:
        features.create_feature(key, name="V", **BY, fields=fields)

    assert refused.value.extra["path"] == path
    assert not Feature.objects.exists()
    assert not AuditEntry.objects.exists()
    assert not Ruleset.objects.exists()


def test_create_feature__taken_key__is_refused() -> None:
    features.create_feature("v", name="V", **BY)

    with pytest.raises(FeatureExists):
        features.create_feature("v", name="W", **BY)


@pytest.mark.parametrize(
    "verb", [features.switch_on, features.switch_off, features.kill, features.unkill, features.launch]
)
def test_verbs__unknown_feature__are_refused(verb: Callable[..., Any]) -> None:
    with pytest.raises(FeatureUnknown):
        verb("nothing", **BY)


def test_switch__off_and_on__changes_decisions_and_is_audited_once() -> None:
    feature, alice = cast.feature(), builders.subscriber()
    cast.grant(feature, alice)

    features.switch_off(cast.CALLS, **BY)
    features.switch_off(cast.CALLS, **BY)
    off = cause_for(alice)
    features.switch_on(cast.CALLS, **BY)

    assert off is Cause.SWITCHED_OFF
    assert cause_for(alice) is Cause.GRANTED_BY_OPERATOR
    assert verbs() == ["feature.switched_off", "feature.switched_on"]
    assert Feature.objects.get().revision == 3
    notes = list(Ruleset.objects.order_by("version").values_list("note", flat=True))
    assert notes == ["Feature voice-calls switched off", "Feature voice-calls switched on"]


@pytest.mark.parametrize("before", ["on", "off"])
def test_kill_and_unkill__each_person__gets_back_what_they_had(before: str) -> None:
    feature, alice, erin = cast.feature(switch=before), builders.subscriber(), builders.subscriber()
    cast.grant(feature, alice)
    features.change_feature(cast.CALLS, changes={"owner": "calls"}, **BY)
    had = [cause_for(alice), cause_for(erin)]
    assert had[0] is (Cause.GRANTED_BY_OPERATOR if before == "on" else Cause.SWITCHED_OFF)

    features.kill(cast.CALLS, **BY)
    killed = [cause_for(alice), cause_for(erin)]
    features.unkill(cast.CALLS, **BY)

    assert killed == [Cause.KILLED, Cause.KILLED]
    assert [cause_for(alice), cause_for(erin)] == had
    assert Feature.objects.get().switch == before


@pytest.mark.parametrize("verb", [features.kill, features.switch_off])
def test_narrowing__another_feature_is_damaged__works_all_the_same(verb: Callable[..., Any]) -> None:
    cast.feature()
    features.create_feature("video-calls", name="Video", **BY)
    features.change_feature(cast.CALLS, changes={"name": "Calls"}, **BY)
    Feature.objects.filter(key="video-calls").update(rules=[{"share_ppm": "all"}])

    with pytest.raises(RulesetInvalid):
        features.launch(cast.CALLS, **BY)
    verb(cast.CALLS, **BY)

    assert current().features[cast.CALLS].feature.switch == Feature.objects.get(key=cast.CALLS).switch != "on"
    assert current().features[cast.CALLS].feature.access == "granted"
    assert current().features["video-calls"].feature.rules == ()


@pytest.mark.parametrize("verb", [features.switch_on, features.switch_off])
def test_switch__killed__is_refused_so_that_nobody_undoes_a_kill_by_the_way(verb: Callable[..., Any]) -> None:
    cast.feature(switch="killed", killed_from="on")

    with pytest.raises(FeatureKilled):
        verb(cast.CALLS, **BY)

    assert Feature.objects.get().switch == "killed"


def test_kill__with_end_calls__names_the_moment_and_may_be_added_later() -> None:
    cast.feature()

    features.kill(cast.CALLS, **BY)
    without = Feature.objects.get().stop_calls_before
    features.kill(cast.CALLS, **BY, end_calls=True)

    assert without is None
    assert Feature.objects.get().stop_calls_before == NOW
    assert current().features[cast.CALLS].feature.stop_calls_before == int(NOW.timestamp() * 1000)
    assert [entry.detail["end_calls"] for entry in AuditEntry.objects.order_by("id")] == [False, True]
    assert Feature.objects.get().killed_from == "on"


def test_launch__nobody_holds_it__everybody_eligible_has_it() -> None:
    cast.feature(requirements={"platforms": {"android": {"app": "2.12.0"}}})
    erin, old, stranger = builders.subscriber(), builders.subscriber(), builders.subscriber()
    builders.device(erin, app_version="2.12.1")
    builders.device(old, app_version="2.11.0")

    features.launch(cast.CALLS, **BY)
    features.launch(cast.CALLS, **BY)

    assert cause_for(erin) is Cause.LAUNCHED
    assert cause_for(old) is Cause.UPDATE_REQUIRED
    assert cause_for(stranger) is Cause.DEVICE_UNSUPPORTED
    assert verbs() == ["feature.launched"]


def test_set_access__back_to_granted__keeps_the_grants() -> None:
    feature, alice = cast.feature(access="everyone"), builders.subscriber()
    cast.grant(feature, alice)

    features.set_access(cast.CALLS, access="granted", **BY)

    assert cause_for(alice) is Cause.GRANTED_BY_OPERATOR
    assert cause_for(builders.subscriber()) is Cause.WAITING_FOR_LAUNCH
    with pytest.raises(FeatureInvalid):
        features.set_access(cast.CALLS, access="nobody", **BY)


def test_change_feature__several_fields__are_audited_with_before_and_after() -> None:
    cast.feature()

    features.change_feature(cast.CALLS, changes={"name": "Calls", "visible_to_phones": False}, **BY, revision=1)
    features.change_feature(cast.CALLS, changes={"name": "Calls"}, **BY)

    entry = AuditEntry.objects.get()
    assert entry.detail == {
        "name": {"from": "Voice calls", "to": "Calls"},
        "visible_to_phones": {"from": True, "to": False},
    }
    assert not current().features[cast.CALLS].feature.visible_to_phones


def test_change_feature__changed_meanwhile__is_refused() -> None:
    cast.feature()
    features.switch_off(cast.CALLS, **BY)

    with pytest.raises(FeatureChanged) as refused:
        features.change_feature(cast.CALLS, changes={"name": "Calls"}, **BY, revision=1)

    assert refused.value.extra["revision"] == 2
    assert Feature.objects.get().name == "Voice calls"


def test_change_feature__that_would_close_a_circle__changes_nothing_at_all() -> None:
    cast.feature()
    features.create_feature("video-calls", name="Video", **BY, fields={"prerequisites": [cast.CALLS]})
    versions = Ruleset.objects.count()

    with pytest.raises(RulesetInvalid, match="circle"):
        features.change_feature(cast.CALLS, changes={"prerequisites": ["video-calls"]}, **BY)

    assert Feature.objects.get(key=cast.CALLS).prerequisites == []
    assert Ruleset.objects.count() == versions
    assert "feature.changed" not in verbs()


def test_change_feature__salt_switch_and_key__cannot_be_set_by_the_way() -> None:
    cast.feature()

    for name in ("salt", "switch", "key", "stop_calls_before"):
        with pytest.raises(FeatureInvalid):
            features.change_feature(cast.CALLS, changes={name: "on"}, **BY)


def test_person__traits_of_a_device__come_from_the_newest_live_device() -> None:
    cast.feature(access="everyone", requirements={"platforms": {"android": {"app": "2.0.0"}}})
    bob = builders.subscriber()
    builders.device(bob, app_version="2.1.0", seen_at=NOW - timedelta(days=1))
    builders.device(bob, app_version="1.0.0", seen_at=NOW)
    builders.device(bob, app_version="3.0.0", seen_at=NOW + timedelta(days=1), revoked_at=NOW)
    features.switch_off(cast.CALLS, **BY)
    features.switch_on(cast.CALLS, **BY)

    assert cause_for(bob) is Cause.UPDATE_REQUIRED
