"""Waves: from draft to done, in batches, as far as the areas' allowance reaches."""

from __future__ import annotations

import json
import random
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from controlplane.accounts.models import Subscriber
from controlplane.audit.models import AuditEntry
from controlplane.base.refusal import BadInput, NotFound
from controlplane.outbox.models import Outbox
from rollout.actions import narrowing, rulesets
from rollout.actions.grants import revoke_grant
from rollout.actions.waves import Admission, admit, create_wave, hold_wave, open_wave, resume_wave
from rollout.errors import FeatureUnknown, WaveNotMovable
from rollout.models import Allowance, Area, Feature, Grant, Ruleset, Wave
from rollout.questions.evaluate import current, find_people
from rollout.rules.decision.decision import Cause, decide
from rollout.rules.definition.bucket import bucket
from tests import builders
from tests.rollout import cast
from tests.rollout.cast import OPERATOR

pytestmark = pytest.mark.django_db


def made(**fields: Any) -> Wave:
    values = {"name": "First wave", "actor": OPERATOR, "now": timezone.now(), **fields}
    return create_wave(cast.CALLS, **values)


def opened(**fields: Any) -> Wave:
    return open_wave(made(**fields).pk, actor=OPERATOR, now=timezone.now())


def run(wave: Wave, *, batch: int = 500) -> Admission:
    return admit(wave.pk, now=timezone.now(), batch=batch)


def granted(key: str = cast.CALLS) -> set[UUID]:
    return set(Grant.objects.live().filter(feature__key=key).values_list("subscriber_id", flat=True))


def refill(remaining: int, **of_area: Any) -> None:
    """What the controller does at its next tick."""
    for allowance in Allowance.objects.all():
        allowance.remaining = remaining
        allowance.minted_total += remaining
        allowance.valid_until = cast.shortly(30)
        allowance.save()
    if of_area:
        Area.objects.update(**of_area)


def test_wave__opened__admits_everybody_and_is_done() -> None:
    cast.feature()
    cast.area()
    crowd = cast.people(7)
    wave = opened()

    told = run(wave, batch=3)

    assert told == Admission(admitted=7, done=True)
    wave.refresh_from_db()
    assert (wave.state, wave.admitted, wave.cursor, wave.standstill) == ("done", 7, None, "")
    grants = Grant.objects.filter(wave=wave)
    assert {grant.subscriber_id for grant in grants} == {one.pk for one in crowd}
    assert {(grant.source, grant.depth, grant.root) for grant in grants} == {("wave", 0, None)}
    announced = Outbox.objects.filter(kind="grants.created").values_list("payload", flat=True)
    assert sorted(n for payload in announced for n in payload["grants"]) == sorted(grant.pk for grant in grants)
    assert Allowance.objects.get().spent_total == 7
    assert cast.faults_in_books() == []
    assert AuditEntry.objects.get(verb="wave.done").detail == {"admitted": 7}
    latest = Ruleset.objects.order_by("-version").first()
    assert latest is not None
    assert json.loads(bytes(latest.body))["features"][cast.CALLS]["waves"][0]["state"] == "done"


def test_wave__with_audience_and_share__admits_exactly_those() -> None:
    feature = cast.feature()
    cast.area()
    cast.area(key="FR")
    germans, french = cast.people(30), cast.people(5, country="FR")
    germany = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]

    run(opened(any_of=germany, share_ppm=500_000))

    expected = {one.pk for one in germans if bucket(feature.salt, str(one.pk)) < 500_000}
    assert set(Grant.objects.values_list("subscriber_id", flat=True)) == expected
    assert 0 < len(expected) < 30
    assert not expected & {one.pk for one in french}


