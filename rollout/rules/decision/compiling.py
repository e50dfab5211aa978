"""From a feature's values to the closures that decide it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rollout.rules.decision.decision import NOTHING, Attempt, Cause, Compiled, Decide, Decision, Party, Reason, Seen
from rollout.rules.decision.generating import Row, write
from rollout.rules.decision.grant import Source
from rollout.rules.definition.audience import AnyOf, compile_any_of, explain_any_of
from rollout.rules.definition.bucket import MILLION, bucket
from rollout.rules.definition.clause import Test
from rollout.rules.definition.feature import Access, Feature, Rule, Switch, Wave, WaveState
from rollout.rules.definition.reading import Invalid
from rollout.rules.definition.requirements import Unmet, unmet

MOST_NEEDS = 32
MOST_SHAPES = 150  # half a millisecond each to compile
TO_COME = frozenset({WaveState.DRAFT, WaveState.OPEN, WaveState.HELD})
GRANTED = {source.value: Cause(f"granted_by_{source}") for source in Source}
UNMET = {
    Unmet.UPDATE_REQUIRED: Cause.UPDATE_REQUIRED,
    Unmet.OS_UPDATE_REQUIRED: Cause.OS_UPDATE_REQUIRED,
    Unmet.DEVICE_UNSUPPORTED: Cause.DEVICE_UNSUPPORTED,
}


class Workbench:
    """What compiling a feature needs to know of the ruleset around it: the audiences."""

    def __init__(self, audiences: Mapping[str, AnyOf], tests: Mapping[str, Test]) -> None:
        self.audiences = audiences
        self.tests = tests
        self._shapes: set[str] = set()

    def test(self, any_of: AnyOf, path: str) -> Test:
        return compile_any_of(any_of, self.tests, path)

    def rules(self, salt: str, rows: Sequence[Row]) -> Callable[[Decision | None], Attempt]:
        """The rules as generated code, which answers what it is given when no rule gives anything.

        A ruleset of ever new shapes would take long to compile: once it has had many, further features are put
        together rule by rule, of which there are few shapes.
        """
        if len(self._shapes) < MOST_SHAPES:
            written = write(salt, rows)
            self._shapes.add(written.source)
            return written.with_last
        each = [write(salt, [row]).with_last(None) for row in rows]
        return lambda last: _one_by_one(each, last)

    def explain(self, any_of: AnyOf, party: Party, now: datetime) -> list[list[dict[str, Any]]]:
        return explain_any_of(any_of, party.traits, now, self.audiences, self.tests)


def compile_by_steps(features: Mapping[str, Feature], bench: Workbench) -> Generator[None, None, dict[str, Compiled]]:
    """Every feature, ready to decide; a step each. Raises `Invalid` for circles and unknown needs or audiences."""
    alone = {}
    for key, feature in features.items():
        alone[key] = compile_alone(feature, bench)
        yield
    return {key: _with_needs(alone[key], _flattened(key, features), alone) for key in features}


def _flattened(key: str, features: Mapping[str, Feature]) -> list[str]:
    """All features that this one needs, also through others, the deepest first, each once."""
    order: list[str] = []
    if features[key].prerequisites:
        _visit(key, features, [], order)
    return order[:-1]


def _visit(name: str, features: Mapping[str, Feature], path: list[str], order: list[str]) -> None:
    """`path` leads from the feature asked about to this one; `order` is what is done."""
    asked = path[0] if path else name
    if name in path:
        circle = " → ".join([*path[path.index(name) :], name])
        raise Invalid(f"features.{asked}.prerequisites", f"goes round in a circle: {circle}.")
    if name in order:
        return
    if len(order) + len(path) > MOST_NEEDS:
        raise Invalid(f"features.{asked}.prerequisites", f"needs more than {MOST_NEEDS} features in all.")
    path.append(name)
    for inner in features[name].prerequisites:
        if inner not in features:
            raise Invalid(f"features.{name}.prerequisites", f"names the feature {inner!r}, which is not there.")
        _visit(inner, features, path, order)
    path.pop()
    order.append(name)


def _with_needs(compiled: Compiled, needs: list[str], alone: Mapping[str, Compiled]) -> Compiled:
    if not needs:
        return compiled
    inner = tuple(alone[name] for name in needs)
    feature = compiled.feature

    def attempt(party: Party, now: datetime) -> Decision | None:
        for need in inner:
            decision = need.own(party, now)
            if not decision.enabled:
                detail = {"needs": need.feature.key, "needs_cause": str(decision.cause)}
                return refused(feature, Cause.NEEDS_FEATURE, Reason.DEFAULT, detail)
        return None

    def seen(party: Party, now: datetime) -> Mapping[str, Any]:
        rows = [(need.feature.key, need.own(party, now)) for need in inner]
        return {"needs": [{"feature": k, "enabled": d.enabled, "cause": str(d.cause)} for k, d in rows]}

    at = next((i for i, step in enumerate(compiled.steps) if step[0] == "access"), len(compiled.steps))
    steps = (*compiled.steps[:at], ("prerequisites", attempt, seen), *compiled.steps[at:])
    if at == len(compiled.steps):  # killed or off: already decided before
        return replace(compiled, needs=inner)
    return replace(compiled, steps=steps, decide=_first(steps, compiled.last), needs=inner)


def refused(feature: Feature, cause: Cause, reason: Reason, detail: Mapping[str, Any] = NOTHING) -> Decision:
    return Decision(feature.key, feature.variants[feature.off], feature.off, reason, cause, detail)


def given(
    feature: Feature, variant: str, cause: Cause, reason: Reason, detail: Mapping[str, Any] = NOTHING
) -> Decision:
    return Decision(feature.key, feature.variants[variant], variant, reason, cause, detail)


def compile_alone(feature: Feature, bench: Workbench) -> Compiled:
    """The feature without its prerequisites."""
    steps: list[tuple[str, Attempt, Seen]] = [_switch_step(feature)]
    last: Attempt | None = None
    if feature.switch is Switch.ON:
        if feature.requirements:
            steps.append(_requirements_step(feature))
        if feature.access is Access.RULES:
            rows, default = _rows(feature, bench), refused(feature, Cause.DEFAULT, Reason.DEFAULT)
            generated = bench.rules(feature.salt, rows)
            last = generated(default)
            steps.append(("access", generated(None), _seen_rules(feature, rows, bench)))
            steps.append(("default", _constant(default), _seen_default(feature)))
        else:
            steps.append(_access_step(feature, bench))
    own = _first(steps, last)
    return Compiled(feature=feature, steps=tuple(steps), own=own, decide=own, last=last, audiences=bench.audiences)


def _one_by_one(attempts: Sequence[Attempt], last: Decision | None) -> Attempt:
    def attempt(party: Party, now: datetime) -> Decision | None:
        for each in attempts:
            decision = each(party, now)
            if decision is not None:
                return decision
        return last

    return attempt


def _pass(party: Party, now: datetime) -> None:
    """A step that never decides."""


def _constant(decision: Decision | None) -> Attempt:
    if decision is None:
        return _pass
    return lambda party, now: decision


def _first(steps: Sequence[tuple[str, Attempt, Seen]], last: Attempt | None) -> Decide:
    """The steps in order. `last` stands for access and default at once, where the rules decide.

    Most features have one step that can decide, or two: those pay for no loop.
    """
    attempts = [attempt for _, attempt, _ in steps if attempt is not _pass]
    if last is not None:
        attempts[-2:] = [last]

    def decide(party: Party, now: datetime) -> Decision:
        for attempt in attempts:
            decision = attempt(party, now)
            if decision is not None:
                return decision
        raise AssertionError("the last step of a feature always decides")

    if len(attempts) > 2:
        return decide
    first, second = attempts[0], attempts[-1]
    if len(attempts) == 1:
        return first  # type: ignore[return-value]  # the only step always decides

    def decide_by_two(party: Party, now: datetime) -> Decision:
        return first(party, now) or second(party, now)  # type: ignore[return-value]  # the last step always decides

    return decide_by_two


def _switch_step(feature: Feature) -> tuple[str, Attempt, Seen]:
    decisions = {
        Switch.KILLED: refused(feature, Cause.KILLED, Reason.DISABLED),
        Switch.OFF: refused(feature, Cause.SWITCHED_OFF, Reason.DISABLED),
        Switch.ON: None,
    }
    return "switch", _constant(decisions[feature.switch]), lambda party, now: {"switch": str(feature.switch)}


def _seen_default(feature: Feature) -> Seen:
    return lambda party, now: {"variant": feature.off, "why": "No rule gives the feature."}


def _requirements_step(feature: Feature) -> tuple[str, Attempt, Seen]:
    requirements = feature.requirements

    def attempt(party: Party, now: datetime) -> Decision | None:
        failed = unmet(requirements, party.traits)
        if failed is None:
            return None
        what, needed = failed
        name = "trait" if what is Unmet.DEVICE_UNSUPPORTED else "version"
        return refused(feature, UNMET[what], Reason.DEFAULT, {name: needed})

    def seen(party: Party, now: datetime) -> Mapping[str, Any]:
        platform = party.traits.get("platform")
        lowest = requirements.platforms.get(platform) if isinstance(platform, str) else None
        return {
            "traits": {
                name: party.traits.get(name) for name in ("platform", "app_version", "os_version", "device_class")
            },
            "lowest": {"app": lowest.app, "os": lowest.os} if lowest else None,
            "device_classes": sorted(requirements.device_classes),
            "others": "allow" if requirements.others_allowed else "refuse",
        }

    return "requirements", attempt, seen


def _access_step(feature: Feature, bench: Workbench) -> tuple[str, Attempt, Seen]:
    if feature.access is Access.EVERYONE:
        launched = given(feature, feature.default, Cause.LAUNCHED, Reason.STATIC)
        return "access", _constant(launched), lambda party, now: {"access": "everyone"}
    return "access", *_by_grant(feature, bench)


def _by_grant(feature: Feature, bench: Workbench) -> tuple[Attempt, Seen]:
    key, salt = feature.key, feature.salt
    held = {s: given(feature, feature.default, cause, Reason.TARGETING_MATCH) for s, cause in GRANTED.items()}
    waves = [(wave, bench.test(wave.any_of, f"features.{key}.waves[{i}]")) for i, wave in enumerate(feature.waves)]
    coming = [(wave, test) for wave, test in waves if wave.state in TO_COME]
    invite = {"invite": "open" if feature.windows_open else "closed"}
    waiting = refused(feature, Cause.WAITING_FOR_LAUNCH, Reason.DEFAULT, invite)

    def attempt(party: Party, now: datetime) -> Decision | None:
        grant = party.grants.get(key)
        if grant is not None:
            return held.get(grant.source) or held[Source.OPERATOR]
        if coming and party.subscriber:
            position = bucket(salt, party.subscriber)
            for wave, test in coming:
                if position < wave.share_ppm and test(party.traits, now):
                    return refused(
                        feature, Cause.WAITING_FOR_WAVE, Reason.DEFAULT, turn(wave) | {"bucket": position} | invite
                    )
        return waiting

    def seen(party: Party, now: datetime) -> Mapping[str, Any]:
        grant = party.grants.get(key)
        position = bucket(salt, party.subscriber) if party.subscriber else None
        rows = [
            {
                "wave": wave.name,
                "state": str(wave.state),
                "share_ppm": wave.share_ppm,
                "within_share": position is not None and position < wave.share_ppm,
                "in_audience": bool(test(party.traits, now)),
                "any_of": bench.explain(wave.any_of, party, now),
            }
            for wave, test in waves
        ]
        fact = grant and {"id": grant.id, "source": grant.source, "depth": grant.depth, "frozen": grant.frozen}
        return {"access": "granted", "grant": fact, "bucket": position, "waves": rows, **invite}

    return attempt, seen


def turn(wave: Wave) -> dict[str, Any]:
    """What somebody who waits for a wave is told of it."""
    return {"wave": wave.name, "wave_position": wave.position, "wave_state": str(wave.state)}


def _rows(feature: Feature, bench: Workbench) -> list[Row]:
    return [
        Row(
            any_of=rule.any_of,
            test=bench.test(rule.any_of, f"features.{feature.key}.rules[{i}]"),
            share_ppm=rule.share_ppm,
            outcomes=outcomes_of(feature, rule, i),
            weights_ppm=rule.weights_ppm,
        )
        for i, rule in enumerate(feature.rules)
    ]


def _seen_rules(feature: Feature, rows: Sequence[Row], bench: Workbench) -> Seen:
    salt = feature.salt

    def seen(party: Party, now: datetime) -> Mapping[str, Any]:
        position = bucket(salt, party.subscriber) if party.subscriber else None
        told = [
            {
                "rule": rule.name or f"rule {i + 1}",
                "in_audience": bool(rows[i].test(party.traits, now)),
                "share_ppm": rule.share_ppm,
                "within_share": rule.share_ppm == MILLION or (position is not None and position < rule.share_ppm),
                "any_of": bench.explain(rule.any_of, party, now),
            }
            for i, rule in enumerate(feature.rules)
        ]
        return {"access": "rules", "bucket": position, "rules": told}

    return seen


def outcomes_of(feature: Feature, rule: Rule, index: int) -> list[Decision]:
    """What a rule (counted from 0) gives: one decision for each of its variants."""
    if len(rule.variants) > 1 or rule.share_ppm != MILLION:
        reason = Reason.SPLIT
    else:
        reason = Reason.TARGETING_MATCH if rule.any_of else Reason.STATIC
    detail = {"rule": rule.name or f"rule {index + 1}", "rule_position": index + 1}
    return [given(feature, variant, Cause.RULE, reason, detail) for variant in rule.variants]
