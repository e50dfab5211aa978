"""Noise_IK_25519_AESGCM_SHA256 (Noise Protocol Framework, revision 34) as values: every step returns a new one.

The caller is the initiator and knows the callee's static key from the signed device list:

    <- s                     (known beforehand)
    -> e, es, s, ss          message 1, in the invite
    <- e, ee, se             message 2, in the accept

Ephemeral private keys are arguments: whoever calls draws them freshly and uses each exactly once. Transport messages
carry explicit counters, so a state never has to remember a nonce. AES-GCM comes from `cryptography` because libsodium's
needs processor instructions that cheap machines lack.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

PROTOCOL = b"Noise_IK_25519_AESGCM_SHA256"
KEY_BYTES = 32
TAG_BYTES = 16
MOST_BYTES = 65535
MOST_COUNTER = 2**64 - 2  # 2**64 - 1 is reserved by Noise


class BadHandshake(ValueError):
    """A message isn't from whom it claims, was changed on its way, or holds a low-order point: end the call."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 pair, 32 bytes each; the private half is never shown."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def of(cls, private: bytes) -> KeyPair:
        """The pair of 32 random bytes."""
        if len(private) != KEY_BYTES:
            raise ValueError("An X25519 private key has 32 bytes.")
        return cls(private, crypto_scalarmult_base(private))


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """What both ends hold after message 2: the handshake hash (equal on both) and one key per direction."""

    handshake_hash: bytes
    send_key: bytes
    receive_key: bytes

    def seal(self, counter: int, plaintext: bytes) -> bytes:
        """Transport message `counter` (from 0, never used twice for different bytes)."""
        return _seal(self.send_key, counter, b"", plaintext)

    def unseal(self, counter: int, ciphertext: bytes) -> bytes:
        """The plaintext of the peer's transport message `counter`. Raises `BadHandshake`."""
        return _unseal(self.receive_key, counter, b"", ciphertext)


@dataclass(frozen=True, slots=True, repr=False)
class _Symmetric:
    """Noise's SymmetricState: chaining key, transcript hash, and the key of the moment with its counter."""

    chain: bytes
    hash: bytes
    key: bytes | None = None
    counter: int = 0

    @classmethod
    def start(cls, prologue: bytes, responder_static: bytes) -> _Symmetric:
        first = PROTOCOL.ljust(32, b"\0")  # 28 bytes: padded, not hashed
        return cls(first, first).mix_hash(prologue).mix_hash(responder_static)

    def mix_hash(self, data: bytes) -> _Symmetric:
        return _Symmetric(self.chain, hashlib.sha256(self.hash + data).digest(), self.key, self.counter)

    def mix_key(self, secret: bytes) -> _Symmetric:
        chain, key = _hkdf(self.chain, secret)
        return _Symmetric(chain, self.hash, key, 0)

    def seal(self, plaintext: bytes) -> tuple[bytes, _Symmetric]:
        if self.key is None:
            return plaintext, self.mix_hash(plaintext)
        sealed = _seal(self.key, self.counter, self.hash, plaintext)
        return sealed, _Symmetric(self.chain, self.hash, self.key, self.counter + 1).mix_hash(sealed)

    def unseal(self, sealed: bytes) -> tuple[bytes, _Symmetric]:
        if self.key is None:
            return sealed, self.mix_hash(sealed)
        plaintext = _unseal(self.key, self.counter, self.hash, sealed)
        return plaintext, _Symmetric(self.chain, self.hash, self.key, self.counter + 1).mix_hash(sealed)

    def split(self) -> tuple[bytes, bytes]:
        """The keys of initiator → responder and of responder → initiator."""
        return _hkdf(self.chain, b"")


@dataclass(frozen=True, slots=True, repr=False)
class Initiated:
    """The caller after message 1, waiting for message 2."""

    state: _Symmetric
    static: KeyPair
    ephemeral: KeyPair


@dataclass(frozen=True, slots=True, repr=False)
class Responding:
    """The callee after message 1: `remote_static` is the caller's proven key, to be compared with the device list."""

    state: _Symmetric
    remote_static: bytes
    remote_ephemeral: bytes


