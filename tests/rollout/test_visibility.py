"""A feature that phones may not know of can't be found in anything that a phone gets to see."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from calls import actions
from controlplane.api.claims import rollout_claims
from rollout.models import Feature, Grant
from rollout.questions.evaluate import current
from tests import builders, operators

pytestmark = pytest.mark.django_db
SECRET = "moon-calls"


@pytest.fixture
def granted() -> tuple[Any, Feature]:
    """alice's device; alice holds a feature that is announced and one that isn't."""
    known, hidden = operators.feature(), operators.feature(SECRET, visible_to_phones=False)
    alice = builders.subscriber(name="alice")
    for feature in (known, hidden):
        Grant.objects.create(feature=feature, subscriber=alice, source="operator")
    return builders.device(alice), hidden


def test_token__of_somebody_who_tests_a_secret__does_not_name_it(granted: tuple[Any, Feature]) -> None:
    device, hidden = granted
    Grant.objects.filter(feature=hidden).update(state="frozen")

    claims = rollout_claims(device)

    assert list(claims["g"]) == ["voice-calls"]
    assert claims["fr"] == []
    Feature.objects.filter(pk=hidden.pk).update(visible_to_phones=True)
    assert list(rollout_claims(device)["g"]) == [SECRET, "voice-calls"]
    assert rollout_claims(device)["fr"] == [SECRET]


@pytest.mark.parametrize("through", [False, True])
def test_token__of_a_feature_that_an_announced_one_needs__carries_it(
    granted: tuple[Any, Feature], through: bool
) -> None:
    device, _ = granted
    needed = [SECRET]
    if through:
        operators.feature("between", visible_to_phones=False, prerequisites=needed)
        needed = ["between"]
    operators.feature("video-calls", prerequisites=needed)

    assert SECRET in rollout_claims(device)["g"]


def test_token__of_a_feature_that_only_secrets_need__still_leaves_it_out(granted: tuple[Any, Feature]) -> None:
    device, _ = granted
    operators.feature("other-secret", visible_to_phones=False, prerequisites=[SECRET])

    assert list(rollout_claims(device)["g"]) == ["voice-calls"]


@pytest.mark.parametrize("visible", [True, False])
def test_grant_event__of_a_feature__is_sent_only_when_phones_may_know_it(
    granted: tuple[Any, Feature], visible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, hidden = granted
    Feature.objects.filter(pk=hidden.pk).update(visible_to_phones=visible)
    told: list[Any] = []
    monkeypatch.setattr(actions, "tell", lambda tells, now: told.extend(tells))

    payload = {"subscriber": str(device.subscriber_id), "feature": SECRET, "grant": 7, "source": "operator"}
    actions.tell_grants([payload], now=timezone.now())

    assert [event.device for event in told] == ([str(device.pk)] if visible else [])


def test_ruleset__compiled__knows_which_features_phones_may_see(granted: tuple[Any, Feature]) -> None:
    seen = {key: compiled.feature.visible_to_phones for key, compiled in current().features.items()}

    assert seen == {"voice-calls": True, SECRET: False}
