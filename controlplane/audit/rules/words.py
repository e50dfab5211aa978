"""The audit in words: what was done to what, and by whom, as a page says it to people."""

from __future__ import annotations

NOUNS = {"api_key": "API key"}


def deed_words(verb: str, subject: str) -> str:
    """`wave.opened` of `wave:3 First` as `Wave First opened`; a subject that the verb isn't about stands before it."""
    kind, _, rest = subject.partition(":")
    number, _, name = rest.partition(" ")
    noun, _, done = verb.partition(".")
    about = f"{_noun(kind or noun)} {name or number}".strip()
    deed = done.replace("_", " ")
    words = f"{about} {deed}" if noun == (kind or noun) else f"{about}: {_noun(noun)} {deed}"
    return words[:1].upper() + words[1:]


def actor_words(kind: str, name: str) -> str:
    """Automatic controllers are Rollcall's own; an operator is their name."""
    match kind:
        case "automatic":
            return f"Rollcall ({name})"
        case "api_key":
            return f"API key {name}"
        case _:
            return name


def _noun(kind: str) -> str:
    return NOUNS.get(kind, kind.replace("_", " "))
