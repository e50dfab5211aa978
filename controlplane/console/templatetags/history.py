"""Tags of the pages of audiences and rulesets."""

from __future__ import annotations

from typing import Any

from django import template

from rollout.models import Audience, Ruleset
from rollout.questions.audiences import uses
from rollout.questions.rulesets import compared
from rollout.rules.ruleset.difference import summary

register = template.Library()
MOST_SHOWN = 200


@register.simple_tag
def used_by(audience: Audience) -> list[str]:
    """Every place that names the audience."""
    return uses(audience.key)


@register.simple_tag
def changes_of(ruleset: Ruleset) -> dict[str, Any]:
    """What differs from the version before."""
    earlier = Ruleset.objects.filter(version__lt=ruleset.version).order_by("-version")
    before = earlier.values_list("version", flat=True).first() or 0
    changes = compared(before, ruleset.version)
    return {
        "before": before,
        "summary": summary(changes),
        "changes": changes[:MOST_SHOWN],
        "left_out": max(0, len(changes) - MOST_SHOWN),
    }
