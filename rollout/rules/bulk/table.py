"""Many people as columns: a NumPy structured array, or a mapping from names to Arrow-like columns.

A column is a NumPy array (numbers, flags, fixed-width text, times, objects; masked where values are missing), a list,
`Coded` (categories and codes, -1 for missing), or whatever carries `dictionary` and `indices` as Arrow's does. Numbers
stand for numbers, `bytes` for UTF-8 text, `datetime64` for RFC 3339 text in UTC; NaN and NaT are no values.

The column named as the unit holds ids: text, or UUIDs of 16 bytes (`V16`, or an array of (rows, 16) bytes).
Columns named `grant:FEATURE` hold live grants: a flag, or the source as text. All others are traits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from rollout.rules.bulk.murmur import NoUnits, TextUnits, Units, UuidUnits
from rollout.rules.decision.decision import GrantFact, Party
from rollout.rules.decision.grant import Source
from rollout.rules.definition.reading import Invalid, under

GRANT = "grant:"
MALFORMED: tuple[()] = ()  # stands for any value that no trait can have
MOST_REMEMBERED = 100_000

Judge = Callable[[Any], int]  # of one value, None for a missing one: a whole number from 0 to 65,535
Judged = Callable[[slice], NDArray[np.uint16]]


@dataclass(frozen=True, slots=True)
class Coded:
    """A dictionary-encoded column: `codes` are places in `categories`, -1 where the value is missing."""

    categories: Sequence[Any]
    codes: NDArray[Any]


class Column(Protocol):
    def __len__(self) -> int: ...
    def value(self, row: int) -> Any:
        """As a decision sees it; None when it is missing."""

    def judged(self, judge: Judge) -> Judged:
        """The judgement of every row; a value is judged once, however often it stands in the column."""


class CodedColumn:
    def __init__(self, coded: Coded) -> None:
        self.codes = coded.codes
        self._categories = [plain(each) for each in coded.categories]

    def __len__(self) -> int:
        return len(self.codes)

    def value(self, row: int) -> Any:
        code = int(self.codes[row])
        return None if code < 0 else self._categories[code]

    def judged(self, judge: Judge) -> Judged:
        answers = np.array([*map(judge, self._categories), judge(None)], np.uint16)  # -1 is the last one
        codes = self.codes
        return lambda rows: answers[codes[rows]]


class PlainColumn:
    """One value a row. `array` and `missing` may be compared directly where numbers or times are asked for."""

    def __init__(self, array: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> None:
        self.array = array
        self.missing = missing

    def __len__(self) -> int:
        return len(self.array)

    def value(self, row: int) -> Any:
        if self.missing is not None and self.missing[row]:
            return None
        return plain(self.array[row])

    def judged(self, judge: Judge) -> Judged:
        remembered: dict[Any, int] = {}

        def judge_once(raw: Any) -> int:
            value = plain(raw)
            mark = (value.__class__, value)
            found = remembered.get(mark)
            if found is None:
                found = judge(value)
                if len(remembered) < MOST_REMEMBERED:
                    remembered[mark] = found
            return found

        def answers(rows: slice) -> NDArray[np.uint16]:
            some = self.array[rows]
            if some.dtype.kind == "O":
                told = np.fromiter(map(judge_once, some), np.uint16, len(some))
            else:
                values, places = np.unique(some, return_inverse=True)
                told = np.fromiter(map(judge_once, values), np.uint16, len(values))[places]
            if self.missing is not None:
                told[self.missing[rows]] = judge(None)
            return told

        return answers


class AbsentColumn:
    """A trait that the table doesn't have: missing for everybody."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def value(self, row: int) -> None:
        return None

    def judged(self, judge: Judge) -> Judged:
        answer = judge(None)
        return lambda rows: np.full(len(range(*rows.indices(self._size))), answer, np.uint16)


@dataclass(frozen=True, slots=True)
class Table:
    size: int
    units: Units
    traits: Mapping[str, Column]
    grants: Mapping[str, Column]

    def trait(self, name: str) -> Column:
        return self.traits.get(name) or AbsentColumn(self.size)

    def grant(self, feature: str) -> Column:
        return self.grants.get(feature) or AbsentColumn(self.size)

    def party(self, row: int) -> Party:
        """Whom a row stands for, as `decide` takes them."""
        traits = {name: column.value(row) for name, column in self.traits.items()}
        sources = {feature: source_of(column.value(row)) for feature, column in self.grants.items()}
        return Party(
            self.units.text(row),
            {name: value for name, value in traits.items() if value is not None},
            {feature: GrantFact(0, source) for feature, source in sources.items() if source},
        )


