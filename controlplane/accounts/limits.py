"""The limits on codes and guesses: one line each. They stand in PostgreSQL, since they protect people and money."""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400
HOUR = 3_600


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `cap` uses in `seconds`, counted from the first use of a period. `words` names what ran out."""

    name: str
    cap: int
    seconds: int
    words: str


@dataclass(frozen=True, slots=True)
class Limits:
    resend: Limit
    number: Limit
    block: Limit
    address: Limit
    world: Limit
    guesses: Limit


# Passwords of operators, in a demonstration too. Every attempt counts, also one that succeeds.
SIGN_INS = (
    Limit("sign_in.pair", 10, HOUR // 4, "sign-ins as this operator from your address"),
    Limit("sign_in.address", 50, HOUR // 4, "sign-ins from your address"),
    Limit("sign_in.operator", 100, HOUR, "sign-ins as this operator"),
)


def limits(*, demonstration: bool, codes_per_day: int) -> Limits:
    """The catalogue. A demonstration sends no messages and plays all its phones from one address: it is generous."""
    many = 100_000
    if demonstration:
        return Limits(
            resend=Limit("code.resend", many, 1, "codes to this number within a second"),
            number=Limit("code.number", many, DAY, "codes to this number today"),
            block=Limit("code.block", many, DAY, "codes to numbers like this one today"),
            address=Limit("code.address", many, HOUR, "codes asked for from your address"),
            world=Limit("code.world", many * 10, DAY, "codes today"),
            guesses=Limit("code.guesses", many, HOUR, "codes tried from your address"),
        )
    return Limits(
        resend=Limit("code.resend", 1, 30, "codes to this number within 30 seconds"),
        number=Limit("code.number", 5, DAY, "codes to this number today"),
        block=Limit("code.block", 100, DAY, "codes to numbers like this one today"),
        address=Limit("code.address", 60, HOUR, "codes asked for from your address"),
        world=Limit("code.world", codes_per_day, DAY, "codes today"),
        guesses=Limit("code.guesses", 120, HOUR, "codes tried from your address"),
    )
