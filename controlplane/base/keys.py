"""Every key that Rollcall uses, derived from the one master secret of the deployment.

Plain Python: shared by Django, the edge and the supervisor. A subkey is keyed BLAKE2b-256 of its label, so no subkey
tells anything about another or about the master secret. Its key id is the start of a hash, and travels beside what it
signed or sealed, so that a later secret can stand beside this one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from nacl.secret import SecretBox
from nacl.signing import SigningKey, VerifyKey


def derive(secret: bytes, label: str) -> bytes:
    """32 bytes for one purpose; the same secret and label always give the same bytes."""
    return hashlib.blake2b(label.encode(), key=secret, digest_size=32, person=b"rollcall-key-v1").digest()


def key_id(public: bytes) -> str:
    """A short name for a key: 8 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:8]


@dataclass(frozen=True)
class Keys:
    """Subkeys of one master secret (32 bytes). Its repr never shows key material."""

    secret: bytes = field(repr=False)

    @cached_property
    def django_secret(self) -> str:
        return derive(self.secret, "django").hex()

    @cached_property
    def token(self) -> SigningKey:
        return SigningKey(derive(self.secret, "access token"))

    @cached_property
    def token_public(self) -> VerifyKey:
        return self.token.verify_key

    @cached_property
    def token_key_id(self) -> str:
        return key_id(bytes(self.token_public))

    @cached_property
    def ruleset(self) -> SigningKey:
        return SigningKey(derive(self.secret, "ruleset"))

    @cached_property
    def ruleset_key_id(self) -> str:
        return key_id(bytes(self.ruleset.verify_key))

    @cached_property
    def ticket(self) -> SecretBox:
        return SecretBox(derive(self.secret, "call ticket"))

    @cached_property
    def inbox(self) -> SecretBox:
        """Seals the events that wait in Redis for phones."""
        return SecretBox(derive(self.secret, "inbox"))

    @cached_property
    def code(self) -> bytes:
        """Keys the hashes of one-time codes."""
        return derive(self.secret, "one-time code")

    @cached_property
    def refresh(self) -> bytes:
        """Keys the derivation of a refresh token's successor."""
        return derive(self.secret, "refresh token")

    @cached_property
    def limit(self) -> bytes:
        """Keys the hashes under which uses of a limit are counted."""
        return derive(self.secret, "limit")

    def edge_mark(self, address: str) -> str:
        """What an edge sends to web beside a client's address: only a process that holds the secret can make it."""
        return hashlib.blake2b(address.encode(), key=derive(self.secret, "edge mark"), digest_size=16).hexdigest()

    @cached_property
    def push(self) -> SecretBox:
        """Seals the push tokens of devices."""
        return SecretBox(derive(self.secret, "push token"))

    @cached_property
    def stream(self) -> bytes:
        """Seals the passes in the addresses of event streams."""
        return derive(self.secret, "event stream")

    @cached_property
    def audit(self) -> SigningKey:
        """Signs the head of the audit chain."""
        return SigningKey(derive(self.secret, "audit head"))

    @cached_property
    def pseudonym(self) -> bytes:
        """Keys the pseudonyms in call records and TURN user names; callers add the month or day."""
        return derive(self.secret, "pseudonym")

    def phone_hash(self, e164: str) -> bytes:
        """The look-up hash (32 bytes) of a phone number in E.164 form, such as +493012345."""
        return hashlib.blake2b(e164.encode(), key=derive(self.secret, "phone hash"), digest_size=32).digest()

    @cached_property
    def _phone_box(self) -> SecretBox:
        return SecretBox(derive(self.secret, "phone seal"))

    def seal_phone(self, e164: str) -> bytes:
        """The sealed number: only a process that holds the secret can read it back."""
        return bytes(self._phone_box.encrypt(e164.encode()))

    def unseal_phone(self, sealed: bytes) -> str:
        """Raises nacl.exceptions.CryptoError when the bytes were not sealed by this deployment."""
        return self._phone_box.decrypt(sealed).decode()
