"""Many threads at once, each with a database connection of its own, as far as the embedded PostgreSQL has any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from django.db import connection

T = TypeVar("T")

CONNECTIONS = 64  # the embedded PostgreSQL takes 100


def at_once(deeds: Sequence[Callable[[], T]]) -> list[T]:
    """Starts all deeds at the same moment, and returns what each answered. A deed that raises fails the test.

    Those beyond the number of connections start as soon as one is free. A deadlock fails the
    test too: the edge tries once more, but the order of locks is there so that it need not.
    """
    gate = threading.Barrier(min(len(deeds), CONNECTIONS))
    opened = threading.local()

    def do(deed: Callable[[], T]) -> T:
        if not hasattr(opened, "yes"):
            connection.ensure_connection()
            opened.yes = True
            gate.wait(30)
        return deed()

    def leave() -> None:
        gate.wait(60)  # one for each thread
        connection.close()

    with ThreadPoolExecutor(gate.parties) as pool:
        answers = [pool.submit(do, deed) for deed in deeds]
        wait(answers, 60)
        for _ in range(gate.parties):
            pool.submit(leave)
    return [each.result(0) for each in answers]
