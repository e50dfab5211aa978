"""Padding, prologue, counters, confirmations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.rules.blob import (
    SIZES,
    BadBlob,
    Counters,
    End,
    Role,
    b64,
    canonical,
    confirmation,
    is_fresh,
    open_transport,
    pad,
    prologue,
    seal_transport,
    unb64,
    unpad,
)
from calls.rules.noise_ik import BadHandshake, Session

NOW = 1_800_000_000_000
CALLER = End("018f2f6e-0000-7000-8000-00000000000a", "11111111-1111-4111-8111-111111111111", 1, b"\1" * 32, "+491")
CALLEE = End("018f2f6e-0000-7000-8000-00000000000b", "22222222-2222-4222-8222-222222222222", 3, b"\2" * 32, None)


@given(st.binary(max_size=100))
def test_base64__round_trip__is_exact(data: bytes) -> None:
    assert unb64(b64(data)) == data


@pytest.mark.parametrize("text", ["A", "AB=", "AB==", "A+BC", "AB\n", "AB C", "AAF", None, 5, "é"])
def test_base64__other_forms__are_refused(text: object) -> None:
    with pytest.raises(BadBlob):
        unb64(text)


@given(st.integers(0, 4080))
def test_pad__any_length__takes_the_least_size_that_fits(length: int) -> None:
    payload = {"x": "a" * length}
    needed = len(canonical(payload)) + 2
    fitting = [size for size in SIZES if size >= needed]

    if fitting:
        assert len(pad(payload)) == fitting[0]
        assert unpad(pad(payload)) == payload
    else:
        with pytest.raises(BadBlob):
            pad(payload)


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        bytes(255),
        b"\xff\xff" + bytes(254),
        pad({"a": 1})[:-1] + b"\1",
        (b"\0\2[]").ljust(256, b"\0"),
        (b"\0\1{").ljust(256, b"\0"),
        (b"\0\2\xff\xff").ljust(256, b"\0"),
    ],
)
def test_unpad__malformed__is_refused(padded: bytes) -> None:
    with pytest.raises(BadBlob):
        unpad(padded)


def test_prologue__of_a_call__is_pinned() -> None:
    body = prologue("c", caller=CALLER, callee=CALLEE, media="audio")

    assert body.startswith(b'{"call":"c","callee":{"account":"018f2f6e-0000-7000-8000-00000000000b","device":"2222')
    assert json.loads(body) == {
        "v": 2,
        "call": "c",
        "lifetime": 60,
        "media": "audio",
        "caller": {
            "account": CALLER.account,
            "device": CALLER.device,
            "epoch": 1,
            "key": b64(b"\1" * 32),
            "phone": "+491",
        },
        "callee": {
            "account": CALLEE.account,
            "device": CALLEE.device,
            "epoch": 3,
            "key": b64(b"\2" * 32),
            "phone": None,
        },
    }
    assert prologue("c", caller=CALLEE, callee=CALLER, media="audio") != body
    assert prologue("c", caller=replace(CALLER, phone="+492"), callee=CALLEE, media="audio") != body


@pytest.mark.parametrize("sealed_ago", [-60_000, 0, 45_000, 60_000])
def test_fresh__sealed_within_a_minute_of_this_clock__is_fresh(sealed_ago: int) -> None:
    assert is_fresh(NOW - sealed_ago, NOW)


@pytest.mark.parametrize("sealed_ago", [-60_001, 60_001, 75_000, 25 * 3_600_000])
def test_fresh__held_back_or_sent_again__is_not(sealed_ago: int) -> None:
    assert not is_fresh(NOW - sealed_ago, NOW)


@pytest.mark.parametrize("sealed_at", [None, True, "1800000000000", 1.8e12])
def test_fresh__without_a_time__is_refused(sealed_at: object) -> None:
    with pytest.raises(BadBlob):
        is_fresh(sealed_at, NOW)


def test_transport__counter_and_payload__arrive() -> None:
    sender, receiver = Session(b"h", b"\1" * 32, b"\2" * 32), Session(b"h", b"\2" * 32, b"\1" * 32)

    blob = seal_transport(sender, 5, {"t": "answer"})

    assert len(blob) == 8 + 256 + 16
    assert open_transport(receiver, blob) == (5, {"t": "answer"})
    assert seal_transport(sender, 5, {"t": "answer"}) == blob  # a retry resends identical bytes


def test_transport__counter_changed_on_the_way__is_refused() -> None:
    sender, receiver = Session(b"h", b"\1" * 32, b"\2" * 32), Session(b"h", b"\2" * 32, b"\1" * 32)
    blob = seal_transport(sender, 5, {"t": "answer"})

    with pytest.raises(BadHandshake):
        open_transport(receiver, (6).to_bytes(8, "big") + blob[8:])
    with pytest.raises(BadBlob):
        open_transport(receiver, blob[:20])


@given(st.lists(st.integers(0, 300), max_size=60))
def test_counters__any_order__never_pass_one_twice(order: list[int]) -> None:
    counters, passed = Counters(), []
    for counter in order:
        if counters.is_new(counter):
            passed.append(counter)
            counters = counters.with_(counter)

    assert len(passed) == len(set(passed))
    for counter in set(order):  # what was refused was a repeat or older than the window
        assert counter in passed or max(passed) - counter >= 64


def test_confirmation__by_role_and_hash__differs() -> None:
    said = {confirmation(role, digest) for role in Role for digest in (b"h" * 32, b"i" * 32)}

    assert len(said) == 4
