"""What changed between two documents: every place, from what to what, and the same in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rollout.rules.definition.reading import under
from rollout.rules.numbers import share_words

LONGEST = 80
MISSING: Any = object()
NOUNS = {"features": "feature", "audiences": "audience", "areas": "area", "api_keys": "API key"}
MEMBERS = {"rules": "rule", "waves": "wave", "any_of": "list", "variants": "variant"}


class What(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """`path` is the place in the document; `before` is None where nothing was, `after` where nothing is."""

    path: str
    what: What
    before: Any
    after: Any
    words: str

    def as_json(self) -> dict[str, Any]:
        shown = {What.ADDED: ("after",), What.REMOVED: ("before",), What.CHANGED: ("before", "after")}[self.what]
        return {"path": self.path, "what": str(self.what), "words": self.words} | {n: getattr(self, n) for n in shown}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every change of features, audiences, areas and API keys, in the order of their paths."""
    found: list[Change] = []
    for section, noun in NOUNS.items():
        old, new = before.get(section, {}), after.get(section, {})
        for key in sorted({*old, *new}):
            shown = key[:8] if section == "api_keys" else key
            subject = f"The {noun} {shown}"
            place = f"{section}.{shown}"
            if key not in old:
                found.append(Change(place, What.ADDED, None, new[key], f"{subject} is new."))
            elif key not in new:
                found.append(Change(place, What.REMOVED, old[key], None, f"{subject} is gone."))
            else:
                found += _inside(old[key], new[key], place, subject)
    return found


def alike(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same; 1, 1.0 and true are three."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and bool(a == b)


def _inside(before: Any, after: Any, path: str, subject: str) -> Iterator[Change]:
    """Each change below one place. `subject` names the place in words."""
    if alike(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            old, new = before.get(name, MISSING), after.get(name, MISSING)
            yield from _one(old, new, under(path, name), f"{subject}, {_label(path, name)}")
    elif _structured(before) and _structured(after):
        for i in range(max(len(before), len(after))):
            old = before[i] if i < len(before) else MISSING
            new = after[i] if i < len(after) else MISSING
            yield from _one(old, new, under(path, i), f"{subject} {i + 1}{_named(new if old is MISSING else old)}")
    else:
        yield Change(path, What.CHANGED, before, after, f"{subject}: {_said(before, after, path)}.")


def _one(old: Any, new: Any, path: str, subject: str) -> Iterator[Change]:
    if old is MISSING:
        yield Change(path, What.ADDED, None, new, f"{subject} is added: {_shown(new, path)}.")
    elif new is MISSING:
        yield Change(path, What.REMOVED, old, None, f"{subject} is taken away: it was {_shown(old, path)}.")
    else:
        yield from _inside(old, new, path, subject)


def _structured(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict | list) for each in value)


def _label(path: str, name: str) -> str:
    """A member in words; the name itself where it is somebody's own."""
    return MEMBERS.get(name, name.replace("_", " ").removesuffix(" ppm")) if not path.endswith(".variants") else name


def _named(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f" “{name}”" if name else ""


def _said(before: Any, after: Any, path: str) -> str:
    if isinstance(before, list) and isinstance(after, list):
        came = [each for each in after if each not in before]
        went = [each for each in before if each not in after]
        parts = [f"{word} {_shown(part, path)}" for word, part in (("with", came), ("without", went)) if part]
        return " and ".join(parts) or "in another order"
    return f"{_shown(after, path)} instead of {_shown(before, path)}"


def _shown(value: Any, path: str) -> str:
    """A value in few words: shares in per cent, long ones cut."""
    if isinstance(value, int) and not isinstance(value, bool) and path.endswith("_ppm"):
        return share_words(value)
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "yes", False: "no"}[value]
    text = ", ".join(map(str, value)) if _plain(value) else f"“{value}”" if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _plain(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and not any(isinstance(each, dict | list) for each in value)
    )


def summary(changes: Sequence[Change]) -> str:
    """One sentence with numbers."""
    if not changes:
        return "Nothing changes."
    counts = {what: sum(change.what is what for change in changes) for what in What}
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{len(changes)} {'change' if len(changes) == 1 else 'changes'}: {said}."
