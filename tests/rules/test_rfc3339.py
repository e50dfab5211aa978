"""Moments by RFC 3339: its own examples, its leap seconds, and what only looks like one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.definition.rfc3339 import moment


@pytest.mark.parametrize(
    ("raw", "utc"),
    [
        ("1985-04-12T23:20:50.52Z", datetime(1985, 4, 12, 23, 20, 50, 520_000, UTC)),
        ("1996-12-19T16:39:57-08:00", datetime(1996, 12, 20, 0, 39, 57, tzinfo=UTC)),
        ("1990-12-31T23:59:60Z", datetime(1991, 1, 1, tzinfo=UTC)),
        ("1990-12-31T15:59:60-08:00", datetime(1991, 1, 1, tzinfo=UTC)),
        ("1990-12-31T23:59:60.75Z", datetime(1991, 1, 1, 0, 0, 0, 750_000, UTC)),
        ("1937-01-01T12:00:27.87+00:20", datetime(1937, 1, 1, 11, 40, 27, 870_000, UTC)),
        ("2015-03-31t00:00:00z", datetime(2015, 3, 31, tzinfo=UTC)),
        ("2015-03-31T00:00:00-00:00", datetime(2015, 3, 31, tzinfo=UTC)),
        ("2015-03-31T00:00:00.1234567899Z", datetime(2015, 3, 31, 0, 0, 0, 123_456, UTC)),
    ],
)
def test_moment__as_rfc_3339_writes_it__is_read(raw: str, utc: datetime) -> None:
    assert moment(raw) == utc


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "2015-03-31",
        "2015-W14-2",
        "2015-W14-2T00:00:00Z",
        "20150331T000000Z",
        "2015-03-31T00:00Z",
        "2015-03-31 00:00:00Z",
        "2015-03-31T00:00:00",
        "2015-03-31T00:00:00,5Z",
        "2015-03-31T00:00:00.Z",
        "2015-03-31T00:00:00+02:60",
        "2015-03-31T00:00:00+24:00",
        "2015-03-31T00:00:00+0200",
        "2015-03-31T24:00:00Z",
        "2015-03-31T23:60:00Z",
        "2015-03-31T23:59:61Z",
        "2015-03-31T12:59:60Z",
        "2015-03-30T23:59:60Z",
        "2015-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "２015-03-31T00:00:00Z",
        "2015-03-31T00:00:00Z\n",
        "2015-03-31T00:00:00.".ljust(70, "0") + "Z",
    ],
)
def test_moment__that_only_looks_like_one__is_none(raw: str) -> None:
    assert moment(raw) is None


@given(st.datetimes(timezones=st.timezones().map(lambda zone: UTC if zone is None else zone)))
def test_moment__any_that_python_writes__is_read_back(told: datetime) -> None:
    utc = told.astimezone(UTC) if 1 < told.year < 9999 else told.replace(tzinfo=UTC)

    assert moment(utc.isoformat()) == utc
