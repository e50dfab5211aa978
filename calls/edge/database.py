"""PostgreSQL for the event loop: one SQL function per durable step, capped, with a deadline and a breaker.

The deadline is kept with `asyncio.wait`, not `wait_for`: a stopped server would hold the cancelling too. An overdue
connection is dropped and never used again. After three failures in a row every call is refused at once (`TryAgain`,
503) for `REST`, then one is let through to see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_dumps, set_json_loads

from controlplane.base.breaker import Breaker
from controlplane.base.refusal import TryAgain

DEADLINE = 1.5
CONNECTIONS = 8
FAILURES = 3
REST = 2.0

Connection = AsyncConnection[TupleRow]


class Database:
    def __init__(self, url: str, *, connections: int = CONNECTIONS, deadline: float = DEADLINE) -> None:
        self.url = url
        self.deadline = deadline
        self.breaker = Breaker(rest=REST, failures=FAILURES)
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []
        self._dropped: set[asyncio.Future[Any]] = set()
        set_json_loads(orjson.loads)
        set_json_dumps(lambda value: orjson.dumps(value).decode())

    @property
    def available(self) -> bool:
        """Whether the last answers were good: False while the breaker is open or trying."""
        return self.breaker.available

    async def row(self, sql: str, args: Sequence[Any] = (), *, deadline: float | None = None) -> tuple[Any, ...] | None:
        """The first row of one statement. Raises `TryAgain` when PostgreSQL gives no answer in time."""
        rows = await self.rows(sql, args, deadline=deadline)
        return rows[0] if rows else None

    async def rows(self, sql: str, args: Sequence[Any] = (), *, deadline: float | None = None) -> list[tuple[Any, ...]]:
        if not self.breaker.allows():
            raise TryAgain("The database can't be reached. Try again in a moment.", retry_after=int(REST))
        task = asyncio.ensure_future(self._answer(sql, args))
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline or self.deadline)
        except asyncio.CancelledError:
            self._drop(task)
            raise
        if not done:
            self._drop(task)
            self.breaker.failed()
            raise TryAgain("The database is too slow right now. Try again in a moment.", retry_after=int(REST))
        try:
            answer = task.result()
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            self.breaker.failed()
            raise TryAgain("The database can't be reached. Try again in a moment.", retry_after=int(REST)) from error
        self.breaker.succeeded()
        return answer

    def _drop(self, task: asyncio.Future[Any]) -> None:
        """The task ends in its own time, out of everybody's way; its connection is closed, not given back."""
        self._dropped.add(task)
        task.cancel()
        task.add_done_callback(self._dropped.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _answer(self, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._slots:
            connection = self._idle.pop() if self._idle else None
            try:
                if connection is not None:
                    try:
                        return await self._ask(connection, sql, args)
                    except psycopg.OperationalError:
                        if not connection.broken:
                            raise
                        self._idle.clear()  # the server was restarted: none of the others is alive either
                        connection = None
                connection = await self._connect()
                return await self._ask(connection, sql, args)
            except BaseException:
                if connection is not None:
                    connection.pgconn.finish()
                    connection = None
                raise
            finally:
                if connection is not None:
                    self._idle.append(connection)

    async def _ask(self, connection: Connection, sql: str, args: Sequence[Any]) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(sql.encode(), args)
        return await cursor.fetchall() if cursor.description else []

    async def _connect(self) -> Connection:
        return await AsyncConnection.connect(
            self.url,
            autocommit=True,
            connect_timeout=2,
            application_name="rollcall edge",
            options="-c statement_timeout=3000 -c lock_timeout=2000",
        )

    async def close(self) -> None:
        for connection in self._idle:
            await connection.close()
        self._idle.clear()
