"""Using up a limit: counted by one conditional statement, so that a race can't pass it."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.db import connection

from controlplane.accounts.limits import Limit, Limits, limits
from controlplane.accounts.models import LimitUse

# The row's period begins again once it is over; within it, only a use below the cap changes (and so returns) the row.
SPEND = """
INSERT INTO accounts_limituse AS l ("limit", subject, started_at, used) VALUES (%(name)s, %(subject)s, %(now)s, 1)
ON CONFLICT ("limit", subject) DO UPDATE SET
    used = CASE WHEN l.started_at <= %(over)s THEN 1 ELSE l.used + 1 END,
    started_at = CASE WHEN l.started_at <= %(over)s THEN %(now)s ELSE l.started_at END
WHERE l.started_at <= %(over)s OR l.used < %(cap)s
RETURNING used
"""


def current_limits() -> Limits:
    return limits(demonstration=settings.ENV.demonstration, codes_per_day=settings.ENV.codes_per_day)


def spend(limit: Limit, subject: str, *, now: datetime) -> int | None:
    """Counts one use. None when there was one left; otherwise the seconds until there is again, and nothing changed."""
    key = hashlib.blake2b(subject.encode(), key=settings.KEYS.limit, digest_size=16).digest()
    over = now - timedelta(seconds=limit.seconds)
    with connection.cursor() as cursor:
        cursor.execute(SPEND, {"name": limit.name, "subject": key, "now": now, "over": over, "cap": limit.cap})
        if cursor.fetchone():
            return None
    started_at = LimitUse.objects.values_list("started_at", flat=True).get(limit=limit.name, subject=key)
    return max(1, math.ceil((started_at + timedelta(seconds=limit.seconds) - now).total_seconds()))


def address_block(address: str) -> str:
    """Whom an address stands for: an IPv4 address itself, the /64 of an IPv6 one (a household has a whole /64)."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped) if ip.ipv4_mapped else ip.exploded[:19]
    return str(ip)
