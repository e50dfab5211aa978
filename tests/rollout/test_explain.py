"""Explaining a decision, and that SQL and rules put the same person together."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from controlplane.accounts.rules.traits import DEVICE, OWN
from rollout.actions import rulesets
from rollout.models import Area, Refusal, Ruleset, Wave
from rollout.questions.evaluate import current, find_person
from rollout.questions.explain import explain, find_subscriber
from rollout.rules.decision.decision import GrantFact, Party
from rollout.rules.definition.area import AreaPlace, area_of
from tests import builders
from tests.rollout import cast

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("explain", *args, stdout=out)
    return out.getvalue()


def test_person__from_sql__has_own_traits_and_those_of_each_live_device() -> None:
    cast.area()
    bob = builders.subscriber(
        carrier="262-03", language="de", traits={"plan": "gold", "country": "XX"}, joined_at=builders.NOON
    )
    phone = builders.device(bob, network_class="3g")
    older = builders.device(bob, platform="ios", app_version="1.0", seen_at=builders.NOON - timedelta(days=1))
    builders.device(bob, platform="web", revoked_at=builders.NOON)
    own = {
        "plan": "gold", "country": "DE", "carrier": "262-03", "kind": "person", "language": "de",
        "joined_at": "2026-03-14T12:00:00Z", "area": "DE",
    }  # fmt: skip
    device = {name: getattr(phone, name) for name in DEVICE}

    person = find_person(bob.id)

    assert person is not None
    assert {*person.traits} - {"plan"} == {*OWN, "joined_at", "area"}
    assert person.party() == person.party(str(phone.id)) == Party(str(bob.id), own | device)
    assert [party.traits["app_version"] for party in person.parties()] == [phone.app_version, "1.0"]
    assert person.party(str(older.id)).traits["platform"] == "ios"


def test_person__grants__are_the_live_ones_with_their_place_in_the_graph() -> None:
    feature, video = cast.feature(), cast.feature(key="video-calls")
    alice, bob = builders.subscriber(), builders.subscriber()
    root = cast.grant(feature, alice)
    cast.grant(video, bob, state="revoked")
    hers = cast.grant(feature, bob, source="seed", depth=2, root=root.id, state="frozen")

    person = find_person(bob.id)

    assert person is not None
    at = int(hers.granted_at.timestamp())
    assert person.grants == {cast.CALLS: GrantFact(hers.id, "seed", depth=2, root=root.id, at=at, frozen=True)}


def test_person__unknown__is_none() -> None:
    assert find_person(uuid4()) is None


@pytest.mark.parametrize(
    ("country", "carrier"), [("DE", "262-03"), ("DE", ""), ("FR", "262-03"), ("AT", ""), ("FR", "")]
)
def test_area__sql_and_rule__agree(country: str, carrier: str) -> None:
    cast.area(key="DE")
    cast.area(key="eplus", countries=[], carriers=["262-03"])
    cast.area(key="eplus-de", countries=["DE"], carriers=["262-03"])
    cast.area(key="dach", countries=["DE", "AT"])
    cast.area(key="Alps", countries=["AT"])
    places = [AreaPlace(a.key, frozenset(a.countries), frozenset(a.carriers)) for a in Area.objects.all()]

    with connection.cursor() as cursor:
        cursor.execute("SELECT rollout_area_of(%s, %s)", [country, carrier])
        told = cursor.fetchone()

    assert told is not None
    assert told[0] == area_of(places, country, carrier)


@pytest.fixture
def scene() -> dict[str, Any]:
    feature = cast.feature(requirements={"platforms": {"android": {"app": "2.0.0"}}})
    alice = builders.subscriber(name="Alice")
    bob = builders.subscriber(phone="+493090189001", name="Bob")
    builders.device(alice)
    builders.device(bob)
    cast.grant(feature, alice)
    wave = Wave.objects.create(feature=feature, position=1, name="Germany", share_ppm=1_000_000, state="held")
    cast.window(feature)
    Refusal.objects.create(
        feature=feature, call=uuid4(), inviter=alice.id, callee=bob.id, outcome="callee_opted_out", detail={"n": 1}
    )
    rulesets.publish(cast.OPERATOR, NOW)
    return {"alice": alice, "bob": bob, "wave": wave}


def test_explain__everything_around_the_decision__is_told(scene: dict[str, Any]) -> None:
    told = explain(scene["bob"], cast.CALLS, now=NOW)

    assert told["decision"]["cause"] == "waiting_for_wave"
    assert told["decision"]["detail"]["wave"] == "Germany"
    assert told["decision"]["detail"]["invite"] == "open"
    assert [step["step"] for step in told["trace"]] == ["switch", "requirements", "access"]
    assert told["waves"][0]["state"] == "held"
    assert told["windows"][0]["state"] == "open"
    assert told["ruleset"] == current().version
    json.dumps(told)


def test_explain__caller_and_callee__shows_the_exact_cause_that_the_caller_was_not_told(scene: dict[str, Any]) -> None:
    to_bob = explain(scene["alice"], cast.CALLS, now=NOW, callee=scene["bob"])
    to_erin = explain(scene["alice"], cast.CALLS, now=NOW, callee=builders.subscriber())

    assert [row["outcome"] for row in to_bob["refusals"]] == ["callee_opted_out"]
    assert to_erin["refusals"] == []
    assert to_bob["decision"]["cause"] == "granted_by_operator"
    assert to_bob["grant"]["source"] == "operator"


@pytest.mark.parametrize("who", ["+493090189001", "+49 30 9018 9001"])
def test_find_subscriber__number_in_any_spelling_or_id__is_found(scene: dict[str, Any], who: str) -> None:
    assert find_subscriber(who) == scene["bob"]
    assert find_subscriber(str(scene["bob"].id)) == scene["bob"]
    assert find_subscriber("nobody") is None
    assert find_subscriber("+4930000") is None


def test_command__words_and_json__say_the_same(scene: dict[str, Any]) -> None:
    words = run("+493090189001", cast.CALLS)
    told = json.loads(run("+493090189001", cast.CALLS, "--json"))

    assert words.startswith("Bob, voice-calls: no (variant off).")
    assert told["decision"]["words"] in words
    assert "access" in words
    assert "decides" in words


@pytest.mark.parametrize("args", [("+493090180000", "voice-calls"), ("+493090189001", "nothing")])
def test_command__unknown_person_or_feature__says_so(scene: dict[str, Any], args: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match=args[0].replace("+", r"\+") if args[1] == cast.CALLS else "nothing"):
        run(*args)


def test_current_ruleset__sound_one_under_the_number_of_a_refused_one__is_taken() -> None:
    """As after the restore of a backup: numbers are given again."""
    cast.feature()
    row = rulesets.publish(cast.OPERATOR, timezone.now())
    sound = bytes(row.signature)
    Ruleset.objects.filter(pk=row.pk).update(signature=b"\x00" * 64)
    assert current().signature != sound

    Ruleset.objects.filter(pk=row.pk).update(signature=sound)

    assert current().signature == sound
