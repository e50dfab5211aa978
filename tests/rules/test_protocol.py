"""The protocol's messages: what is taken, what is refused where, and the page that is made from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from calls.rules.messages import BLOB_BYTES, EVENTS, REQUESTS, Hello, read
from calls.rules.protocol import REFUSALS, page
from controlplane.base.refusal import BadInput

ROOT = Path(__file__).resolve().parent.parent.parent
CALL = "01234567-89ab-4def-8123-456789abcdef"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_page__of_the_protocol__is_current() -> None:
    assert (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8") == page()


def test_page__names__every_message_and_refusal() -> None:
    shown = page()
    for name in (*REQUESTS, *EVENTS, *REFUSALS):
        assert f"### {name}\n" in shown or f"`{name}`" in shown
    used = {code for message in (*REQUESTS.values(), Hello) for code in message.refusals}
    assert used <= set(REFUSALS)


@pytest.mark.parametrize(
    ("op", "body", "path"),
    [
        ("ringing", {"call": CALL.upper()}, "/call"),
        ("ringing", {"call": f"{CALL}\n"}, "/call"),
        ("ringing", {"call": None}, "/call"),
        ("relay", {"call": CALL, "blob": ""}, "/blob"),
        ("relay", {"call": CALL, "blob": "A" * 5}, "/blob"),
        ("relay", {"call": CALL, "blob": "A" * (BLOB_BYTES * 4 // 3 + 8)}, "/blob"),
        ("alive", {"call": CALL, "ticket": "é"}, "/ticket"),
        ("end", {"call": CALL, "reason": ["hangup"]}, "/reason"),
        ("invite", {"call": CALL, "ticket": "t", "blobs": {"x": "AAAA"}}, "/blobs/x"),
        ("invite", {"call": CALL, "ticket": "t", "blobs": {CALL: "A"}}, f"/blobs/{CALL}"),
        ("invite", {"call": CALL, "ticket": "t", "blobs": {}}, "/blobs"),
        ("prepare", {"callee": {"phone": ""}}, "/callee/phone"),
        ("prepare", {"callee": {"email": "a@b"}}, "/callee"),
    ],
)
def test_field__that_is_not_as_declared__is_named(op: str, body: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput) as fault:
        read(REQUESTS[op], body)

    assert fault.value.extra["path"] == path
    assert re.fullmatch(r"/\S+ must be .+\.", str(fault.value))


def test_field__at_its_limit__is_taken_and_unknown_members_are_left_out() -> None:
    body = {"call": CALL, "blob": "A" * ((BLOB_BYTES * 4 + 2) // 3), "extra": 1}

    assert read(REQUESTS["relay"], body) == {"call": CALL, "blob": body["blob"]}


@given(st.sampled_from(sorted(REQUESTS)), st.dictionaries(st.sampled_from(["call", "blob", "blobs", "callee"]), JSON))
def test_read__of_anything__gives_fields_or_says_where(op: str, raw: dict[str, Any]) -> None:
    path, fields = "/", dict[str, Any]()
    try:
        fields = read(REQUESTS[op], raw)
    except BadInput as fault:
        path = fault.extra["path"]

    assert path.startswith("/")
    assert set(fields) <= {field.encode_name for field in structs.fields(REQUESTS[op])}
