"""A connection that waits for a busy server, and gives up one that stands still, in less than three seconds.

No deadline of PostgreSQL's holds while it doesn't run, and a socket on the same machine has no timeout of its own. So
whoever waits for longer than `PATIENCE` asks whether the server still answers anybody. While it doesn't, one thread of
the process tries again from time to time, and the others are refused at once: nobody queues up behind it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql import base

from controlplane.base.breaker import Breaker

T = TypeVar("T")
PATIENCE = 0.5  # seconds
PROBE = 1.0  # seconds
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # the shortest question; every server answers it with one byte
REST = 1.0  # seconds between two tries while the server is away
AWAY = "PostgreSQL gives no answer."


server_breaker = Breaker(rest=REST)


def connect(new: Callable[[], psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
    """A new connection. Raises OperationalError at once while the server is away and it is another's turn to try."""
    if not server_breaker.allows():
        raise psycopg.OperationalError(AWAY)
    try:
        connection = new()
    except psycopg.OperationalError:
        server_breaker.failed()
        raise
    server_breaker.succeeded()
    return connection


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        connection = connect(lambda: super(DatabaseWrapper, self).get_new_connection(conn_params))
        watch(connection)
        return connection


def watch(connection: psycopg.Connection[Any]) -> None:
    """From now on, what waits on this connection raises OperationalError soon after the server stands still."""
    wait, server = connection.wait, (connection.info.host, connection.info.port)

    def watched(gen: Generator[Any, Any, T], *args: Any, **more: Any) -> T:
        result: T = wait(_watching(connection, gen, server), *args, **more)
        return result

    connection.wait = watched  # type: ignore[method-assign]


def _watching(
    connection: psycopg.Connection[Any], gen: Generator[Any, Any, T], server: tuple[str, int]
) -> Generator[Any, Any, T]:
    """The generator, which psycopg wakes ten times a second while nothing comes."""
    asked = time.monotonic()
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() - asked > PATIENCE:
                if not answers(*server):
                    connection.pgconn.finish()  # nobody waits for it again, not even to roll back
                    server_breaker.failed()
                    raise psycopg.OperationalError(AWAY)
                asked = time.monotonic()
            wanted = gen.send(ready)
    except StopIteration as done:
        value: T = done.value
        return value


def answers(host: str, port: int) -> bool:
    """Whether the server says anything within a second. (libpq's own ping would hold every other thread up.)"""
    family = socket.AF_UNIX if host.startswith("/") else socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as link:
            link.settimeout(PROBE)
            link.connect(f"{host}/.s.PGSQL.{port}" if family is socket.AF_UNIX else (host, port))
            link.sendall(SSL_REQUEST)
            return bool(link.recv(1))
    except OSError:
        return False
