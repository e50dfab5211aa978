"""The workload of `decisions` and its peers: 100 features of five rules, and people of every kind.

Plain Python without dependencies: peers' scripts import it in their own environment. Every engine is given the same
features (allow list; country and 20 %; platform and version; cohort and 50 %; 10 % of all) and the same people.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from uuid import UUID

FEATURES = 100
PEOPLE = 1_000
COUNTRIES = ("DE", "AT", "CH", "FR", "ES", "IT", "GB", "US", "BR", "IN", "ID", "MX")
PLATFORMS = ("android", "ios", "windows", "blackberry")
COHORTS = tuple(f"cohort-{i}" for i in range(20))
VERSIONS = ("2.10.4", "2.11.0", "2.11.500", "2.12.0-beta.1", "2.12.0", "2.12.3", "2.13.0")


@dataclass(frozen=True, slots=True)
class Flag:
    """What one feature's five rules say."""

    key: str
    salt: str
    allowed: tuple[str, ...]
    countries: tuple[str, ...]
    platform: str
    least_version: str
    cohorts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    traits: dict[str, str]


def flags(count: int = FEATURES) -> list[Flag]:
    """The same ones each time."""
    dice = random.Random(7)
    accounts = [f"account-{i}" for i in range(PEOPLE * 20)]
    return [
        Flag(
            key=f"feature-{i:03d}",
            salt=f"{dice.getrandbits(64):016x}",
            allowed=tuple(dice.sample(accounts, 50)),
            countries=tuple(dice.sample(COUNTRIES, 3)),
            platform=dice.choice(PLATFORMS),
            least_version=dice.choice(VERSIONS[2:]),
            cohorts=tuple(dice.sample(COHORTS, 3)),
        )
        for i in range(count)
    ]


def people(count: int = PEOPLE) -> list[Person]:
    """The same ones each time."""
    dice = random.Random(11)
    return [
        Person(
            id=str(UUID(int=dice.getrandbits(128), version=4)),
            traits={
                "account": f"account-{dice.randrange(PEOPLE * 20)}",
                "country": dice.choice(COUNTRIES),
                "carrier": f"262-{dice.randrange(1, 20):02d}",
                "kind": "person",
                "language": "de",
                "joined_at": "2014-11-03T10:00:00Z",
                "platform": dice.choice(PLATFORMS),
                "app_version": dice.choice(VERSIONS),
                "os_version": "4.4.2",
                "device_class": "mid",
                "cohort": dice.choice(COHORTS),
            },
        )
        for _ in range(count)
    ]
