"""Call records on their way to PostgreSQL: queued in memory, written in batches, tried again, bounded."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from calls.rules.call import Call
from controlplane.base.refusal import Refusal

from .database import Database
from .metrics import Metrics

MOST_QUEUED = 20_000
BATCH = 200
log = structlog.get_logger("edge")


def pseudonym(key: bytes, subscriber: str, at_ms: int) -> str:
    """A keyed hash of the subscriber (32 hexadecimal digits) that changes each month."""
    month = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m")
    return hashlib.blake2b(f"call:{month}:{subscriber}".encode(), key=key, digest_size=16).hexdigest()


def as_row(call: Call, version: int, key: bytes) -> dict[str, Any]:
    """The record of a call as `calls_journal` takes it; times in epoch milliseconds."""
    setup = call.connected_at - call.created_at if call.connected_at else None
    return {
        "id": call.id,
        "feature": call.identity.feature,
        "area": call.identity.area,
        "caller": pseudonym(key, call.identity.caller, call.created_at),
        "callee": pseudonym(key, call.identity.callee, call.created_at),
        "media": call.identity.media,
        "activating": call.activating,
        "state": call.state,
        "reason": call.reason or "",
        "cause": (call.cause or "")[:32],
        "created_at": call.created_at,
        "rang_at": call.ringing_at,
        "accepted_at": call.accepted_at,
        "connected_at": call.connected_at,
        "ended_at": call.ended_at,
        "setup_ms": setup,
        "window": call.window,
        "version": version,
    }


class Journal:
    def __init__(self, database: Database, metrics: Metrics, key: bytes) -> None:
        self._database = database
        self._metrics = metrics
        self._key = key
        self._rows: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._wake = asyncio.Event()

    def add(self, call: Call, version: int) -> None:
        """A later version of a call takes the place of an earlier one that still waits."""
        self._rows.pop(call.id, None)
        self._rows[call.id] = as_row(call, version, self._key)
        if len(self._rows) > MOST_QUEUED:
            self._rows.popitem(last=False)
            self._metrics.journal_lost.inc()
        self._wake.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0.05)
            await self.empty()

    async def empty(self) -> None:
        """Write all that waits, or as much as PostgreSQL takes."""
        while self._rows and await self.flush():
            pass

    async def flush(self) -> bool:
        """Write one batch. False when it has to be tried again later."""
        batch = [self._rows.popitem(last=False)[1] for _ in range(min(BATCH, len(self._rows)))]
        if not batch:
            return True
        try:
            await self._database.row("SELECT calls_journal(%s::jsonb)", (orjson.dumps(batch).decode(),))
        except asyncio.CancelledError:
            self._put_back(batch)  # written perhaps; twice does no harm
            raise
        except Refusal:
            self._put_back(batch)
            await asyncio.sleep(1)
            self._wake.set()
            return False
        except Exception:
            log.exception("journal.batch_refused", rows=len(batch))
            self._metrics.journal_lost.inc(len(batch))
        return True

    def _put_back(self, batch: list[dict[str, Any]]) -> None:
        """The rows wait again, first in line; a later version that came meanwhile stands."""
        for row in reversed(batch):
            if row["id"] not in self._rows:
                self._rows[row["id"]] = row
                self._rows.move_to_end(row["id"], last=False)
