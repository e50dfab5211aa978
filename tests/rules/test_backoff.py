"""When a failed effect is tried again."""

from __future__ import annotations

import pytest

from controlplane.outbox.rules.backoff import delay


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 20), (7, 20), (10**9, 20)]
)
def test_delay__doubles__up_to_twenty_seconds(attempts: int, seconds: int) -> None:
    assert delay(attempts).total_seconds() == seconds
