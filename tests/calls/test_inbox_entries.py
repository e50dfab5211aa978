"""What waits for phones in Redis: sealed, since it says who calls from which number."""

from __future__ import annotations

from nacl.secret import SecretBox

from calls.edge.store import Entry, event_json, read_entries
from calls.rules.call import Tell

MINE, ANOTHER = SecretBox(b"m" * 32), SecretBox(b"a" * 32)


def test_entries__opened__are_those_that_this_deployment_sealed() -> None:
    ring = Tell("device", "ring", {"from": {"phone": "+493090182001"}}, key="ring:1")
    raws = [f"{seq}\n1000\n{event_json(ring, box)['body']}".encode() for seq, box in ((1, MINE), (2, ANOTHER))]
    raws.append(b"3\n1000\nnothing sealed")

    assert not any(b"+49" in raw for raw in raws)
    assert read_entries(raws, MINE) == (Entry(1, 1000, b'{"t":"ring","from":{"phone":"+493090182001"}}'),)
