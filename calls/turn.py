"""TURN credentials as coturn's `use-auth-secret` takes them (draft-uberti-behave-turn-rest-00).

The user name is `<expiry>:<uid>`, the password base64(HMAC-SHA1(secret, user name)). The uid is a keyed hash that
changes daily, so that a relay can't follow a person. Expiry is no kill switch: a session refreshes past it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

CREDENTIAL_SECONDS = 600


def user_id(key: bytes, subject: str, now: int) -> str:
    """A pseudonym of `subject` for the day of `now` (epoch seconds, UTC)."""
    day = now // 86_400
    return hashlib.blake2b(f"turn:{day}:{subject}".encode(), key=key, digest_size=12).hexdigest()


def ice_servers(
    urls: Sequence[str], secret: str, *, key: bytes, call: str, device: str, now: int
) -> list[dict[str, Any]]:
    """`iceServers` for one device in one call; empty when no relay is configured, never somebody else's server."""
    if not urls or not secret:
        return []
    username = f"{now + CREDENTIAL_SECONDS}:{user_id(key, f'{call}:{device}', now)}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return [{"urls": list(urls), "username": username, "credential": base64.b64encode(digest).decode()}]
