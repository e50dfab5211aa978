"""The invite tree: as deep as people invited each other, and never deeper than can be shown."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from rollout.models import Grant
from rollout.questions.invite_tree import LEVELS_SHOWN, Branch, invite_tree
from tests.operators import Api, signed_in
from tests.rollout import cast

pytestmark = pytest.mark.django_db


def chain(it: cast.Launch, length: int) -> None:
    """alice brought in somebody, who brought in somebody, and so on."""
    above = it.root
    for depth, person in enumerate(cast.people(length), start=1):
        above = Grant.objects.create(
            feature=it.feature, subscriber=person, source="invite", window=it.window, parent=above, root=it.root.pk,
            depth=depth, call=uuid4(),
        )  # fmt: skip


def levels(branch: Branch) -> int:
    return 1 + max((levels(child) for child in branch.children), default=0)


def levels_told(told: dict[str, Any]) -> int:
    return 1 + max((levels_told(child) for child in told["children"]), default=0)


def test_invite_tree__of_a_chain_of_1200__is_shown_as_far_as_can_be() -> None:
    it = cast.launch()
    chain(it, 1200)

    tree = invite_tree(it.root)
    answer = Api().get(f"features/{cast.CALLS}/invite-tree?root={it.alice.pk}")
    page = signed_in("viewer").get(f"/console/tree/?feature={cast.CALLS}&root={it.alice.pk}")

    assert levels(tree) == LEVELS_SHOWN
    assert tree.below == LEVELS_SHOWN - 1
    assert answer.status_code == 200
    assert levels_told(answer.told) == LEVELS_SHOWN
    assert page.status_code == 200


def test_invite_tree__of_people_side_by_side__counts_everybody_below() -> None:
    it = cast.launch()
    chain(it, 3)
    chain(it, 2)

    tree = invite_tree(it.root)

    assert (levels(tree), tree.below, [child.below for child in tree.children]) == (4, 5, [2, 1])