def test_wave__raised_later__keeps_who_is_in_and_adds_the_rest() -> None:
    cast.feature()
    cast.area()
    cast.people(20)
    run(opened(share_ppm=300_000))
    first = set(Grant.objects.values_list("pk", flat=True))

    told = run(opened(name="Second wave", share_ppm=1_000_000))

    assert told.admitted == 20 - len(first)
    assert first < set(Grant.objects.values_list("pk", flat=True))
    assert cast.faults_in_books() == []


def test_wave__with_requirements__passes_over_old_phones_but_waits_for_nobody() -> None:
    cast.feature(requirements={"platforms": {"android": {"app": "2.12.0"}}})
    cast.area()
    old, new, both, _ = cast.people(4)
    builders.device(old, app_version="2.11.0")
    builders.device(new, app_version="2.12.0")

    builders.device(both, app_version="2.12.0", seen_at=builders.NOON)
    builders.device(both, app_version="2.11.0")

    told = run(opened())

    assert told.done
    assert granted() == {new.pk, both.pk}, "without a device, nobody meets what is asked"


def test_wave__in_a_held_area__stands_still_in_whole_words() -> None:
    cast.feature()
    words = "DE is held – 17 of 20 calls, 85 %; admission resumes below 64 %."
    cast.area(state="hold", reason=words, remaining=0)
    cast.people(4)
    wave = opened()

    told = run(wave)

    wave.refresh_from_db()
    assert told == Admission(standstill=f"{words}")
    assert (wave.state, wave.admitted, wave.passed_over, wave.standstill) == ("open", 0, 4, told.standstill)
    assert not Grant.objects.exists()


def test_wave__after_the_hold__goes_on_and_completes() -> None:
    cast.feature()
    cast.area(state="hold", reason="DE is held.", remaining=0)
    cast.people(4)
    wave = opened()
    run(wave)

    refill(100, state="ramp")
    told = run(wave)

    wave.refresh_from_db()
    assert told == Admission(admitted=4, done=True)
    assert (wave.state, wave.standstill) == ("done", "")


def test_wave__with_less_allowance_than_people__admits_as_many_and_waits_for_the_next_portion() -> None:
    cast.feature()
    cast.area(remaining=5)
    cast.people(12)
    wave = opened()

    assert run(wave, batch=4).admitted == 5
    assert run(wave, batch=4).admitted == 0
    wave.refresh_from_db()
    assert wave.standstill == "DE takes in 250 people every 15 s, and this portion is used up."
    for _ in range(4):
        refill(5)
        run(wave, batch=4)

    wave.refresh_from_db()
    assert (wave.state, wave.admitted) == ("done", 12)
    assert Allowance.objects.get().spent_total == 12
    assert cast.faults_in_books() == []


def test_wave__over_two_areas__is_not_stopped_by_the_held_one() -> None:
    cast.feature()
    cast.area(state="hold", reason="DE is held.", remaining=0)
    cast.area(key="FR")
    cast.people(3)
    french = cast.people(3, country="FR")
    wave = opened()

    run(wave, batch=2)
    told = run(wave, batch=2)

    assert set(Grant.objects.values_list("subscriber_id", flat=True)) == {one.pk for one in french}
    assert told.standstill == "DE is held."
    wave.refresh_from_db()
    assert wave.state == "open"


def test_wave__over_people_without_an_area__says_what_is_missing() -> None:
    cast.feature()
    cast.people(2, country="BR")

    assert run(opened()).standstill == ("2 people live where no area is set up: add an area that covers them.")


def test_wave__with_an_allowance_that_ran_out_of_time__admits_nobody() -> None:
    cast.feature()
    cast.area()
    cast.people(1)
    Allowance.objects.update(valid_until=cast.shortly(-1))

    assert run(opened()).admitted == 0


@pytest.mark.parametrize("switch", ["off", "killed"])
def test_wave__of_a_feature_that_is_not_on__stands_still(switch: str) -> None:
    cast.feature()
    cast.area()
    cast.people(1)
    wave = opened()
    Feature.objects.update(switch=switch)

    assert run(wave).standstill == f"Voice calls is {switch}."
    assert not Grant.objects.exists()


