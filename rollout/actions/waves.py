"""Waves: made, opened, held and resumed by operators; admitted in batches, as allowance allows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from celery import current_app
from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef

from controlplane.accounts.models import Subscriber
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput, NotFound
from controlplane.base.wording import shown
from controlplane.outbox.actions import nudge
from rollout.actions.evidence import config_of
from rollout.actions.narrowing import publish_afterwards
from rollout.actions.rulesets import publish
from rollout.errors import FeatureUnknown, GrantsIgnored, WaveNotMovable
from rollout.models import Area, AreaState, Audience, Feature, Grant, Switch, Wave, WaveState
from rollout.questions.evaluate import current, find_people
from rollout.rules.bulk.headcount import as_wave, in_wave
from rollout.rules.bulk.table import table_of
from rollout.rules.capacity.controller import portion
from rollout.rules.decision.decision import Compiled
from rollout.rules.definition.audience import compile_any_of, compile_audiences, parse_any_of
from rollout.rules.definition.bucket import MILLION
from rollout.rules.definition.clause import Test
from rollout.rules.definition.feature import Access
from rollout.rules.definition.reading import Invalid
from rollout.rules.limits import WAVE_BATCH, WAVE_BATCHES_PER_RUN, WAVES_PER_FEATURE
from rollout.rules.spread.standing import grants_ignored
from rollout.rules.spread.wave import Verb, Waiting, allowance_spent, move, standstill

log = structlog.get_logger(__name__)

ADMIT = "rollout.tasks.admit_wave"
ADMISSION = Actor.automatic("wave admission")


@transaction.atomic
def create_wave(
    feature: str,
    *,
    name: str,
    any_of: Sequence[Any] = (),
    share_ppm: int = MILLION,
    position: int | None = None,
    actor: Actor,
    now: datetime,
    reason: str = "",
) -> Wave:
    """A draft at the end of the feature's plan, or at a free position. Raises `NotFound` and `BadInput`."""
    owner = Feature.objects.select_for_update(no_key=True).filter(key=feature).first()
    if owner is None:
        raise FeatureUnknown(feature)
    if not 0 <= share_ppm <= MILLION:
        raise BadInput(f"A share is from 0 to {MILLION:,} parts per million.", path="share_ppm")
    try:
        compile_any_of(parse_any_of(list(any_of), "any_of"), _audiences())
    except Invalid as error:
        raise BadInput(str(error), path="any_of") from error
    taken = owner.waves.aggregate(last=Max("position"))["last"]
    place = position if position is not None else (taken or 0) + 1
    if owner.waves.filter(position=place).exists():
        raise BadInput(f"Position {place} of the plan is taken; choose a free one.", path="position")
    if owner.waves.count() >= WAVES_PER_FEATURE:
        raise BadInput(f"A plan has at most {WAVES_PER_FEATURE} waves.", path="feature")
    wave = Wave(
        feature=owner, position=place, name=shown(name.strip()[:100], "name") or f"Wave {place}", any_of=list(any_of)
    )
    wave.share_ppm = share_ppm
    wave.save()
    detail = {"feature": feature, "position": place, "any_of": list(any_of), "share_ppm": share_ppm}
    record("wave.created", subject=_subject(wave), actor=actor, now=now, reason=reason, detail=detail)
    publish(actor, now, f"Created the wave “{wave.name}”")
    return wave


