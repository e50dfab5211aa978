"""How many regular expressions there may be: compiling one is bounded in memory, but takes up to 35 ms."""

from __future__ import annotations

from typing import Any

from rollout.rules.definition.clause import Operator
from rollout.rules.definition.reading import Invalid, under

MOST_PATTERNS = 100  # of one feature or one audience
MOST_PATTERNS_IN_ALL = 500  # of one ruleset


def patterns_bounded(raw: Any, path: str, most: int = MOST_PATTERNS) -> None:
    """Before anything is compiled. Raises `Invalid` at the first regular expression that is too many."""
    left = most
    waiting: list[tuple[Any, str]] = [(raw, path)]
    while waiting:
        value, here = waiting.pop()
        if isinstance(value, dict):
            if value.get("operator") == Operator.REGEX:
                left -= 1
                if left < 0:
                    raise Invalid(under(here, "operator"), f"is one regular expression too many; {most} are allowed.")
            waiting.extend((member, under(here, str(name)[:64])) for name, member in reversed(value.items()))
        elif isinstance(value, list):
            indexed = enumerate(value)
            waiting.extend(
                reversed([(member, under(here, i)) for i, member in indexed if isinstance(member, dict | list)])
            )