def test_wave__of_nobody__is_done_at_once() -> None:
    cast.feature()

    assert run(opened()).done


def test_batch__sent_twice__counts_once() -> None:
    cast.feature()
    cast.area()
    crowd = cast.people(3)
    wave = opened()
    batch = (wave.pk, [one.pk for one in crowd], None, crowd[-1].pk, False)

    first, again = (
        cast.loaded(cast.ask("SELECT rollout_admit(%s, %s::uuid[], %s, %s, %s)", *batch)[0]) for _ in range(2)
    )

    assert (first["outcome"], first["admitted"]) == ("ok", 3)
    assert (again["outcome"], again["admitted"]) == ("moved", 0)
    assert Wave.objects.get().admitted == 3
    assert cast.faults_in_books() == []


def test_wave__held_and_resumed__admits_only_while_open() -> None:
    cast.feature()
    cast.area()
    cast.people(2)
    wave = opened()
    held = hold_wave(wave.pk, actor=OPERATOR, now=timezone.now(), reason="poor calls in DE")

    assert (held.state, held.held_by) == ("held", "olga: poor calls in DE")
    assert run(wave) == Admission()
    resume_wave(wave.pk, actor=OPERATOR, now=timezone.now())

    assert run(wave) == Admission(admitted=2, done=True)
    verbs = AuditEntry.objects.filter(verb__startswith="wave.").order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["wave.created", "wave.opened", "wave.held", "wave.resumed", "wave.done"]


def test_hold__when_the_ruleset_can_t_be_published__holds_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the ruleset does not compile")

    cast.feature()
    wave = opened()
    monkeypatch.setattr(narrowing, "publish", broken)

    hold_wave(wave.pk, actor=OPERATOR, now=timezone.now())

    assert Wave.objects.get().state == "held"


def test_verbs__out_of_turn__are_refused_and_change_nothing() -> None:
    cast.feature()
    wave = made()

    for verb in (hold_wave, resume_wave):
        with pytest.raises(WaveNotMovable):
            verb(wave.pk, actor=OPERATOR, now=timezone.now())
    with pytest.raises(NotFound):
        open_wave(wave.pk + 1, actor=OPERATOR, now=timezone.now())
    assert Wave.objects.get().state == "draft"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"share_ppm": 1_000_001}, "share_ppm"),
        ({"share_ppm": -1}, "share_ppm"),
        ({"any_of": [[{"trait": "country"}]]}, "any_of"),
        ({"any_of": [[{"trait": "country", "operator": "GUESS", "values": ["DE"]}]]}, "any_of"),
        ({"any_of": [[{"audience": "nobody-made-this"}]]}, "any_of"),
        ({"position": 1}, "position"),
    ],
)
def test_create_wave__with_what_can_t_be__says_which(fields: dict[str, Any], path: str) -> None:
    cast.feature()
    made()

    with pytest.raises(BadInput) as refused:
        made(**fields)

    assert refused.value.extra["path"].startswith(path)
    assert Wave.objects.count() == 1


def test_create_wave__without_a_position__stands_last() -> None:
    cast.feature()

    assert [made().position, made(position=7).position, made().position] == [1, 7, 8]
    with pytest.raises(FeatureUnknown):
        create_wave("telepathy", name="x", actor=OPERATOR, now=timezone.now())


@pytest.mark.parametrize(("taken", "admitted"), [(True, 2), (False, 3)])
def test_wave__person_whose_grant_was_revoked__is_left_alone(taken: bool, admitted: int) -> None:
    feature = cast.feature()
    cast.area()
    crowd = cast.people(3)
    if taken:
        grant = Grant.objects.create(feature=feature, subscriber=crowd[0], source="operator")
        revoke_grant(grant.pk, actor=OPERATOR, now=timezone.now(), reason="Abuse.")

    told = run(opened())

    assert told == Admission(admitted=admitted, done=True)
    assert Grant.objects.live().filter(subscriber=crowd[0]).exists() is not taken


