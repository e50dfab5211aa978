"""Which tests share a process when several run side by side (`pytest -n`), and which begin first.

A file's tests stay together, since they share what they stand on; so do files that share the demonstration. What takes
longest begins first, so that nobody waits for it at the end.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# In this order: after the kills a stack limps for a moment.
ON_THE_DEMONSTRATION = (
    "tests/story/test_story.py",
    "tests/browser/test_phone_on_the_stack.py",
    "tests/journeys/test_markers.py",
    "tests/faults/test_kills.py",
)
FIRST = (*ON_THE_DEMONSTRATION, "tests/story/", "tests/faults/", "tests/browser/", "tests/host/test_embedded.py")


def place(nodeid: str) -> int:
    """Where a test stands in the order; those that nothing is said of come last, as they were collected."""
    return next((i for i, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))


def put_in_order(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place(item.nodeid))


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Gives whole files to the processes, in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the demonstration" if file in ON_THE_DEMONSTRATION else file
