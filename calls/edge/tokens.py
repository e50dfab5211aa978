"""Access tokens on the edge: an EdDSA JWT, verified by PyNaCl with algorithm and key id pinned, and remembered."""

from __future__ import annotations

import binascii
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from controlplane.accounts.rules.access_token import AUDIENCE, ISSUER
from controlplane.base import base64url
from controlplane.base.refusal import NotAuthenticated

MOST_REMEMBERED = 20_000
SKEW_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Token:
    """Whose token it is. `traits`, `grants` and `frozen` are the claims tr, g and fr; times in epoch seconds."""

    subscriber: str
    device: str
    issued_at: int
    expires_at: int
    traits: Mapping[str, Any]
    grants: Mapping[str, Mapping[str, Any]]
    frozen: frozenset[str]


class Tokens:
    """Verifies tokens of one key. A verified token is remembered, so that only its expiry is looked at again."""

    def __init__(self, public: VerifyKey, key_id: str) -> None:
        self._public = public
        self._key_id = key_id
        self._known: OrderedDict[str, Token] = OrderedDict()

    def read(self, raw: str, now: float, grace: float = 0) -> Token:
        """The token of a bearer; `grace` (s) is how long past expiry it is honoured. Raises `NotAuthenticated`."""
        token = self._known.get(raw)
        if token is None:
            token = self._verify(raw)
            self._known[raw] = token
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        if left(token, now, grace) < 0:
            raise token_expired()
        return token

    def _verify(self, raw: str) -> Token:
        try:
            head, body, signature = raw.split(".")
            header = orjson.loads(base64url.decode(head))
            if header["alg"] != "EdDSA" or header["kid"] != self._key_id:
                raise NotAuthenticated("The access token was not made by this service: sign in again.")
            self._public.verify(f"{head}.{body}".encode(), base64url.decode(signature))
            claims = orjson.loads(base64url.decode(body))
            if (claims["iss"], claims["aud"]) != (ISSUER, AUDIENCE):
                raise NotAuthenticated("The access token was not made by this service: sign in again.")
            return Token(
                subscriber=str(claims["sub"]),
                device=str(claims["did"]),
                issued_at=int(claims["iat"]),
                expires_at=int(claims["exp"]),
                traits=claims.get("tr", {}),
                grants=claims.get("g", {}),
                frozen=frozenset(claims.get("fr", ())),
            )
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, BadSignatureError) as error:
            raise NotAuthenticated("The access token can't be read: sign in again.") from error


def left(token: Token, now: float, grace: float) -> float:
    """Seconds for which the token is still honoured; `grace` (s) counts past its expiry."""
    return token.expires_at + SKEW_SECONDS + grace - now


def token_expired() -> NotAuthenticated:
    return NotAuthenticated("The access token has expired: refresh it.", extra={"cause": "token_expired"})


def bearer(header: str | None) -> str:
    """The token of an Authorization header. Raises `NotAuthenticated`."""
    scheme, _, raw = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not raw or len(raw) > 16_384:
        raise NotAuthenticated("Send an access token: Authorization: Bearer …")
    return raw.strip()
