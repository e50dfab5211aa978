"""Operators: people who sign in to the console, with roles."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from controlplane.accounts.roles import Role
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput

LEDGERS = {"auditentry", "outbox", "grant", "reservation", "refusal", "callrecord", "measurement", "capacitydecision"}


def ensure_roles() -> None:
    """Every role exists, with the permissions that it has in this version. Safe to run at every start."""
    with transaction.atomic():
        for role in Role:
            group, _ = Group.objects.get_or_create(name=role.value)
            group.permissions.set(_permissions(role))


def create_operator(
    username: str, *, password: str, roles: Iterable[str], actor: Actor, now: datetime, email: str = ""
) -> User:
    """A person who can sign in to the console. Raises BadInput for a taken name, a weak password, an unknown role."""
    chosen = sorted(set(roles))
    unknown = set(chosen) - {role.value for role in Role}
    if unknown or not chosen:
        raise BadInput(f"Choose one or more roles of {', '.join(role.value for role in Role)}.", path="roles")
    user = User(username=username, email=email, is_staff=True, is_superuser=Role.ADMIN in chosen)
    try:
        User.username_validator(username)
        validate_password(password, user)
    except ValidationError as error:
        raise BadInput(" ".join(error.messages), path="password") from error
    with transaction.atomic():
        if User.objects.filter(username=username).exists():
            raise BadInput("Somebody has this user name already. Choose another one.", path="username")
        user.set_password(password)
        user.save()
        user.groups.set(Group.objects.filter(name__in=chosen))
        detail = {"roles": chosen}
        record("operator.created", subject=f"operator:{username}", actor=actor, now=now, detail=detail)
    return user


def _permissions(role: Role) -> list[Permission]:
    """What a role may do in the admin. Ledgers are never changed by hand, by nobody."""
    ours = Q(content_type__app_label__in=["accounts", "audit", "outbox", "rollout", "calls", "console"])
    view = Q(codename__startswith="view_")
    match role:
        case Role.VIEWER | Role.AUDITOR:
            chosen = ours & view
        case Role.OPERATOR:
            planned = Q(content_type__app_label="rollout") & ~Q(content_type__model__in=LEDGERS)
            chosen = ours & (view | planned & (Q(codename__startswith="add_") | Q(codename__startswith="change_")))
        case Role.ADMIN:
            chosen = ours & (view | ~Q(content_type__model__in=LEDGERS)) | Q(content_type__app_label="auth")
    return list(Permission.objects.filter(chosen))