def open_wave(wave_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Wave:
    """People come in from now on, as capacity allows. Raises `NotFound`, `WaveNotMovable`, `GrantsIgnored`."""
    with transaction.atomic():
        wave = _move(wave_id, Verb.OPEN, "wave.opened", actor=actor, now=now, reason=reason)
        publish(actor, now, f"Opened the wave “{wave.name}”")
    return wave


def hold_wave(wave_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Wave:
    """Nobody else comes in from the commit on; who is in stays. Raises `NotFound`, `WaveNotMovable`."""
    wave = _move(wave_id, Verb.HOLD, "wave.held", actor=actor, now=now, reason=reason)
    publish_afterwards(actor, now=now, note=f"Held the wave “{wave.name}”")
    return wave


def resume_wave(wave_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Wave:
    """Admission goes on where it was held. Raises `NotFound`, `WaveNotMovable`, `GrantsIgnored`."""
    with transaction.atomic():
        wave = _move(wave_id, Verb.RESUME, "wave.resumed", actor=actor, now=now, reason=reason)
        publish(actor, now, f"Resumed the wave “{wave.name}”")
    return wave


@transaction.atomic
def _move(wave_id: int, verb: Verb, entry: str, *, actor: Actor, now: datetime, reason: str) -> Wave:
    wave = Wave.objects.select_for_update(no_key=True).filter(pk=wave_id).first()
    if wave is None:
        raise NotFound(f"There is no wave {wave_id}.")
    state = move(WaveState(wave.state), verb)
    if state is None:
        raise WaveNotMovable(f"“{wave.name}” is {wave.state}: there is nothing to {verb}.")
    ignored = grants_ignored(wave.feature.name, Access(wave.feature.access))
    if ignored and state is WaveState.OPEN:
        raise GrantsIgnored(ignored)
    wave.state = state
    wave.held_by = f"{actor.name}: {reason}".removesuffix(": ")[:200] if verb is Verb.HOLD else ""
    if verb is Verb.OPEN:
        wave.opened_at = now
    wave.standstill = ""
    wave.save(update_fields=["state", "held_by", "opened_at", "standstill"])
    record(entry, subject=_subject(wave), actor=actor, now=now, reason=reason)
    if wave.state == WaveState.OPEN:
        transaction.on_commit(lambda: nudge_wave(wave_id))
    return wave


def nudge_wave(wave_id: int) -> None:
    """Asks a worker to admit the wave's people. Failing is no harm: every tick of an area asks again."""
    try:
        current_app.send_task(ADMIT, args=[wave_id], queue="bulk", ignore_result=True, retry=False, expires=30)
    except Exception as error:
        log.warning("wave.nudge_failed", wave=wave_id, error=type(error).__name__)


def nudge_open_waves() -> int:
    """Asks for every open wave. Returns how many there are."""
    waves = list(Wave.objects.filter(state=WaveState.OPEN).order_by("id").values_list("id", flat=True))
    for each in waves:
        nudge_wave(each)
    return len(waves)


@dataclass(frozen=True, slots=True)
class Admission:
    """What one run of a wave did. `more` says that it stopped only to let others have a turn."""

    admitted: int = 0
    done: bool = False
    more: bool = False
    standstill: str = ""


def admit(wave_id: int, *, now: datetime, batch: int = WAVE_BATCH) -> Admission:
    """Admits people in batches until the pass is over, or the allowance, or this run's share of the worker.

    Safe to run twice, also at the same time: a batch counts only from the cursor that it was read from.
    """
    admitted = 0
    waiting: Counter[str] = Counter()
    for _ in range(WAVE_BATCHES_PER_RUN):
        wave = Wave.objects.select_related("feature").filter(pk=wave_id, state=WaveState.OPEN).first()
        if wave is None:
            return Admission(admitted)
        compiled = current().features.get(wave.feature.key)
        if compiled is None:
            return _stand(wave_id, admitted, f"{wave.feature.name} isn't published.")
        needs = {need.feature.key: need.feature.switch for need in compiled.needs}
        for name, switch in {wave.feature.name: wave.feature.switch, **needs}.items():
            if switch != Switch.ON:
                return _stand(wave_id, admitted, f"{name} is {switch}.")
        if ignored := grants_ignored(wave.feature.name, Access(wave.feature.access)):
            return _stand(wave_id, admitted, ignored)
        outcome, end = _admit_batch(wave, compiled, now=now, batch=batch)
        admitted += outcome["admitted"]
        waiting.update(outcome["waiting"])
        if outcome["outcome"] == "done":
            _finish(wave, now=now)
            return Admission(admitted, done=True)
        if outcome["outcome"] != "ok":
            return Admission(admitted)
        # A pass that began in an earlier run may end here without having met those who wait: then the next one begins.
        if waiting and (end or (not outcome["admitted"] and not _any_allowance(now))):
            words = "" if admitted else standstill(_reasons(waiting))
            return _stand(wave_id, admitted, words)
    return Admission(admitted, more=True)


def _admit_batch(wave: Wave, compiled: Compiled, *, now: datetime, batch: int) -> tuple[dict[str, Any], bool]:
    """One batch in one transaction: the answer of rollout_admit, and whether the pass ended with it."""
    settled = Grant.objects.settled().filter(feature=wave.feature, subscriber=OuterRef("pk"))
    rest = Subscriber.objects.filter(~Exists(settled)).order_by("id")
    if wave.cursor is not None:
        rest = rest.filter(id__gt=wave.cursor)
    ids = list(rest.values_list("id", flat=True)[:batch])
    chosen = _members(wave, compiled, ids, now)
    end = len(ids) < batch
    last: UUID | None = ids[-1] if ids else wave.cursor
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT rollout_admit(%s, %s::uuid[], %s, %s, %s)", [wave.pk, chosen, wave.cursor, last, end])
        (answer,) = cursor.fetchone()
        transaction.on_commit(nudge)
    return (json.loads(answer) if isinstance(answer, str) else answer), end


def _members(wave: Wave, compiled: Compiled, ids: Sequence[UUID], now: datetime) -> list[UUID]:
    """Whom of these people the wave is for. Of several devices, one that gives them the feature is enough."""
    parties = [party for person in find_people(ids) for party in person.parties()]
    if not parties:
        return []
    asked = as_wave(compiled, parse_any_of(wave.any_of, "any_of", strict=False), wave.share_ppm)
    chosen = zip(parties, in_wave(asked, table_of(parties), now), strict=True)
    return [UUID(each) for each in dict.fromkeys(party.subscriber for party, is_in in chosen if is_in)]


def _audiences() -> dict[str, Test]:
    return compile_audiences(
        {each.key: parse_any_of(each.any_of, f"audiences.{each.key}", strict=False) for each in Audience.objects.all()}
    )


def _any_allowance(now: datetime) -> bool:
    return Area.objects.filter(
        state=AreaState.RAMP, allowance__remaining__gt=0, allowance__valid_until__gt=now
    ).exists()


def _reasons(waiting: Counter[str]) -> list[Waiting]:
    areas = {area.key: area for area in Area.objects.filter(key__in=list(waiting))}
    found = []
    for key, people in sorted(waiting.items()):
        area = areas.get(key)
        reason = area.reason if area else ""
        if area and area.state == AreaState.RAMP:
            reason = allowance_spent(area.name, portion(config_of(area)), area.tick_seconds)
        found.append(Waiting(key, people, reason))
    return found


def _stand(wave_id: int, admitted: int, words: str) -> Admission:
    Wave.objects.filter(pk=wave_id, state=WaveState.OPEN).exclude(standstill=words).update(standstill=words)
    return Admission(admitted, standstill=words)


@transaction.atomic
def _finish(wave: Wave, *, now: datetime) -> None:
    Wave.objects.filter(pk=wave.pk).update(standstill="")
    wave.refresh_from_db()
    detail = {"admitted": wave.admitted}
    record("wave.done", subject=_subject(wave), actor=ADMISSION, now=now, reason="Nobody is left.", detail=detail)
    publish(ADMISSION, now, f"The wave “{wave.name}” is done")


def _subject(wave: Wave) -> str:
    return f"wave:{wave.pk} {wave.name}"
