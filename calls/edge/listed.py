"""A person's signed device list as PostgreSQL keeps it and phones are sent it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from controlplane.base import base64url


@dataclass(frozen=True, slots=True)
class Listed:
    """A signed device list that stands: its bytes and signature in base64url, and the ids of its devices."""

    list: str = ""
    signature: str = ""
    devices: frozenset[str] = frozenset()


def read_listed(raw: Mapping[str, str] | None) -> Listed:
    """What `calls_device_list` gave; empty before the first list."""
    if raw is None:
        return Listed()
    body = base64.b64decode(raw["body"])
    devices = frozenset(str(device["id"]) for device in orjson.loads(body)["devices"])
    return Listed(base64url.encode(body), base64url.encode(base64.b64decode(raw["signature"])), devices)


def fingerprint(list: str, signature: str) -> str:
    """What a ticket says of the caller's list: equal for the same list with the same signature, in base64url."""
    return hashlib.sha256(f"{list}.{signature}".encode()).hexdigest()