def table_of(parties: Sequence[Party]) -> Table:
    """A row for each of these, in their order."""
    sources = [{feature: grant.source for feature, grant in party.grants.items()} for party in parties]
    return Table(
        size=len(parties),
        units=read_units([party.subscriber for party in parties], "table"),
        traits=_columns([party.traits for party in parties]),
        grants=_columns(sources),
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    names = {name for row in rows for name in row}
    return {name: read_column([row.get(name) for row in rows], name) for name in names}


def source_of(value: Any) -> str:
    """A grant's source from its column; empty for no grant. A bare flag doesn't say: it counts as an operator's."""
    if value is True:
        return Source.OPERATOR.value
    return value if isinstance(value, str) else ""


def plain(raw: Any) -> Any:
    """A value of an array as plain Python; None for a missing one, `MALFORMED` for what no trait can be."""
    if raw is None or raw is np.ma.masked:
        return None
    if isinstance(raw, np.datetime64):
        return None if np.isnat(raw) else f"{np.datetime_as_string(raw)}Z"
    if isinstance(raw, np.generic):
        raw = raw.item()
    if isinstance(raw, bytes):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return MALFORMED
    return raw if isinstance(raw, str | bool | int | float) else MALFORMED


def read_table(raw: Any, *, unit: str = "subscriber") -> Table:
    """Raises `Invalid` with the name of the first column that can't be used."""
    if isinstance(raw, Table):
        return raw
    if isinstance(raw, np.ndarray) and raw.dtype.names:
        raw = {name: raw[name] for name in raw.dtype.names}
    if not isinstance(raw, Mapping) or not raw:
        raise Invalid("table", "expected a structured array, or a mapping from names to columns.")
    size = _length(raw[next(iter(raw))], "table")
    columns = {name: read_column(each, under("table", str(name))) for name, each in raw.items() if name != unit}
    units: Units = read_units(raw[unit], under("table", unit)) if unit in raw else NoUnits(size)
    for name, length in [(unit, len(units)), *((name, len(column)) for name, column in columns.items())]:
        if length != size:
            raise Invalid(under("table", name), f"has {length} rows; the first column has {size}.")
    grants = {name.removeprefix(GRANT): column for name, column in columns.items() if name.startswith(GRANT)}
    traits = {name: column for name, column in columns.items() if not name.startswith(GRANT)}
    return Table(size=size, units=units, traits=traits, grants=grants)


def _length(raw: Any, path: str) -> int:
    raw = _decoded(raw)
    try:
        return len(raw.codes) if isinstance(raw, Coded) else len(raw)
    except TypeError as error:
        raise Invalid(path, "has a column without a length.") from error


def _decoded(raw: Any) -> Any:
    """Arrow's dictionary array as `Coded`, without asking for Arrow itself."""
    if hasattr(raw, "dictionary") and hasattr(raw, "indices"):
        codes = np.array([-1 if each is None else each for each in raw.indices.to_pylist()], np.int64)
        return Coded(raw.dictionary.to_pylist(), codes)
    return raw.to_pylist() if hasattr(raw, "to_pylist") else raw


def read_column(raw: Any, path: str) -> Column:
    raw = _decoded(raw)
    if isinstance(raw, Coded):
        codes = np.asarray(raw.codes)
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise Invalid(path, "expected codes as whole numbers.")
        if len(codes) and not (int(codes.min()) >= -1 and int(codes.max()) < len(raw.categories)):
            raise Invalid(path, f"has codes outside -1 … {len(raw.categories) - 1}.")
        return CodedColumn(Coded(raw.categories, codes))
    array, missing = _array(raw)
    kind = array.dtype.kind
    if array.ndim != 1 or kind not in "biufUSMO" or (kind == "f" and array.dtype.itemsize > 8):
        raise Invalid(path, f"has values of a kind that no trait has ({array.dtype}).")
    return PlainColumn(array, missing)


def _array(raw: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    if isinstance(raw, np.ma.MaskedArray):
        return np.asarray(raw.data), np.ma.getmaskarray(raw)
    if isinstance(raw, np.ndarray):
        return raw, None
    found = np.empty(len(raw), object)  # an array of lists must not become one of two dimensions
    for i, each in enumerate(raw):
        found[i] = each
    return found, None


def read_units(raw: Any, path: str) -> Units:
    raw = _decoded(raw)
    if isinstance(raw, Coded):
        texts = np.array([*raw.categories, None], object)
        return TextUnits(texts[np.asarray(raw.codes)])
    array, missing = _array(raw)
    if array.dtype.kind == "V" and array.dtype.itemsize == 16 and array.ndim == 1 and missing is None:
        return UuidUnits(np.ascontiguousarray(array).view(np.uint8).reshape(len(array), 16))
    if array.dtype == np.uint8 and array.shape[1:] == (16,) and missing is None:
        return UuidUnits(array)
    if array.ndim != 1 or array.dtype.kind not in "USO":
        raise Invalid(path, "expected ids as text, or as UUIDs of 16 bytes.")
    if array.dtype.kind == "O":
        array = np.array([str(each) if isinstance(each, UUID) else each for each in array] + [None], object)[:-1]
    return TextUnits(array, missing)
