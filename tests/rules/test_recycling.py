"""When a number belongs to somebody else, and how a phone shows that it still belongs to the same person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from nacl.signing import SigningKey

from calls.rules import devices as phones_rule
from controlplane.accounts.rules.account_proof import is_shown
from controlplane.accounts.rules.device_list import DeviceKeys
from controlplane.accounts.rules.recycling import is_somebody_else

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
SILENT = timedelta(days=45)
JUST_OVER, JUST_UNDER = NOW - SILENT, NOW - SILENT + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("seen_at", "shows_key", "somebody_else"),
    [
        (JUST_OVER, False, True),
        (JUST_OVER, True, False),
        (JUST_UNDER, False, False),
        (JUST_UNDER, True, False),
        (None, False, False),
        (NOW, False, False),
    ],
)
def test_number__belongs_to_somebody_else__once_silent_for_long_and_without_the_key(
    seen_at: datetime | None, shows_key: bool, somebody_else: bool
) -> None:
    assert is_somebody_else(seen_at, silent=SILENT, shows_key=shows_key, now=NOW) is somebody_else


CHALLENGE, DEVICE, SEED = UUID(int=1), UUID(int=2), b"s" * 32
KEYS = DeviceKeys(b"e" * 32, b"x" * 32)
ACCOUNT = bytes(SigningKey(SEED).verify_key)
PHONES = phones_rule.DeviceKeys(str(DEVICE), KEYS.ed25519, KEYS.x25519)
SIGNED = phones_rule.sign_registration(str(CHALLENGE), PHONES, SEED)


@pytest.mark.parametrize(
    ("account", "signature", "challenge", "device", "keys", "shown"),
    [
        (ACCOUNT, SIGNED, CHALLENGE, DEVICE, KEYS, True),
        (bytes(SigningKey(b"t" * 32).verify_key), SIGNED, CHALLENGE, DEVICE, KEYS, False),
        (ACCOUNT, SIGNED, UUID(int=9), DEVICE, KEYS, False),
        (ACCOUNT, SIGNED, CHALLENGE, UUID(int=9), KEYS, False),
        (ACCOUNT, SIGNED, CHALLENGE, DEVICE, DeviceKeys(b"n" * 32, b"x" * 32), False),
        (ACCOUNT, SIGNED, CHALLENGE, DEVICE, DeviceKeys(b"e" * 32, b"n" * 32), False),
        (ACCOUNT, bytes(64), CHALLENGE, DEVICE, KEYS, False),
        (ACCOUNT, b"", CHALLENGE, DEVICE, KEYS, False),
        (b"", SIGNED, CHALLENGE, DEVICE, KEYS, False),
    ],
)
def test_account_key__is_shown__for_this_registration_of_this_device_only(
    account: bytes, signature: bytes, challenge: UUID, device: UUID, keys: DeviceKeys, shown: bool
) -> None:
    assert is_shown(account, signature, challenge=challenge, device=device, keys=keys) is shown
