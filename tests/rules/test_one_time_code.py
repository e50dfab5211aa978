"""One-time codes: their digits and their hashes."""

from __future__ import annotations

from uuid import UUID

import pytest

from controlplane.accounts.rules.one_time_code import as_digits, code_hash, is_code

CHALLENGE, OTHER = UUID(int=1), UUID(int=2)
KEY = bytes(32)


@pytest.mark.parametrize(("number", "digits"), [(0, "000000"), (7, "000007"), (999_999, "999999")])
def test_digits__of_a_number__are_always_six(number: int, digits: str) -> None:
    assert as_digits(number) == digits


def test_hash__of_a_code__is_pinned() -> None:
    assert code_hash("123456", CHALLENGE, KEY).hex() == (
        "ec4b2c5abd73456ee9c8e953af587b5fa6062e492d75e33d5c95ce5b1817a6b6"
    )


@pytest.mark.parametrize(
    ("guess", "challenge", "key", "right"),
    [
        ("123456", CHALLENGE, KEY, True),
        ("123457", CHALLENGE, KEY, False),
        ("123456", OTHER, KEY, False),
        ("123456", CHALLENGE, b"k" * 32, False),
        ("", CHALLENGE, KEY, False),
    ],
)
def test_guess__counts__only_for_its_own_challenge(guess: str, challenge: UUID, key: bytes, right: bool) -> None:
    assert is_code(guess, challenge, key, code_hash("123456", CHALLENGE, KEY)) is right


def test_guess__without_a_stored_code__is_wrong() -> None:
    assert not is_code("123456", CHALLENGE, KEY, b"")
