"""A call as the JSON that stands in Redis, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson

from calls.rules.call import Call, Identity, Leg, LegState, State
from calls.rules.ending import Reason

_NAMES = tuple(field.name for field in fields(Call))


def call_to_json(call: Call) -> bytes:
    values = {name: value for name in _NAMES if (value := getattr(call, name)) not in (None, False, ())}
    values["legs"] = [[leg.device, leg.state] for leg in call.legs]
    return orjson.dumps(values)


def call_from_json(raw: bytes) -> Call:
    values: dict[str, Any] = orjson.loads(raw)
    values["legs"] = tuple(Leg(device, LegState(state)) for device, state in values["legs"])
    values["state"] = State(values["state"])
    values["connected"] = tuple(values.get("connected", ()))
    for name in ("reason", "ending"):
        if values.get(name):
            values[name] = Reason(values[name])
    return Call(Identity(**values.pop("identity")), **values)
