"""Audiences over a table: for each one a mask of the rows for which it is true, or false.

What can't be told is neither, as in `definition/audience.py`: so the two masks are built apart, and De Morgan's laws
turn inversions, lists and groups round.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollout.rules.bulk.table import PlainColumn, Table
from rollout.rules.definition import rfc3339
from rollout.rules.definition.audience import AnyOf, Condition, Group
from rollout.rules.definition.clause import NOW_TRAIT, Clause, Operator, as_number, compile_clause

Flags = NDArray[np.bool_]
Mask = Callable[[slice], Flags]  # of the rows of one chunk; a fresh array each time

_SIGNS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.NUM_EQ: operator.eq,
    Operator.NUM_GT: operator.gt,
    Operator.NUM_GTE: operator.ge,
    Operator.NUM_LT: operator.lt,
    Operator.NUM_LTE: operator.le,
    Operator.DATE_AFTER: operator.gt,
    Operator.DATE_BEFORE: operator.lt,
}
EXACT = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = np.datetime64("0001-01-01T00:00:00", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us")


class Masks:
    """Masks of one table, at one moment, by the audiences of one ruleset."""

    def __init__(self, table: Table, audiences: Mapping[str, AnyOf], now: datetime) -> None:
        self._table = table
        self._audiences = audiences
        self._now = now

    def where(self, any_of: AnyOf, wanted: bool = True) -> Mask:
        """The rows for which the audience is true, or (not wanted) false."""
        if not any_of:
            return self._always(wanted)
        lists = [[self._condition(each, wanted) for each in conditions] for conditions in any_of]
        if wanted:
            return _joined([_joined(each, np.logical_and) for each in lists], np.logical_or)
        return _joined([_joined(each, np.logical_or) for each in lists], np.logical_and)

    def _always(self, answer: bool) -> Mask:
        size = self._table.size
        return lambda rows: np.full(len(range(*rows.indices(size))), answer)

    def _condition(self, condition: Condition, wanted: bool) -> Mask:
        if isinstance(condition, Clause):
            return self._clause(condition, wanted)
        inner = condition.any_of if isinstance(condition, Group) else self._audiences[condition.audience]
        return self.where(inner, wanted is not condition.inverted)

    def _clause(self, clause: Clause, wanted: bool) -> Mask:
        column = self._table.trait(clause.trait)
        if isinstance(column, PlainColumn) and clause.operator in _SIGNS and len(clause.values) == 1:
            fast = _numbers(column, clause, wanted) or _times(column, clause, wanted)
            if fast is not None:
                return fast
        test, name, now = compile_clause(clause), clause.trait, self._now

        def judge(value: Any) -> int:
            return test({} if value is None else {name: value}, now) is wanted

        judged = column.judged(judge)
        return lambda rows: judged(rows).astype(np.bool_)


def _joined(masks: list[Mask], join: np.ufunc) -> Mask:
    if len(masks) == 1:
        return masks[0]

    def mask(rows: slice) -> Flags:
        found = masks[0](rows)
        for each in masks[1:]:
            join(found, each(rows), out=found)
        return found

    return mask


def _numbers(column: PlainColumn, clause: Clause, wanted: bool) -> Mask | None:
    """Numbers compared as they stand; None where NumPy would compare otherwise than Python does."""
    assert clause.operator is not None
    bound, kind = as_number(clause.values[0]), column.array.dtype.kind
    if not clause.operator.startswith("NUM_") or kind not in "iuf" or bound is None or abs(bound) > EXACT:
        return None
    sign, turned = _SIGNS[clause.operator], wanted is clause.inverted
    if kind == "f":
        bound = float(bound)
    elif isinstance(bound, float):
        if not bound.is_integer():
            sign, bound = _between(clause.operator, bound)
        bound = int(bound)
    limit: Any = bound

    def mask(rows: slice) -> Flags:
        some = column.array[rows]
        if kind == "f":
            some = some.astype(np.float64)  # a narrower float would narrow the bound
        return np.asarray(np.isfinite(some) & (sign(some, limit) ^ turned) & _present(column, rows), np.bool_)

    return mask


def _between(named: Operator, bound: float) -> tuple[Callable[[Any, Any], Any], int]:
    """The same comparison of whole numbers with a whole number, for a bound that lies between two of them."""
    match named:
        case Operator.NUM_GT | Operator.NUM_GTE:
            return operator.ge, math.ceil(bound)
        case Operator.NUM_LT | Operator.NUM_LTE:
            return operator.le, math.floor(bound)
        case _:
            return lambda some, _: np.zeros(len(some), np.bool_), 0  # none equals it


def _times(column: PlainColumn, clause: Clause, wanted: bool) -> Mask | None:
    bound = rfc3339.moment(clause.values[0])
    if not (clause.operator or "").startswith("DATE_") or column.array.dtype.kind != "M" or bound is None:
        return None
    assert clause.operator is not None
    sign, turned = _SIGNS[clause.operator], wanted is clause.inverted
    since = bound - _EPOCH
    moment = np.datetime64((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, "us")

    def mask(rows: slice) -> Flags:
        some = column.array[rows].astype("datetime64[us]")
        told = (some >= _FIRST) & (some <= _LAST)  # also false where there is no time at all
        return np.asarray(told & (sign(some, moment) ^ turned) & _present(column, rows))

    if clause.trait == NOW_TRAIT:
        return None  # a missing one is the time of the decision
    return mask


def _present(column: PlainColumn, rows: slice) -> Flags | bool:
    return True if column.missing is None else ~column.missing[rows]