def write_message_1(
    static: KeyPair, remote_static: bytes, ephemeral: KeyPair, prologue: bytes, payload: bytes
) -> tuple[bytes, Initiated]:
    """The caller's first message: ephemeral key, sealed static key, sealed payload."""
    state = _Symmetric.start(prologue, remote_static).mix_hash(ephemeral.public)
    state = state.mix_key(_shared(ephemeral.private, remote_static))
    sealed_static, state = state.seal(static.public)
    state = state.mix_key(_shared(static.private, remote_static))
    sealed_payload, state = state.seal(payload)
    message = ephemeral.public + sealed_static + sealed_payload
    if len(message) > MOST_BYTES:
        raise ValueError("A Noise message has at most 65,535 bytes.")
    return message, Initiated(state, static, ephemeral)


def read_message_1(static: KeyPair, prologue: bytes, message: bytes) -> tuple[bytes, Responding]:
    """The payload of message 1, and the state to answer from. Raises `BadHandshake`."""
    sealed_end = KEY_BYTES + KEY_BYTES + TAG_BYTES
    if not sealed_end + TAG_BYTES <= len(message) <= MOST_BYTES:
        raise BadHandshake("Message 1 has a wrong length.")
    ephemeral = message[:KEY_BYTES]
    state = _Symmetric.start(prologue, static.public).mix_hash(ephemeral)
    state = state.mix_key(_shared(static.private, ephemeral))
    remote_static, state = state.unseal(message[KEY_BYTES:sealed_end])
    state = state.mix_key(_shared(static.private, remote_static))
    payload, state = state.unseal(message[sealed_end:])
    return payload, Responding(state, remote_static, ephemeral)


def write_message_2(responding: Responding, ephemeral: KeyPair, payload: bytes) -> tuple[bytes, Session]:
    """The callee's only handshake message, and the session that it completes."""
    state = responding.state.mix_hash(ephemeral.public)
    state = state.mix_key(_shared(ephemeral.private, responding.remote_ephemeral))
    state = state.mix_key(_shared(ephemeral.private, responding.remote_static))
    sealed, state = state.seal(payload)
    message = ephemeral.public + sealed
    if len(message) > MOST_BYTES:
        raise ValueError("A Noise message has at most 65,535 bytes.")
    to_responder, to_initiator = state.split()
    return message, Session(state.hash, send_key=to_initiator, receive_key=to_responder)


def read_message_2(initiated: Initiated, message: bytes) -> tuple[bytes, Session]:
    """The payload of message 2 and the caller's session. Raises `BadHandshake`."""
    if not KEY_BYTES + TAG_BYTES <= len(message) <= MOST_BYTES:
        raise BadHandshake("Message 2 has a wrong length.")
    ephemeral = message[:KEY_BYTES]
    state = initiated.state.mix_hash(ephemeral)
    state = state.mix_key(_shared(initiated.ephemeral.private, ephemeral))
    state = state.mix_key(_shared(initiated.static.private, ephemeral))
    payload, state = state.unseal(message[KEY_BYTES:])
    to_responder, to_initiator = state.split()
    return payload, Session(state.hash, send_key=to_responder, receive_key=to_initiator)


def _shared(private: bytes, public: bytes) -> bytes:
    """X25519; an all-zero secret (a low-order point) aborts, as RFC 7748 §6.1 advises."""
    if len(public) != KEY_BYTES:
        raise BadHandshake("An X25519 key has 32 bytes.")
    try:
        secret = crypto_scalarmult(private, public)
    except RuntimeError as error:  # libsodium refuses low-order points by itself
        raise BadHandshake("The peer sent a low-order point.") from error
    if hmac.compare_digest(secret, bytes(KEY_BYTES)):
        raise BadHandshake("The peer sent a low-order point.")
    return secret


def _hkdf(chain: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs (RFC 5869 with an empty info)."""
    seed = hmac.digest(chain, secret, "sha256")
    first = hmac.digest(seed, b"\x01", "sha256")
    return first, hmac.digest(seed, first + b"\x02", "sha256")


def _nonce(counter: int) -> bytes:
    if not 0 <= counter <= MOST_COUNTER:
        raise BadHandshake("A counter must be below 2**64 - 1.")
    return bytes(4) + counter.to_bytes(8, "big")


def _seal(key: bytes, counter: int, ad: bytes, plaintext: bytes) -> bytes:
    return AESGCM(key).encrypt(_nonce(counter), plaintext, ad)


def _unseal(key: bytes, counter: int, ad: bytes, sealed: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(_nonce(counter), sealed, ad)
    except InvalidTag as error:
        raise BadHandshake("A message was changed on its way, or isn't meant for us.") from error
