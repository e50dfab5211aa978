"""Doing one thing many times at the same moment, on connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def at_once(count: int, act: Callable[[int], T]) -> list[T | Exception]:
    """What each of `count` threads returned or raised; all begin together."""
    gate = threading.Barrier(count)

    def run(number: int) -> T | Exception:
        try:
            gate.wait(10)
            return act(number)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
