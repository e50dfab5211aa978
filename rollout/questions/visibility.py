"""What phones may know of: a feature that isn't announced must not be found in a token or an event either."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.models import Feature


def is_visible(feature: str) -> bool:
    return Feature.objects.filter(key=feature, visible_to_phones=True).exists()


def carried(features: Iterable[Feature]) -> list[Feature]:
    """Those whose grants a token carries: visible ones, and what these need, without which they couldn't be decided."""
    given = list(features)
    if all(feature.visible_to_phones for feature in given):
        return given
    needs = dict(Feature.objects.exclude(prerequisites=[]).values_list("key", "prerequisites"))
    waiting = list(Feature.objects.filter(visible_to_phones=True, key__in=needs).values_list("key", flat=True))
    needed: set[str] = set()
    while waiting:
        for key in needs.get(waiting.pop(), ()):
            if key not in needed:
                needed.add(key)
                waiting.append(key)
    return [feature for feature in given if feature.visible_to_phones or feature.key in needed]
