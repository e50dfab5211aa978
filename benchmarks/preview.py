"""The preview of one feature for a million people in PostgreSQL: exact counts of who gains and loses, by place.

The people and their devices stand in tables of a database of its own, as registration writes them; what is measured is
the whole question as REST and the console ask it: building both rulesets, reading people, deciding twice, counting.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.harness import Goal, Measured, main, median_of
from benchmarks.stand import Stand

GOALS = {"preview_1m_s": Goal(most=5)}
NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
PEOPLE = 1_000_000
RUNS = 3
GERMANS = {"trait": "country", "operator": "IN", "values": ["DE", "AT", "CH"]}
RULES = [
    {
        "name": "new phones in three countries",
        "any_of": [
            [
                GERMANS,
                {"trait": "platform", "operator": "IN", "values": ["android", "ios"]},
                {"trait": "app_version", "operator": "SEMVER_GTE", "values": ["2.6.0"]},
            ]
        ],
        "share_ppm": 250_000,
    }
]
SUBSCRIBERS = """
    INSERT INTO accounts_subscriber (id, phone_hash, phone_sealed, country, carrier, kind, language, traits,
        accepts_invites, token_epoch, joined_at)
    SELECT uuidv7(), int8send(n), int8send(n),
        (ARRAY['DE', 'AT', 'CH', 'BR', 'IN', 'US', 'FR', 'IT'])[1 + n %% 8],
        (ARRAY['', '262-03', '262-01', '724-05', '404-10'])[1 + n %% 5], 'person', '', '{}', true, 0, now()
    FROM generate_series(1, %s) AS n
"""
DEVICES = """
    INSERT INTO accounts_device (id, subscriber_id, platform, app_version, os_version, device_class, label,
        push_service, ed25519, x25519, network_class)
    SELECT gen_random_uuid(), id, (ARRAY['android', 'ios', 'blackberry', 'web'])[1 + n % 4],
        '2.' || n % 13 || '.' || n % 7, (4 + n % 6) || '.' || n % 3, 'mid', '', '', '', '', ''
    FROM (SELECT id, row_number() OVER () AS n FROM accounts_subscriber)
"""


def fill() -> None:
    from django.db import connection

    from controlplane.audit.record import Actor
    from rollout.actions import features

    with connection.cursor() as cursor:
        cursor.execute(SUBSCRIBERS, [PEOPLE])
        cursor.execute(DEVICES)
        cursor.execute("VACUUM ANALYZE accounts_subscriber, accounts_device")
    actor = Actor.automatic("benchmark")
    features.create_feature("voice-calls", name="Voice calls", fields={"access": "rules"}, actor=actor, now=NOW)
    features.switch_on("voice-calls", actor=actor, now=NOW)


def measure() -> Measured:
    with Stand():
        from rollout.questions.preview import of_feature

        fill()

        def ask() -> Any:
            return of_feature("voice-calls", {"rules": RULES}, now=NOW, sample=PEOPLE)

        def seconds() -> float:
            started = time.perf_counter()
            ask()
            return time.perf_counter() - started

        preview = ask()  # warms up
        (tally,) = preview.tallies
        by = {trait: sum(cell["gains"] for cell in cells.values()) for trait, cells in tally.by.items()}
        return Measured(
            {
                "preview_1m_s": round(median_of(seconds, RUNS), 2),
                "looked_at": preview.looked_at,
                "gain": tally.moves["gains"],
                "gain_by_country": by["country"],
                "gain_by_platform": by["platform"],
                "gain_by_carrier": by["carrier"],
                "everybody": preview.everybody,
            }
        )


if __name__ == "__main__":
    main("preview", measure, GOALS)
