"""The Noise handshake against the official vector, and against everything that could be wrong on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.rules.noise_ik import (
    BadHandshake,
    KeyPair,
    Session,
    read_message_1,
    read_message_2,
    write_message_1,
    write_message_2,
)

VECTOR_FILE = Path(__file__).parent.parent / "vectors" / "noise_ik_25519_aesgcm_sha256.json"
VECTORS = json.loads(VECTOR_FILE.read_text(encoding="utf-8"))["vectors"]
LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def pair(name: str) -> KeyPair:
    return KeyPair.of(hashlib.sha256(name.encode()).digest())


def handshake(prologue: bytes = b"p", heard: bytes | None = None) -> tuple[Session, Session]:
    alice, bob = pair("alice"), pair("bob")
    first, initiated = write_message_1(alice, bob.public, pair("e1"), prologue, b"one")
    payload, responding = read_message_1(bob, prologue if heard is None else heard, first)
    assert (payload, responding.remote_static) == (b"one", alice.public)
    second, of_bob = write_message_2(responding, pair("e2"), b"two")
    payload, of_alice = read_message_2(initiated, second)
    assert payload == b"two"
    return of_alice, of_bob


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["protocol_name"])
def test_handshake__official_vector__reproduces_every_byte_on_both_sides(vector: dict) -> None:
    caller = KeyPair.of(bytes.fromhex(vector["init_static"]))
    callee = KeyPair.of(bytes.fromhex(vector["resp_static"]))
    assert callee.public.hex() == vector["init_remote_static"]
    payloads = [bytes.fromhex(message["payload"]) for message in vector["messages"]]
    ciphertexts = [bytes.fromhex(message["ciphertext"]) for message in vector["messages"]]

    first, initiated = write_message_1(
        caller,
        callee.public,
        KeyPair.of(bytes.fromhex(vector["init_ephemeral"])),
        bytes.fromhex(vector["init_prologue"]),
        payloads[0],
    )
    heard, responding = read_message_1(callee, bytes.fromhex(vector["resp_prologue"]), ciphertexts[0])
    second, of_callee = write_message_2(responding, KeyPair.of(bytes.fromhex(vector["resp_ephemeral"])), payloads[1])
    answered, of_caller = read_message_2(initiated, ciphertexts[1])

    assert [first, second] == ciphertexts[:2]
    assert [heard, answered] == payloads[:2]
    assert responding.remote_static == caller.public
    assert of_caller.handshake_hash.hex() == of_callee.handshake_hash.hex() == vector["handshake_hash"]
    assert len(payloads) >= 4
    for number, (payload, ciphertext) in enumerate(zip(payloads[2:], ciphertexts[2:], strict=True)):
        sender, receiver = (of_caller, of_callee) if number % 2 == 0 else (of_callee, of_caller)
        assert sender.seal(number // 2, payload) == ciphertext
        assert receiver.unseal(number // 2, ciphertext) == payload


def test_handshake__same_prologue__both_ends_share_hash_and_keys() -> None:
    of_alice, of_bob = handshake()

    assert of_alice.handshake_hash == of_bob.handshake_hash
    assert of_bob.unseal(0, of_alice.seal(0, b"hi")) == b"hi"
    assert of_alice.unseal(7, of_bob.seal(7, b"ho")) == b"ho"
    assert of_alice.send_key != of_alice.receive_key


def test_handshake__another_prologue__is_refused() -> None:
    with pytest.raises(BadHandshake):
        handshake(b"call 1", heard=b"call 2")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_message_1__low_order_ephemeral__aborts(point: str) -> None:
    bob = pair("bob")
    first, _ = write_message_1(pair("alice"), bob.public, pair("e1"), b"p", b"")

    with pytest.raises(BadHandshake, match="low-order"):
        read_message_1(bob, b"p", bytes.fromhex(point) + first[32:])


@pytest.mark.parametrize("point", LOW_ORDER)
def test_message_2__low_order_ephemeral__aborts(point: str) -> None:
    _, initiated = write_message_1(pair("alice"), pair("bob").public, pair("e1"), b"p", b"")

    with pytest.raises(BadHandshake, match="low-order"):
        read_message_2(initiated, bytes.fromhex(point) + bytes(48))


@pytest.mark.parametrize("point", LOW_ORDER)
def test_message_1__low_order_static_of_callee__aborts(point: str) -> None:
    with pytest.raises(BadHandshake, match="low-order"):
        write_message_1(pair("alice"), bytes.fromhex(point), pair("e1"), b"p", b"")


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_message_1__one_bit_changed__is_refused(at: int, bit: int) -> None:
    bob = pair("bob")
    first, _ = write_message_1(pair("alice"), bob.public, pair("e1"), b"p", b"payload")
    changed = bytearray(first)
    changed[at % len(first)] ^= 1 << bit
    if at % len(first) == 31 and bit == 7:
        changed[0] ^= (
            1  # X25519 ignores the top bit of a point, but the transcript doesn't; change one more all the same
        )

    with pytest.raises(BadHandshake):
        read_message_1(bob, b"p", bytes(changed))


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_message_2__one_bit_changed__is_refused(at: int, bit: int) -> None:
    bob = pair("bob")
    first, initiated = write_message_1(pair("alice"), bob.public, pair("e1"), b"p", b"")
    _, responding = read_message_1(bob, b"p", first)
    second, _ = write_message_2(responding, pair("e2"), b"offer")
    changed = bytearray(second)
    changed[at % len(second)] ^= 1 << bit

    with pytest.raises(BadHandshake):
        read_message_2(initiated, bytes(changed))


@pytest.mark.parametrize("length", [0, 31, 32, 95, 65_536])
def test_messages__wrong_length__are_refused(length: int) -> None:
    _, initiated = write_message_1(pair("alice"), pair("bob").public, pair("e1"), b"p", b"")

    with pytest.raises(BadHandshake):
        read_message_1(pair("bob"), b"p", bytes(length))
    with pytest.raises(BadHandshake):
        read_message_2(initiated, bytes(length))


def test_message_1__meant_for_somebody_else__is_refused() -> None:
    first, _ = write_message_1(pair("alice"), pair("bob").public, pair("e1"), b"p", b"")

    with pytest.raises(BadHandshake):
        read_message_1(pair("carol"), b"p", first)


def test_transport__wrong_counter_or_own_message__is_refused() -> None:
    of_alice, of_bob = handshake()
    sealed = of_alice.seal(3, b"x")

    with pytest.raises(BadHandshake):
        of_bob.unseal(4, sealed)
    with pytest.raises(BadHandshake):
        of_alice.unseal(3, sealed)
    with pytest.raises(BadHandshake):
        of_alice.seal(2**64 - 1, b"x")


def test_key_pair__repr__hides_the_private_half() -> None:
    alice = pair("alice")

    assert repr(alice.private) not in repr(alice)
    assert "send_key" not in repr(handshake()[0])
