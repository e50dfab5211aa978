"""Every verb of the console, by kind of thing: the one list that buttons and the confirmation page read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model

from controlplane.accounts.models import ApiKey
from controlplane.actions import keys
from controlplane.audit.record import Actor
from rollout.console.verbs import (
    FEATURE_VERBS,
    GRANT_VERBS,
    RULESET_VERBS,
    WAVE_VERBS,
    WINDOW_VERBS,
    Verb,
    WideningForm,
)
from rollout.models import Feature, Grant, Ruleset, Wave, Window


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing that has verbs; `page` names its page in the console."""

    model: type[Model]
    verbs: tuple[Verb, ...]
    page: str
    noun: str


def _revoke_key(thing: ApiKey, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
    keys.withdraw(thing.pk, actor=actor, reason=data["reason"], now=now)
    return f"The API key “{thing.name}” is revoked."


def _preview_revoke_key(thing: ApiKey, running: int) -> list[str]:
    return ["Whoever uses this key is refused within seconds. A revoked key can't be taken back into use."]


KEY_VERBS = (
    Verb("revoke", "Revoke", "danger", lambda key: key.revoked_at is None, _preview_revoke_key, _revoke_key,
         WideningForm),
)  # fmt: skip

KINDS: dict[str, Kind] = {
    "feature": Kind(Feature, FEATURE_VERBS, "admin:rollout_feature_change", "feature"),
    "window": Kind(Window, WINDOW_VERBS, "admin:rollout_window_change", "window"),
    "wave": Kind(Wave, WAVE_VERBS, "admin:rollout_wave_change", "wave"),
    "grant": Kind(Grant, GRANT_VERBS, "admin:rollout_grant_change", "grant"),
    "ruleset": Kind(Ruleset, RULESET_VERBS, "admin:rollout_ruleset_change", "ruleset"),
    "key": Kind(ApiKey, KEY_VERBS, "admin:accounts_apikey_change", "API key"),
}


def offered(kind: str, thing: Any) -> list[Verb]:
    """The verbs that make sense for the thing as it is."""
    return [verb for verb in KINDS[kind].verbs if verb.offered(thing)]


def find(kind: str, key: str) -> Verb | None:
    return next((verb for verb in KINDS[kind].verbs if verb.key == key), None)
