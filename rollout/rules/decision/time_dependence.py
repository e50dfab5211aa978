"""Whether a ruleset's decisions may change by the passing of time alone: an answer to one that may isn't kept."""

from __future__ import annotations

from rollout.rules.decision.decision import Ruleset
from rollout.rules.definition.audience import AnyOf, Group
from rollout.rules.definition.clause import NOW_TRAIT, Clause


def depends_on_time(ruleset: Ruleset) -> bool:
    """True when any clause, in whatever audience, rule or wave, compares the time of the decision."""
    if any(_depends(any_of) for any_of in ruleset.audiences.values()):
        return True
    for compiled in ruleset.features.values():
        feature = compiled.feature
        if any(_depends(rule.any_of) for rule in feature.rules) or any(_depends(wave.any_of) for wave in feature.waves):
            return True
    return False


def _depends(any_of: AnyOf) -> bool:
    for clauses in any_of:
        for each in clauses:
            if isinstance(each, Clause):
                if each.trait == NOW_TRAIT:
                    return True
            elif isinstance(each, Group) and _depends(each.any_of):
                return True
    return False
