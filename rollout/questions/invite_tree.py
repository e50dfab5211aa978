"""The invite tree: whom a person brought in, and whom those brought in."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from controlplane.accounts.models import Subscriber
from rollout.models import Feature, Grant

LEVELS_SHOWN = 40  # of an invite tree: pages and JSON nest as deep, and neither can go on for ever


@dataclass(frozen=True, slots=True)
class Branch:
    """One person in the invite tree, with those whom they brought in; `below` is how many came in below in all."""

    grant: Grant
    children: tuple[Branch, ...]
    below: int


def invite_tree(root: Grant, *, limit: int = 5000, levels: int = LEVELS_SHOWN) -> Branch:
    """The tree below a grant, level by level, one query a level; `limit` bounds how many people are read, and `levels`
    how deep: what is deeper is seen from a person further down.
    """
    by_parent: dict[int, list[Grant]] = {}
    level, read, depth = [root.pk], 1, 1
    while level and read < limit and depth < levels:
        found = list(
            Grant.objects.filter(parent__in=level)
            .select_related("subscriber", "window")
            .order_by("granted_at")[: limit - read]
        )
        for grant in found:
            assert grant.parent_id is not None
            by_parent.setdefault(grant.parent_id, []).append(grant)
        level = [grant.pk for grant in found]
        read += len(found)
        depth += 1

    def branch(grant: Grant) -> Branch:
        children = tuple(branch(child) for child in by_parent.get(grant.pk, []))
        return Branch(grant, children, sum(1 + child.below for child in children))

    return branch(root)


def invite_roots(feature: Feature, *, limit: int = 50) -> list[tuple[Grant, int]]:
    """Grants that somebody came in below, with how many; the largest branches first."""
    counted = (
        Grant.objects.filter(feature=feature, root__isnull=False)
        .values("root")
        .annotate(n=Count("id"))
        .order_by("-n")[:limit]
    )
    sizes = {row["root"]: row["n"] for row in counted}
    roots = Grant.objects.filter(id__in=[root for root in sizes if root is not None]).select_related("subscriber")
    return sorted(((grant, sizes[grant.pk]) for grant in roots), key=lambda pair: -pair[1])


def live_grant(feature: Feature, subscriber: Subscriber) -> Grant | None:
    """The grant that a person holds, or, when none is live, the last one."""
    rows = Grant.objects.filter(feature=feature, subscriber=subscriber).select_related("subscriber", "window")
    return rows.live().first() or rows.order_by("-id").first()
