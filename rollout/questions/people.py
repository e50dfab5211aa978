"""Many subscribers as decisions see them, in columns: all of them, or a sample, for `evaluate_many`.

PostgreSQL groups people by the traits that are asked for, so that a row comes over for each group, not for each person,
with the ids of the group joined end to end. Agrees with `rollout_people`, which answers for some.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from controlplane.accounts.rules.traits import DEVICE, OWN
from rollout.rules.bulk.table import GRANT, Coded, Table, read_table
from rollout.rules.definition.area import AreaPlace, area_of

CHUNK = 100_000  # people in one query: what is held in memory at once
EXACT_BELOW = 200_000  # above this, counting takes longer than the estimate is wrong

NOBODY_BEFORE = UUID(int=0)
# The same ones each time while nothing is written, so that two samples can be compared; of very many by pages.
SOME_OF_FEW = "SELECT id FROM accounts_subscriber ORDER BY md5(id::text) LIMIT %s"
SOME = "SELECT id FROM accounts_subscriber TABLESAMPLE SYSTEM (%s) REPEATABLE (1) LIMIT %s"
ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'accounts_subscriber'::regclass"
UP_TO = "SELECT count(*) FROM (SELECT FROM accounts_subscriber LIMIT %s) AS these"
NEXT = "SELECT id FROM accounts_subscriber WHERE id > %s ORDER BY id OFFSET %s LIMIT 1"
PEOPLE = """
    SELECT {columns}, string_agg(uuid_send(s.id), ''::bytea), {joined}
    FROM accounts_subscriber s LEFT JOIN (
        SELECT DISTINCT ON (subscriber_id)
            subscriber_id, platform, app_version, os_version, device_class, network_class
        FROM accounts_device WHERE revoked_at IS NULL AND {devices}
        ORDER BY subscriber_id, seen_at DESC, id
    ) d ON d.subscriber_id = s.id
    WHERE {people} GROUP BY {places}
"""
GRANTS = """
    SELECT f.key, g.source, string_agg(uuid_send(g.subscriber_id), ''::bytea)
    FROM rollout_grant g JOIN rollout_feature f ON f.id = g.feature_id
    WHERE f.key = ANY (%s) AND g.state IN ('active', 'frozen') AND {people} GROUP BY f.key, g.source
"""
JOINED = "string_agg(int8send(floor(extract(epoch FROM s.joined_at))::bigint), ''::bytea)"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Whom a question looks at: `ids` of a sample, or None for everybody. `of` is how many there are in all, an
    estimate when it isn't `exact`.
    """

    of: int
    exact: bool = True
    ids: Sequence[UUID] | None = None

    @property
    def looked_at(self) -> int:
        return self.of if self.ids is None else len(self.ids)


def more_than(few: int) -> bool:
    """Whether there are more subscribers than these; quick when these are few."""
    with connection.cursor() as cursor:
        cursor.execute(UP_TO, [few + 1])
        return bool(cursor.fetchone()[0] > few)


def everybody(exact_up_to: int = EXACT_BELOW) -> Crowd:
    """All subscribers, counted up to so many, and estimated above, where counting would take long."""
    with connection.cursor() as cursor:
        cursor.execute(UP_TO, [exact_up_to + 1])
        (there,) = cursor.fetchone()
        if there <= exact_up_to:
            return Crowd(there)
        cursor.execute(ESTIMATE)
        return Crowd(max(int(cursor.fetchone()[0]), there), exact=False)


def choose(most: int) -> Crowd:
    """Everybody when there are at most `most`. Otherwise that many of those who could be counted, or about that many of
    more, drawn from the table's pages.
    """
    crowd = everybody(max(most, EXACT_BELOW))
    if crowd.exact and crowd.of <= most:
        return crowd
    with connection.cursor() as cursor:
        if crowd.exact:
            cursor.execute(SOME_OF_FEW, [most])
        else:
            cursor.execute(SOME, [min(100.0, 120.0 * most / crowd.of), most])
        return Crowd(crowd.of, crowd.exact, [row[0] for row in cursor.fetchall()])


def tables(
    crowd: Crowd, *, traits: Collection[str], grants: Collection[str] = (), areas: tuple[AreaPlace, ...] = ()
) -> Iterator[Table]:
    """The crowd's people, a part at a time: these traits of theirs, and their live grants of these features.

    The areas are those of the ruleset that decides. Nobody is in two parts, also while people are registered.
    """
    for where, bounds in _parts(crowd):
        found = _people(where, bounds, traits, areas)
        if found is not None:
            columns, ids = found
            columns |= _grants(where, bounds, grants, ids)
            yield read_table({"subscriber": ids, **columns})


