"""A breaker lets one try once it has rested, and everybody once that one has succeeded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controlplane.base import breaker
from controlplane.base.breaker import Breaker


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]
    monkeypatch.setattr(breaker.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_breaker__after_so_many_failures__rests_and_then_lets_one_try(wait: Callable[[float], None]) -> None:
    tried = Breaker(rest=2, failures=2)
    tried.failed()
    assert (tried.available, tried.allows()) == (True, True)
    tried.failed()

    assert (tried.available, tried.allows()) == (False, False)
    wait(2)
    assert [tried.allows(), tried.allows()] == [True, False]
    wait(2)
    assert tried.allows(), "whoever tried never said how it went: the next may try"

    tried.succeeded()
    assert [tried.allows(), tried.allows()] == [True, True]


def test_breaker__that_succeeds_in_between__counts_from_the_beginning(wait: Callable[[float], None]) -> None:
    tried = Breaker(rest=2, failures=2)
    tried.failed()
    tried.succeeded()
    tried.failed()

    assert tried.allows()
