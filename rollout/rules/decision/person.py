"""Who somebody is, as `rollout_people` reads them: the one value that decisions about subscribers are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollout.rules.decision.decision import GrantFact, Party


@dataclass(frozen=True, slots=True)
class Person:
    """`traits` are their own; `devices` has those of each live device by its id, the one seen last first."""

    id: str
    traits: Mapping[str, Any]
    devices: Mapping[str, Mapping[str, Any]]
    grants: Mapping[str, GrantFact]
    accepts_invites: bool

    def party(self, device: str | None = None) -> Party:
        """With this device in hand, or the one seen last. Without a device, their own traits are all there is."""
        held = next(iter(self.devices), "") if device is None else device
        return Party(self.id, {**self.traits, **self.devices.get(held, {})}, self.grants)

    def parties(self) -> list[Party]:
        """One for each live device, or the person alone."""
        return [self.party(device) for device in self.devices] or [self.party()]


def read_person(row: Mapping[str, Any]) -> Person:
    return Person(
        id=str(row["id"]),
        traits=row["traits"],
        devices={each["id"]: each["traits"] for each in row["devices"]},
        grants={feature: read_grant(raw) for feature, raw in row["grants"].items()},
        accepts_invites=row["accepts_invites"],
    )


def read_grant(
    raw: Mapping[str, Any], *, id_name: str = "id", source_name: str = "src", frozen: bool = False
) -> GrantFact:
    """A grant from a feed row, a token or `rollout_people`."""
    root = raw.get("root")
    return GrantFact(
        id=int(raw[id_name]),
        source=str(raw[source_name]),
        depth=int(raw.get("depth") or 0),
        root=None if root is None else int(root),
        at=float(raw.get("at") or 0),
        frozen=bool(raw.get("frozen", frozen)),
    )
