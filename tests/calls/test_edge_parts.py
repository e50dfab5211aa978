"""The edge's smaller parts, one at a time: credentials, tokens, tickets, numbering, records, forms of a call."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from calls.edge import edge
from calls.edge.journal import BATCH, Journal, as_row, pseudonym
from calls.edge.limits import FRAMES_BURST, FrameBudget
from calls.edge.metrics import Metrics
from calls.edge.placing import until_beat
from calls.edge.record import call_from_json, call_to_json
from calls.edge.session import Numbering, event_frame
from calls.edge.store import Entry, Stored
from calls.edge.tickets import BadTicket, Ticket, unseal
from calls.edge.tokens import Tokens, bearer
from calls.edge.watch import Watch
from calls.rules.call import Answered, Call, Cancelled, Finished, Gone, Identity, Invited, Linked, Rang
from calls.rules.ending import Reason
from calls.rules.moves import step
from calls.turn import CREDENTIAL_SECONDS, ice_servers, user_id
from controlplane.base.addresses import client_address
from controlplane.base.refusal import NotAuthenticated
from rollout.rules.definition.feature import Access
from rollout.serving.feed import FeedRow

NOW = 1_790_000_000
KEY = b"k" * 32


# TURN


def test_turn_credential__is_the_hmac_of_its_user_name_and_expires() -> None:
    (server,) = ice_servers(["turn:relay.example"], "secret", key=KEY, call="c", device="d", now=NOW)

    expiry, uid = server["username"].split(":")
    expected = base64.b64encode(hmac.new(b"secret", server["username"].encode(), hashlib.sha1).digest()).decode()
    assert server["credential"] == expected
    assert int(expiry) == NOW + CREDENTIAL_SECONDS <= NOW + 600
    assert uid == user_id(KEY, "c:d", NOW)


def test_turn_user_id__changes_daily_and_with_the_key() -> None:
    today = user_id(KEY, "c:d", NOW)

    assert user_id(KEY, "c:d", NOW + 86_400) != today
    assert user_id(b"x" * 32, "c:d", NOW) != today
    assert "c:d" not in today


@pytest.mark.parametrize(("urls", "secret"), [([], "secret"), (["turn:relay.example"], "")])
def test_turn__that_is_not_configured__gives_no_server_at_all(urls: list[str], secret: str) -> None:
    assert ice_servers(urls, secret, key=KEY, call="c", device="d", now=NOW) == []


# Tokens

SEED = b"s" * 32
CLAIMS: dict[str, Any] = {
    "iss": "rollcall", "aud": "rollcall.phones", "sub": "alice", "did": "phone", "iat": NOW, "exp": NOW + 900,
    "tr": {"country": "DE"}, "g": {"voice-calls": {"id": 1, "src": "seed"}}, "fr": ["voice-calls"],
}  # fmt: skip


def tokens() -> Tokens:
    return Tokens(SigningKey(SEED).verify_key, "kid-1")


def minted(*, seed: bytes = SEED, kid: str = "kid-1", **changes: Any) -> str:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return jwt.encode({**CLAIMS, **changes}, key, algorithm="EdDSA", headers={"kid": kid})


def test_token__minted_by_pyjwt__is_read_with_its_claims() -> None:
    token = tokens().read(minted(), NOW)

    assert (token.subscriber, token.device, token.traits) == ("alice", "phone", {"country": "DE"})
    assert token.frozen == {"voice-calls"}


@pytest.mark.parametrize(
    "raw",
    [
        minted(seed=b"x" * 32),
        minted(kid="kid-2"),
        minted(iss="somebody"),
        minted(aud="somebody.else"),
        minted(aud=None),
        minted()[:-4] + "AAAA",
        jwt.encode(CLAIMS, "s" * 32, algorithm="HS256", headers={"kid": "kid-1"}),
        "..",
        "a.b",
        "é.b.c",
        minted(sub=None) + ".x",
    ],
)
def test_token__that_is_not_ours__is_refused(raw: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens().read(raw, NOW)


def test_token__past_its_time__is_honoured_only_for_the_grace() -> None:
    reader, raw = tokens(), minted()
    reader.read(raw, NOW)

    with pytest.raises(NotAuthenticated) as expired:
        reader.read(raw, NOW + 906)
    assert expired.value.extra["cause"] == "token_expired"
    assert reader.read(raw, NOW + 906, grace=60).subscriber == "alice"
    with pytest.raises(NotAuthenticated):
        reader.read(raw, NOW + 966, grace=60)


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer " + "x" * 20_000])
def test_bearer__without_a_token__is_refused(header: str | None) -> None:
    with pytest.raises(NotAuthenticated):
        bearer(header)


# Tickets


IDENTITY = Identity("c1", "voice-calls", "audio", "DE", "alice", "a1", "bob")


def ticket() -> Ticket:
    return Ticket(
        IDENTITY, phone="+4930901820", caller_list="f", devices=("b1",), activates=True, caller_grant=7,
        window={"state": "open"}, made_at=NOW, epoch="e",
    )  # fmt: skip


def test_ticket__sealed_and_opened_by_its_ends__is_the_same_and_hides_the_number() -> None:
    box = SecretBox(KEY)
    sealed = ticket().seal(box)

    assert unseal(box, sealed, "c1", "a1") == unseal(box, sealed, "c1", "b1") == ticket()
    assert b"+4930901820" not in base64.urlsafe_b64decode(sealed + "==")


@pytest.mark.parametrize(("call", "device"), [("c2", "a1"), ("c1", "m1")])
def test_ticket__for_another_call_or_device__is_refused(call: str, device: str) -> None:
    box = SecretBox(KEY)

    with pytest.raises(BadTicket):
        unseal(box, ticket().seal(box), call, device)


@given(st.text(max_size=200))
def test_ticket__of_any_text__is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(BadTicket):
        unseal(SecretBox(KEY), text, "c1", "a1")


# Numbers of events


def test_numbering__through_a_silence_and_an_emptied_inbox__never_goes_back() -> None:
    numbers = Numbering()
    assert [numbers.shown(seq) for seq in (1, 2)] == [1, 2]

    numbers.skew += 1  # one event was told outside the inbox, as number 3
    assert numbers.shown(3) == 4
    numbers.until = 3  # and the inbox skipped a number afterwards: its next is 5
    assert (numbers.shown(5), numbers.stored(5), numbers.stored(4)) == (5, 5, 3)

    emptied = Numbering()
    emptied.skew = 7
    assert (emptied.shown(1), emptied.stored(8), emptied.stored(3)) == (8, 1, 0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 200))
def test_numbering__there_and_back__is_the_same(skew: int, until: int, seq: int) -> None:
    numbers = Numbering()
    numbers.skew, numbers.until = skew, until
    seq = seq if seq <= until else seq + skew

    assert numbers.stored(numbers.shown(seq)) == seq


def test_event_frame__carries_number_and_age() -> None:
    frame = event_frame(Entry(4, 1000, b'{"t":"ring","call":"c"}'), 9, 1250)

    assert orjson.loads(frame) == {"k": "ev", "seq": 9, "age_ms": 250, "t": "ring", "call": "c"}


def test_frame_budget__lets_a_burst_through_and_then_twenty_a_second() -> None:
    budget = FrameBudget(0.0)

    assert sum(budget.spend(0.0) for _ in range(FRAMES_BURST + 10)) == FRAMES_BURST
    assert sum(budget.spend(1.0) for _ in range(100)) == 20


# Records


def some_calls() -> list[Call]:
    event = Invited(IDENTITY, {"b1": {}, "b2": {}}, pending=False)
    call, _ = step(None, event, NOW)
    calls = [call]
    for happening in (Rang("b1"), Answered("b1", "blob"), Linked("a1"), Linked("b1")):
        call, _ = step(call, happening, NOW)
        calls.append(call)
    calls.append(step(calls[1], Cancelled("a1"), NOW)[0])
    return [call for call in calls if call is not None]


@pytest.mark.parametrize("call", some_calls(), ids=lambda call: str(call.state))
def test_record__of_every_state__reads_back_as_it_was(call: Call) -> None:
    assert call_from_json(call_to_json(call)) == call
    assert call_from_json(call_to_json(replace(call, pending=True, settled=True))).settled


def test_pseudonym__of_a_person__is_the_same_for_a_month_only() -> None:
    first = pseudonym(KEY, "alice", NOW * 1000)

    assert pseudonym(KEY, "alice", NOW * 1000 + 1) == first
    assert pseudonym(KEY, "alice", (NOW + 40 * 86_400) * 1000) != first
    assert pseudonym(KEY, "bob", NOW * 1000) != first


# The journal


def test_row_of_the_journal__names_only_what_its_function_reads() -> None:
    reads = (Path(edge.__file__).parents[1] / "sql" / "journal.sql").read_text()

    assert [name for name in as_row(some_calls()[0], 1, KEY) if not re.search(rf"\br\.\"?{name}\b", reads)] == []


class Notebook:
    """A database that takes its time."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.going = asyncio.Event()

    async def row(self, sql: str, args: Any = (), **_: Any) -> None:
        await self.going.wait()
        self.rows += [row["id"] for row in orjson.loads(args[0])]


