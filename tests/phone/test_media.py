"""Real sound between two phones: each hears the other and not itself, and a wrong end is never listened to."""

from __future__ import annotations

import asyncio
import socket
import wave
from pathlib import Path
from typing import Any

import numpy
import pytest

from calls.phone.incoming import Answering, Policy
from calls.phone.leg import SecurityError, Wish
from calls.phone.media import Connection
from calls.phone.sound import BadSound, Recorder, Source, read_wav, tone
from calls.rules.blob import Role, confirmation
from tests.phone.conftest import NUMBERS, OpenPhone, loudness


def samples_of(path: Path) -> Any:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48_000, 1, 2)
        return numpy.frombuffer(file.readframes(file.getnframes()), dtype=numpy.int16)


async def test_call__three_seconds_of_sound__each_hears_the_other_and_not_itself(
    phones: OpenPhone, tmp_path: Path
) -> None:
    alice, bob = await phones("alice", real=True), await phones("bob", real=True)
    by_alice, by_bob = tmp_path / "alice.wav", tmp_path / "bob.wav"
    bob.policy = Policy(Answering.AUTO, wish=Wish(tone=1300, record=by_bob))

    ending = await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=3.5, tone=700, record=by_alice))
    ended = await bob.heard.wait("ended")

    assert (ending.reason, ended["reason"]) == ("hangup", "hangup")
    for path, heard, own in ((by_alice, 1300, 700), (by_bob, 700, 1300)):
        samples = samples_of(path)
        assert len(samples) >= 3 * 48_000
        middle = samples[12_000 : 12_000 + 2 * 48_000]
        assert numpy.sqrt(numpy.mean(middle.astype(float) ** 2)) > 1_000
        assert loudness(middle, heard) > 0.9
        assert loudness(middle, own) < 0.001
    stats = next(event for event in alice.heard.events if event["event"] == "ended")["stats"]
    assert stats["received"] > 140
    assert stats["jitter_ms"] < 20
    assert {"media", "connected"} <= set(alice.heard.names()) & set(bob.heard.names())


async def test_call__loopback_base_url__gathers_no_other_address(phones: OpenPhone, monkeypatch: Any) -> None:
    alice, bob = await phones("alice", real=True), await phones("bob", real=True)
    bob.policy = Policy(Answering.AUTO)
    offered: list[Any] = []
    offer = Connection.offer

    async def watched(self: Connection) -> Any:
        offered.append(await offer(self))
        return offered[-1]

    monkeypatch.setattr(Connection, "offer", watched)
    asked: list[Any] = []
    monkeypatch.setattr(socket, "gethostbyname", lambda name: asked.append(name))

    await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0.1))

    assert {candidate.ip for candidate in offered[0].cands} == {"127.0.0.1"}
    assert asked == []  # no STUN server was looked for


async def pair_of_connections(record: Path | None = None) -> tuple[Connection, Connection]:
    def connection(hertz: int) -> Connection:
        return Connection(Source(tone(hertz)), Recorder(record if hertz == 700 else None), loopback=True)

    return connection(700), connection(1300)


async def no_words(*unused: Any) -> Any:
    raise AssertionError("real media confirms inside DTLS")


@pytest.mark.parametrize("whose", ["offer", "answer"])
async def test_media__fingerprint_of_somebody_else__is_a_security_error(whose: str) -> None:
    caller, callee = await pair_of_connections()
    third, _ = await pair_of_connections()
    foreign = (await third.offer()).fp
    try:
        offer = await callee.offer()
        if whose == "offer":
            offer = type(offer)(offer.ufrag, offer.pwd, foreign, offer.setup, offer.cands, offer.ssrc)
        answer = await caller.answer(offer)
        if whose == "answer":
            answer = type(answer)(answer.ufrag, answer.pwd, foreign, answer.setup, answer.cands, answer.ssrc)
        await callee.take_answer(answer)

        deceived = caller if whose == "offer" else callee
        with pytest.raises(SecurityError):
            await deceived.confirm("a", "b", no_words, no_words)
        assert not deceived.source.released
        assert not deceived.recorder.released
    finally:
        for connection in (caller, callee, third):
            await connection.close()


async def test_media__another_handshake_at_the_other_end__is_a_security_error_and_nothing_is_heard(
    tmp_path: Path,
) -> None:
    caller, callee = await pair_of_connections(tmp_path / "heard.wav")
    try:
        await callee.take_answer(await caller.answer(await callee.offer()))
        theirs, ours = b"t" * 32, b"o" * 32
        of_callee = asyncio.create_task(
            callee.confirm(
                confirmation(Role.RESPONDER, theirs), confirmation(Role.INITIATOR, theirs), no_words, no_words
            )
        )

        with pytest.raises(SecurityError, match="another handshake"):
            await caller.confirm(
                confirmation(Role.INITIATOR, ours), confirmation(Role.RESPONDER, ours), no_words, no_words
            )
        with pytest.raises(SecurityError):
            await of_callee
        assert caller.recorder.written == 0
    finally:
        await caller.close()
        await callee.close()


async def test_media__own_confirmation_sent_back__is_a_security_error() -> None:
    caller, callee = await pair_of_connections()
    try:
        await callee.take_answer(await caller.answer(await callee.offer()))
        own, expected = confirmation(Role.INITIATOR, b"h" * 32), confirmation(Role.RESPONDER, b"h" * 32)
        echo = asyncio.create_task(callee.confirm(own, own, no_words, no_words))

        with pytest.raises(SecurityError):
            await caller.confirm(own, expected, no_words, no_words)
        await echo
    finally:
        await caller.close()
        await callee.close()


def test_wav__written_by_us__is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        sine = (10_000 * numpy.sin(2 * numpy.pi * 500 * numpy.arange(16_000) / 16_000)).astype(numpy.int16)
        file.writeframes(sine.tobytes())

    samples = numpy.frombuffer(read_wav(path), dtype=numpy.int16)

    assert abs(len(samples) - 48_000) < 200
    assert loudness(samples, 500) > 0.95


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all"])
def test_wav__damaged__says_which_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)

    with pytest.raises(BadSound, match=r"bad\.wav"):
        read_wav(path)


def test_recorder__lost_packets__leave_silence_of_their_length(tmp_path: Path) -> None:
    path = tmp_path / "gap.wav"
    recorder = Recorder(path)

    recorder._write(5_000, b"\1\0" * 960)
    recorder._write(5_000 + 960 * 4, b"\2\0" * 960)
    recorder.close()

    samples = samples_of(path)
    assert len(samples) == 960 * 5
    assert (samples[:960] == 1).all()
    assert (samples[960 : 960 * 4] == 0).all()
    assert (samples[960 * 4 :] == 2).all()
