"""Buckets: where in 0 … 999,999 a person stands, per feature.

`bucket = (murmur3_32(salt + unit) * 1_000_000) >> 32`, tested half-open as `bucket < share_ppm`. The salt is fixed per
feature, so raising a share removes nobody, and two features are independent. Golden vectors stand in
`tests/vectors/buckets.json`.
"""

from __future__ import annotations

from collections.abc import Sequence

import mmh3

MILLION = 1_000_000
UNLEASH_VARIANT_SEED = 86_028_157


def bucket(salt: str, unit: str) -> int:
    """0 … 999,999; the same for ever for the same salt and unit (a subscriber's id in lower case)."""
    return (mmh3.hash(salt + unit, 0, False) * MILLION) >> 32


def least_hash_beyond(share_ppm: int) -> int:
    """The least 32-bit hash outside the share: `hash < least_hash_beyond(s)` is the same as `bucket < s`."""
    return -((-share_ppm << 32) // MILLION)


def variant_bucket(salt: str, unit: str) -> int:
    """A second bucket, independent of the first, by which weighted variants are told apart.

    Were it the same bucket, a rule's share would cut the last variants off.
    """
    return (mmh3.hash(salt + "variant:" + unit, 0, False) * MILLION) >> 32


def weighted(position: int, weights_ppm: Sequence[int]) -> int:
    """The index of the weight in whose half-open interval the position (0 … 999,999) lies; weights sum to a million."""
    upper = 0
    for index, weight in enumerate(weights_ppm):
        upper += weight
        if position < upper:
            return index
    return len(weights_ppm) - 1


def unleash_percent(group: str, unit: str) -> int:
    """Unleash's normaliser, 1 … 100, for flags imported from there: `murmur3_32(group:unit) % 100 + 1`."""
    return int(mmh3.hash(f"{group}:{unit}", 0, False)) % 100 + 1


def unleash_variant(group: str, unit: str, total: int) -> int:
    """Unleash's normaliser for variants, 1 … total, with the seed that it uses for them."""
    return int(mmh3.hash(f"{group}:{unit}", UNLEASH_VARIANT_SEED, False)) % total + 1
