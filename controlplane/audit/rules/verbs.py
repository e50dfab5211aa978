"""Every verb that the audit knows: whether it narrows or widens who has something, and the right that it takes.

This is the one list: actions are held to it when they record, and pages and REST read from it what needs a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Right(StrEnum):
    OPERATE = "operate"
    MANAGE = "manage"


class Effect(StrEnum):
    """What may become of those who have something: fewer, more, or the same ones."""

    NARROWS = "narrows"
    WIDENS = "widens"
    KEEPS = "keeps"


NEEDED: Mapping[Right, str] = {
    Right.OPERATE: "the role operator, or an API key with the scope operate",
    Right.MANAGE: "the role admin",
}

_BY_EFFECT: Mapping[Effect, str] = {
    Effect.NARROWS: (
        "feature.switched_off feature.killed window.closed wave.held grant.frozen grant.revoked"
        " area.held area.capacity_unknown api_key.revoked device.revoked subscriber.deleted subscriber.recycled"
    ),
    Effect.WIDENS: (
        "feature.switched_on feature.unkilled feature.launched feature.access_set feature.changed feature.imported"
        " feature.restored audience.changed audience.imported audience.restored window.opened wave.opened wave.resumed"
        " grants.given grant.thawed area.changed area.resumed api_key.created"
        " operator.created operator.changed role.changed"
    ),
    Effect.KEEPS: (
        "feature.created audience.created audience.deleted window.created window.reported wave.created wave.done"
        " area.created subscribers.imported ruleset.published session.opened session.refused"
    ),
}
EFFECTS: Mapping[str, Effect] = {verb: effect for effect, verbs in _BY_EFFECT.items() for verb in verbs.split()}
_RIGHTS: Mapping[str, Right | None] = {"operator": Right.MANAGE, "role": Right.MANAGE, "session": None}


def right_for(verb: str) -> Right | None:
    """The right that doing this takes; None for signing in. Raises KeyError for a verb that isn't listed."""
    if verb not in EFFECTS:
        raise KeyError(f"{verb} isn't in controlplane/audit/rules/verbs.py: list it there.")
    return _RIGHTS.get(verb.partition(".")[0], Right.OPERATE)


def narrows(verb: str) -> bool:
    return EFFECTS[verb] is Effect.NARROWS


def widens(verb: str) -> bool:
    return EFFECTS[verb] is Effect.WIDENS
