"""What others did to a feature or an audience since somebody read it."""

from __future__ import annotations

from controlplane.audit.models import AuditEntry
from controlplane.audit.rules.words import actor_words, deed_words
from rollout.models import Audience, Feature

MOST_TOLD = 5


def changes_since(thing: Feature | Audience, revision: int) -> str:
    """A sentence: who did what since that revision, the newest first. Each change counts one revision on."""
    subject = f"{thing._meta.model_name}:{thing.key}"
    entries = AuditEntry.objects.filter(subject=subject).order_by("-id")
    told = [_told(entry) for entry in entries[: min(MOST_TOLD, thing.revision - revision)]]
    return f"It was changed meanwhile: {'; '.join(told) or 'by an import or a restore'}."


def _told(entry: AuditEntry) -> str:
    fields = (
        ", ".join(sorted(name.replace("_", " ") for name in entry.detail)) if entry.verb.endswith("changed") else ""
    )
    deed = deed_words(entry.verb, entry.subject)
    return f"{deed} by {actor_words(entry.actor_kind, entry.actor)}{f' ({fields})' if fields else ''}"