async def test_journal__stopped_while_it_writes__keeps_the_batch_for_the_last_flush() -> None:
    notebook = Notebook()
    journal = Journal(notebook, Metrics(), KEY)  # type: ignore[arg-type]
    call = some_calls()[0]
    calls = [replace(call, identity=replace(IDENTITY, call=f"c{n}")) for n in range(BATCH + 1)]
    for call in calls:
        journal.add(call, 1)
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0.1)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    notebook.going.set()
    await journal.empty()

    assert sorted(notebook.rows) == sorted(call.id for call in calls)


# Refusals


@pytest.mark.parametrize(("elapsed", "answered"), [(0.0, 0.06), (0.02, 0.06), (0.059, 0.06), (0.07, 0.12), (0.1, 0.12)])
def test_refusal__about_a_callee__goes_out_on_a_beat(elapsed: float, answered: float) -> None:
    assert elapsed + until_beat(elapsed) == pytest.approx(answered)


# Whose request it is


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.7", "203.0.113.5"),  # nobody of ours: what it says counts for nothing
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.2", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.2", "1.2.3.4, 198.51.100.7", "198.51.100.7"),  # the client wrote the first one
        ("10.0.0.2", "198.51.100.7, 10.0.0.3", "198.51.100.7"),
        ("10.0.0.2", "10.0.0.4,10.0.0.3", "10.0.0.4"),
        ("10.0.0.2", "198.51.100.7, nonsense", "nonsense"),
    ],
)
def test_client__behind_proxies__is_the_nearest_that_is_not_one(peer: str, forwarded: str, client: str) -> None:
    assert client_address(peer, forwarded, [ip_network("10.0.0.0/8")]) == client


