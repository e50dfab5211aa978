"""Whom a request names: a subscriber by id or by number. Numbers are looked up through their keyed hash."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from controlplane.accounts.models import Subscriber
from controlplane.accounts.rules.phone import parse_phone
from controlplane.base.refusal import Refusal


class SubscriberUnknown(Refusal):
    code = "subscriber_unknown"
    status = 404
    title = "There is no such subscriber"


def find_subscriber(named: str, *, path: str = "subscriber") -> Subscriber:
    """The subscriber of an id, or of a phone number in any usual spelling. Raises a Refusal that says which it was."""
    return find_subscribers([named], path=path)[0]


def find_subscribers(named: Sequence[str], *, path: str = "subscribers") -> list[Subscriber]:
    """The subscribers, in the order in which they were named. Raises `SubscriberUnknown` with a path."""
    ids: dict[int, UUID] = {}
    hashes: dict[int, bytes] = {}
    for i, name in enumerate(named):
        name = name.strip()
        try:
            ids[i] = UUID(name)
        except ValueError:
            number = _number(name, f"{path}[{i}]" if len(named) > 1 else path)
            hashes[i] = settings.KEYS.phone_hash(number)
    by_id = Subscriber.objects.in_bulk(ids.values()) if ids else {}
    rows = Subscriber.objects.filter(phone_hash__in=list(hashes.values())) if hashes else []
    by_hash = {bytes(row.phone_hash): row for row in rows}
    found: list[Subscriber] = []
    for i, name in enumerate(named):
        row = by_id.get(ids[i]) if i in ids else by_hash.get(hashes[i])
        if row is None:
            place = f"{path}[{i}]" if len(named) > 1 else path
            which = (
                f"No subscriber has the id {name}." if i in ids else f"Number {i + 1} of {len(named)} isn't registered."
            )
            raise SubscriberUnknown(
                f"{which} People appear here when they register, or by POST /api/subscribers.", extra={"path": place}
            )
        found.append(row)
    return found


def _number(text: str, path: str) -> str:
    try:
        return parse_phone(text, unassigned=settings.ENV.demonstration).e164
    except Refusal as refusal:
        refusal.extra["path"] = path
        raise