def test_wave__of_a_feature_that_needs_another__admits_only_those_who_have_that() -> None:
    voice = cast.feature(key="voice")
    cast.feature(prerequisites=["voice"])
    cast.area()
    crowd = cast.people(4)
    for person in crowd[:2]:
        cast.grant(voice, person)
    wave = opened()

    Feature.objects.filter(pk=voice.pk).update(switch="killed")
    rulesets.publish(OPERATOR, timezone.now())
    assert run(wave) == Admission(standstill="voice is killed.")
    Feature.objects.filter(pk=voice.pk).update(switch="on")
    rulesets.publish(OPERATOR, timezone.now())
    told = run(wave)

    assert told == Admission(admitted=2, done=True)
    assert granted() == {person.pk for person in crowd[:2]}
    assert Allowance.objects.get().spent_total == 2


CLAUSES = [
    {"trait": "area", "operator": "IN", "values": ["DE", ""]},
    {"trait": "area", "operator": "IN", "values": ["FR"]},
    {"trait": "carrier", "operator": "IN", "values": [""]},
    {"trait": "carrier", "operator": "NOT_IN", "values": ["262-03"]},
    {"trait": "platform", "operator": "IN", "values": ["ios", ""]},
    {"trait": "app_version", "operator": "SEMVER_GTE", "values": ["2.12.0"]},
    {"trait": "network_class", "operator": "NOT_IN", "values": ["3g"]},
    {"trait": "joined_at", "operator": "DATE_BEFORE", "values": ["2026-03-14T12:00:01Z"]},
    {"trait": "plan", "operator": "IN", "values": ["gold"], "inverted": True},
]


@pytest.mark.parametrize("seed", range(12))
def test_wave__of_random_people_and_clauses__admits_those_who_are_told_that_they_are_in_it(seed: int) -> None:
    draw = random.Random(seed)
    voice = cast.feature(key="voice", access=draw.choice(["granted", "everyone"]))
    ask = draw.choice([{}, {"platforms": {"android": {"app": "2.12.0"}}}, {"device_classes": ["high"]}])
    cast.feature(prerequisites=draw.choice([[], ["voice"]]), requirements=ask)
    cast.area()
    cast.area(key="FR")
    for _ in range(40):
        person = builders.subscriber(
            country=draw.choice(["DE", "FR", "BR"]),
            carrier=draw.choice(["", "262-03"]),
            traits=draw.choice([{}, {"plan": "gold"}, {"plan": ["odd"], "platform": "ios"}]),
        )
        for _ in range(draw.choice([0, 1, 1, 2])):
            platform, version = draw.choice(["android", "ios"]), draw.choice(["2.11.0", "2.12.0", ""])
            builders.device(person, platform=platform, app_version=version, device_class=draw.choice(["mid", "high"]))
        if draw.random() < 0.5:
            cast.grant(voice, person)
    any_of = [draw.sample(CLAUSES, draw.choice([1, 2])) for _ in range(draw.choice([0, 1, 2]))]
    wave = opened(any_of=any_of, share_ppm=draw.choice([1_000_000, 500_000]))
    crowd, ruleset, now = find_people(list(Subscriber.objects.values_list("pk", flat=True))), current(), timezone.now()
    told = {
        UUID(person.id)
        for person in crowd
        for party in person.parties()
        if decide(ruleset, cast.CALLS, party, now).cause is Cause.WAITING_FOR_WAVE
    }

    run(wave, batch=7)

    nowhere = set(Subscriber.objects.filter(country="BR").values_list("pk", flat=True))
    assert granted() == told - nowhere
    has = {
        UUID(person.id)
        for person in find_people([*granted()])
        for party in person.parties()
        if decide(current(), cast.CALLS, party, now).enabled
    }
    assert has == granted()