def _parts(crowd: Crowd) -> Iterator[tuple[str, list[Any]]]:
    """Conditions on a column of ids that cover the crowd, each with its values."""
    if crowd.ids is not None:
        for start in range(0, len(crowd.ids), CHUNK):
            yield "{0} = ANY (%s)", [list(crowd.ids[start : start + CHUNK])]
        return
    last = NOBODY_BEFORE
    while True:
        with connection.cursor() as cursor:
            cursor.execute(NEXT, [last, CHUNK - 1])
            row = cursor.fetchone()
        if row is None:
            yield "{0} > %s", [last]
            return
        yield "{0} > %s AND {0} <= %s", [last, row[0]]
        last = row[0]


def _people(
    where: str, bounds: list[Any], traits: Collection[str], areas: tuple[AreaPlace, ...]
) -> tuple[dict[str, Any], NDArray[np.uint8]] | None:
    """The columns of traits, and the ids, of one part; None when it is empty."""
    own = [*OWN[:2], *(name for name in OWN[2:] if name in traits)]  # an area is made of the first two
    device = [name for name in DEVICE if name in traits]
    custom = sorted({*traits} - {*OWN, *DEVICE, "area", "joined_at"})
    columns = [f"s.{name}" for name in own] + [f"d.{name}" for name in device]
    # Somebody without a device may have the trait of their own; it comes as JSON, as custom ones do.
    columns += [f"CASE WHEN d.subscriber_id IS NULL THEN s.traits -> '{name}' END" for name in device]
    columns += ["s.traits -> %s"] * len(custom)
    query = PEOPLE.format(
        columns=", ".join(columns),
        joined=JOINED if "joined_at" in traits else "NULL",
        devices=where.format("subscriber_id"),
        people=where.format("s.id"),
        places=", ".join(str(n) for n in range(1, len(columns) + 1)),
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [*custom, *bounds, *bounds])
        rows = cursor.fetchall()
    if not rows:
        return None
    *values, joined_ids, joined_times = zip(*rows, strict=True)
    sizes = [len(each) // 16 for each in joined_ids]
    ids = np.frombuffer(b"".join(joined_ids), np.uint8).reshape(-1, 16)
    found: dict[str, Sequence[Any]] = dict(zip([*own, *device], values, strict=False))
    fallbacks = dict(zip([*device, *custom], values[len(own) + len(device) :], strict=True))
    for name, texts in fallbacks.items():
        known = found.get(name, [None] * len(rows))
        found[name] = [_read(text) if value is None else value for value, text in zip(known, texts, strict=True)]
    if "area" in traits:
        found["area"] = _areas_of(found["country"], found["carrier"], areas)
    coded: dict[str, Any] = {name: _coded(each, sizes) for name, each in found.items()}
    if "joined_at" in traits:
        coded["joined_at"] = np.frombuffer(b"".join(joined_times), ">i8").astype("datetime64[s]")
    return coded, ids


def _read(text: Any) -> Any:
    """Django gives bare JSON as text."""
    return json.loads(text) if isinstance(text, str) else text


def _areas_of(countries: Sequence[str], carriers: Sequence[str], areas: tuple[AreaPlace, ...]) -> list[str]:
    known: dict[tuple[str, str], str] = {}
    for place in zip(countries, carriers, strict=True):
        if place not in known:
            known[place] = area_of(areas, *place) or ""
    return [known[place] for place in zip(countries, carriers, strict=True)]


def _coded(values: Sequence[Any], sizes: Sequence[int]) -> Coded:
    """Each value as often as its group has people."""
    places: dict[tuple[type, str], int] = {}
    categories: list[Any] = []
    codes: list[int] = []
    for value in values:
        if value is None:
            codes.append(-1)
            continue
        mark = (type(value), value if isinstance(value, str) else repr(value))
        if mark not in places:
            places[mark] = len(categories)
            categories.append(value)
        codes.append(places[mark])
    return Coded(categories, np.repeat(np.array(codes, np.int32), sizes))


def _grants(where: str, bounds: list[Any], features: Collection[str], ids: NDArray[np.uint8]) -> dict[str, Coded]:
    """A column for each feature with the source of each person's live grant."""
    if not features:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(GRANTS.format(people=where.format("g.subscriber_id")), [sorted(features), *bounds])
        rows = cursor.fetchall()
    if not rows:
        return {}
    own = np.ascontiguousarray(ids).view("S16").ravel()  # compared as bytes are, since all are of one length
    order = np.argsort(own)
    found: dict[str, Coded] = {}
    for feature, source, joined in rows:
        column = found.setdefault(f"{GRANT}{feature}", Coded([], np.full(len(own), -1, np.int16)))
        holders = np.frombuffer(joined, "S16")
        places = order[np.minimum(np.searchsorted(own, holders, sorter=order), len(own) - 1)]
        column.codes[places[own[places] == holders]] = len(column.categories)
        column.categories.append(source)  # type: ignore[attr-defined]
    return found
