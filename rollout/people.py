"""Many subscribers as decisions see them: all of them, or a sample, without asking for each.

Agrees with `rollout_party`, which answers for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection

from rollout.feed import grant_fact
from rollout.rules.area import AreaPlace, area_of
from rollout.rules.decision import GrantFact, Party

CHUNK = 2_000
EXACT_BELOW = 200_000  # above this, counting takes longer than the estimate is wrong

ALL = "SELECT id FROM accounts_subscriber LIMIT %s"
ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'accounts_subscriber'::regclass"
# By pages of the table, the same ones each time while nothing is written, so that two previews can be compared.
SOME = "SELECT id FROM accounts_subscriber TABLESAMPLE SYSTEM (%s) REPEATABLE (1) LIMIT %s"
PEOPLE = """
    SELECT s.id, s.country, s.carrier,
           s.traits || jsonb_build_object('country', s.country, 'carrier', s.carrier, 'kind', s.kind,
               'language', s.language,
               'joined_at', to_char(s.joined_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
           d.platform, d.app_version, d.os_version, d.device_class
    FROM unnest(%s::uuid[]) AS chosen (id)
    JOIN accounts_subscriber s ON s.id = chosen.id
    LEFT JOIN LATERAL (
        SELECT platform, app_version, os_version, device_class FROM accounts_device
        WHERE subscriber_id = s.id AND revoked_at IS NULL ORDER BY seen_at DESC, id LIMIT 1
    ) d ON true
"""
GRANTS = """
    SELECT g.subscriber_id, f.key, g.id, g.source, g.depth, coalesce(g.root, g.id),
           floor(extract(epoch FROM g.granted_at))::bigint, g.state = 'frozen'
    FROM rollout_grant g JOIN rollout_feature f ON f.id = g.feature_id
    WHERE g.subscriber_id = ANY(%s) AND g.state IN ('active', 'frozen')
"""
DEVICE = ("platform", "app_version", "os_version", "device_class")


@dataclass(frozen=True, slots=True)
class Sample:
    """`ids` are those who are looked at, `of` how many there are in all (an estimate when `exact` is False)."""

    ids: Sequence[UUID]
    of: int
    exact: bool

    @property
    def everybody(self) -> bool:
        return len(self.ids) == self.of and self.exact


def choose(most: int) -> Sample:
    """Everybody when there are at most `most`, otherwise about that many, drawn from the table's pages."""
    with connection.cursor() as cursor:
        cursor.execute(ALL, [most + 1])
        ids = [row[0] for row in cursor.fetchall()]
        if len(ids) <= most:
            return Sample(ids, len(ids), exact=True)
        cursor.execute(ESTIMATE)
        estimate = int(cursor.fetchone()[0])
        exact = estimate < EXACT_BELOW
        if exact:
            cursor.execute("SELECT count(*) FROM accounts_subscriber")
            estimate = int(cursor.fetchone()[0])
        cursor.execute(SOME, [min(100.0, 120.0 * most / estimate), most])
        return Sample([row[0] for row in cursor.fetchall()] or ids[:most], estimate, exact)


def parties(ids: Sequence[UUID], areas: tuple[AreaPlace, ...]) -> Iterator[Party]:
    """Each of these subscribers; the areas are those of the ruleset that decides."""
    place = lru_cache(maxsize=4096)(lambda country, carrier: area_of(areas, country, carrier) or "")
    for start in range(0, len(ids), CHUNK):
        chunk = list(ids[start : start + CHUNK])
        with connection.cursor() as cursor:
            cursor.execute(GRANTS, [chunk])
            grants = _grants(cursor.fetchall())
            cursor.execute(PEOPLE, [chunk])
            rows = cursor.fetchall()
        for id, country, carrier, traits, *device in rows:
            known = json.loads(traits) if isinstance(traits, str) else traits
            known["area"] = place(country, carrier)
            if device[0] is not None:
                known.update(zip(DEVICE, device, strict=True))
            yield Party(str(id), known, grants.get(id, {}))


def _grants(rows: Sequence[tuple[Any, ...]]) -> dict[UUID, dict[str, GrantFact]]:
    found: dict[UUID, dict[str, GrantFact]] = {}
    for subscriber, feature, id, source, depth, root, at, frozen in rows:
        raw = {"id": id, "src": source, "depth": depth, "root": root, "at": at, "frozen": frozen}
        found.setdefault(subscriber, {})[feature] = grant_fact(raw)
    return found
