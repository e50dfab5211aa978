"""Answers to requests: one for each (device, id), the same for a repetition; refusals as problem details.

An id that a phone used for something else before (another operation, call or callee) is a new request.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import orjson
import structlog

from controlplane.base.refusal import Refusal, TryAgain

from .metrics import Metrics
from .operations import Asked, Operations
from .store import StoreAway

MOST_REMEMBERED = 10_000
PASSING = frozenset({"try_again", "rate_limited"})
log = structlog.get_logger("edge")

Said = tuple[bool, bytes]  # (good, JSON)


class Answers:
    def __init__(self, operations: Operations, metrics: Metrics) -> None:
        self._operations = operations
        self._metrics = metrics
        self._said: OrderedDict[tuple[str, ...], asyncio.Future[Said]] = OrderedDict()

    async def answer(self, asked: Asked) -> Said:
        """The answer as JSON, and whether it is a good one. Never raises a refusal."""
        if not asked.id:
            return await self._make(asked)
        about = asked.fields.get("call") or asked.fields.get("callee")
        key = (asked.device, asked.id, asked.op, str(about))
        if key in self._said:
            return await asyncio.shield(self._said[key])
        said: asyncio.Future[Said] = asyncio.ensure_future(self._make(asked))
        self._said[key] = said
        if len(self._said) > MOST_REMEMBERED:
            self._said.popitem(last=False)
        good, body = await asyncio.shield(said)
        if not good and orjson.loads(body)["code"] in PASSING:
            self._said.pop(key, None)
        return good, body

    async def _make(self, asked: Asked) -> Said:
        try:
            return True, orjson.dumps(await self._operations.run(asked))
        except Refusal as refusal:
            return False, self.problem(refusal)
        except StoreAway:
            return False, self.problem(TryAgain("The signaling store can't be reached. Try again in a moment."))
        except Exception:
            log.exception("request.failed", op=asked.op)
            return False, self.problem(TryAgain("Something went wrong on our side. Try again in a moment."))

    def problem(self, refusal: Refusal) -> bytes:
        self._metrics.refused.labels(refusal.code).inc()
        return orjson.dumps(refusal.as_problem())


Answering = Callable[[Asked], Awaitable[Said]]
