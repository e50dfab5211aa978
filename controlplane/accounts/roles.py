"""What an operator may do in the console. Roles are groups of Django's; a superuser holds every role.

viewer looks · operator acts (and looks) · auditor reads the audit · admin all.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from controlplane.audit.rules.verbs import Right


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


# Holding one of these is enough.
ENOUGH: dict[Role, frozenset[str]] = {
    Role.VIEWER: frozenset(Role),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.ADMIN}),
    Role.AUDITOR: frozenset({Role.AUDITOR, Role.ADMIN}),
    Role.ADMIN: frozenset({Role.ADMIN}),
}


def roles_of(user: Any) -> frozenset[str]:
    """The names of the user's groups, read once for each loaded user."""
    held: frozenset[str] | None = getattr(user, "_rollcall_roles", None)
    if held is None:
        held = frozenset(user.groups.values_list("name", flat=True))
        user._rollcall_roles = held
    return held


def has_role(user: Any, role: Role) -> bool:
    """Whether the signed-in user may do what the role may. Nobody may without being active staff."""
    if not (getattr(user, "is_active", False) and getattr(user, "is_staff", False)):
        return False
    return bool(user.is_superuser) or bool(roles_of(user) & ENOUGH[role])


def rights_of(user: Any) -> frozenset[Right]:
    """What the signed-in user's actions may do."""
    if has_role(user, Role.ADMIN):
        return frozenset(Right)
    return frozenset({Right.OPERATE}) if has_role(user, Role.OPERATOR) else frozenset()
