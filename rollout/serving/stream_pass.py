"""The pass in an event stream's address: who may listen, about whom, and until when the stream may be opened.

A browser's EventSource sends no headers, so the address itself must do. The pass opens an event stream and nothing
else; it is sealed, so an address tells nothing about a person. One person's passes are the same bytes for a while (the
nonce is derived from what is sealed): an answer that holds one keeps its ETag, until a newer pass is due.
"""

from __future__ import annotations

import binascii
import hashlib
import zlib
from dataclasses import dataclass

import orjson
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from controlplane.base import base64url
from controlplane.base.refusal import NotAuthenticated

PERIOD = 900  # seconds: a backend's pass is good for one to two of these
LONGEST = 2_048
MOST_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class StreamPass:
    """`subscriber` is whose grants matter (any targeting key, for a backend); exactly one of `device` and `key` is set.

    `key` is the id of the backend's API key. `good_until` in epoch seconds; a phone's is the end of its access token.
    """

    subscriber: str
    device: str
    key: str
    good_until: int

    @property
    def holder(self) -> str:
        """Whose streams are counted together."""
        return f"{self.key} {self.subscriber}"


def good_until(subscriber: str, now: float) -> int:
    """The end of the next period. Periods begin at another second for each person, so that not all renew at once."""
    shift = zlib.crc32(subscriber.encode("utf-8", "surrogatepass")) % PERIOD
    return (int(now + shift) // PERIOD + 2) * PERIOD - shift


class Seal:
    """`key` is 32 bytes, the same in every process."""

    def __init__(self, key: bytes) -> None:
        self._nonce_key = hashlib.blake2b(b"nonce", key=key, digest_size=32).digest()
        self._box = SecretBox(key)
        self._written: dict[StreamPass, str] = {}

    def write(self, issued: StreamPass) -> str:
        """The pass as it stands in an address."""
        found = self._written.get(issued)
        if found is None:
            if len(self._written) >= MOST_REMEMBERED:
                self._written.clear()
            found = self._written[issued] = self._sealed(issued)
        return found

    def _sealed(self, issued: StreamPass) -> str:
        body = orjson.dumps([1, issued.subscriber, issued.device, issued.key, issued.good_until])
        nonce = hashlib.blake2b(body, key=self._nonce_key, digest_size=SecretBox.NONCE_SIZE).digest()
        return base64url.encode(self._box.encrypt(body, nonce))

    def read(self, raw: str, now: float, grace: float = 0) -> StreamPass:
        """Raises `NotAuthenticated` for what was not sealed here, and for what may no longer be used.

        `grace` (s) is how long past its end a phone's is honoured.
        """
        try:
            if not raw or len(raw) > LONGEST:
                raise ValueError
            sealed = base64url.decode(raw)
            version, subscriber, device, key, until = orjson.loads(self._box.decrypt(sealed))
            if version != 1:
                raise ValueError
        except (ValueError, TypeError, binascii.Error, CryptoError) as error:
            raise NotAuthenticated(
                "This address of an event stream can't be used: evaluate the flags again to get one."
            ) from error
        if now >= until + (grace if device else 0):
            raise NotAuthenticated("This address of an event stream is too old: evaluate the flags again to get one.")
        return StreamPass(subscriber, device, key, until)
