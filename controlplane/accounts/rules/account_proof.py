"""A phone that registers may show that it holds the account's key: then it is the same person, however long they were
silent. The account's Ed25519 key signs the challenge and the device that registers, so that no proof fits another.
"""

from __future__ import annotations

from uuid import UUID

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from controlplane.accounts.rules.device_list import DeviceKeys

SIGNED_AS = b"rollcall registration v1\0"


def is_shown(account_key: bytes, signature: bytes, *, challenge: UUID, device: UUID, keys: DeviceKeys) -> bool:
    """Whether this signature was made by the account's key, for this registration of this device."""
    try:
        VerifyKey(account_key).verify(
            SIGNED_AS + challenge.bytes + device.bytes + keys.ed25519 + keys.x25519, signature
        )
    except (BadSignatureError, ValueError):
        return False
    return True