# What runs beside the requests


async def test_kept_going__that_fails__begins_anew_and_ends_though_its_cancelling_became_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "PAUSE_SECONDS", 0.01)
    begun = []

    async def work() -> None:
        begun.append(1)
        if len(begun) == 1:
            raise ValueError
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError from None

    running = asyncio.create_task(edge._kept_going("work", work))
    async with asyncio.timeout(10):
        while len(begun) < 2:
            await asyncio.sleep(0.01)
    await edge._end_all([running])

    assert running.done()
    assert len(begun) == 2


async def test_end_all__of_a_task_that_lost_its_cancelling__ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "PAUSE_SECONDS", 0.05)

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    running = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    await edge._end_all([running])

    assert running.done()


# Revocations


def test_revocations__of_many_at_once__look_at_each_call_once() -> None:
    looks = 0

    class Known(dict[str, Stored]):
        def items(self) -> Any:
            nonlocal looks
            looks += 1
            return super().items()

    running = some_calls()[-2]
    identities = [Identity(f"c{n}", "voice-calls", "audio", "DE", f"a{n}", f"ad{n}", "bob") for n in range(50)]
    known = Known({each.call: Stored(replace(running, identity=each), 1) for each in identities})
    feature = SimpleNamespace(feature=SimpleNamespace(access=Access.GRANTED))
    gate = SimpleNamespace(rulesets=SimpleNamespace(current=SimpleNamespace(features={"voice-calls": feature})))
    arbiter: Any = SimpleNamespace(known=known, spawn=lambda work: spawned.append(work))
    sockets: Any = SimpleNamespace(sign_out=lambda device: device)
    spawned: list[Any] = []
    unused: Any = None
    watch = Watch(unused, arbiter, unused, sockets, SimpleNamespace(gate=gate))  # type: ignore[arg-type]
    rows = [
        FeedRow(n, "grant.revoked", {"feature": "voice-calls", "subscriber": f"a{n}", "grant": n}, NOW)
        for n in range(40)
    ] + [FeedRow(50, "device.revoked", {"device": "ad45", "subscriber": "a45"}, NOW)]

    watch.feed_changed(rows)
    (ended,) = [work for work in spawned if work != "ad45"]
    ends = dict(ended.cr_frame.f_locals["ends"])
    ended.close()

    assert looks == 1
    assert ends == {**{f"c{n}": Finished(Reason.GRANT_ENDED) for n in range(40)}, "c45": Gone("ad45")}
    assert "ad45" in spawned
