"""A decision's steps in sentences, for people: what each step looked at, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.rules.numbers import share_words


def told(step: str, seen: Mapping[str, Any]) -> list[str]:
    """The sentences of one step of a trace; `seen` is what the step itself noted."""
    match step:
        case "switch":
            return [f"The switch is {seen['switch']}."]
        case "requirements":
            return _requirements(seen)
        case "prerequisites":
            return [
                f"It needs {need['feature']}, which they {'have' if need['enabled'] else 'lack'} ({need['cause']})."
                for need in seen["needs"]
            ]
        case "access":
            return _access(seen)
        case "default":
            return [f"{seen['why']} The variant is “{seen['variant']}”."]
        case _:
            return [f"{name.replace('_', ' ').capitalize()}: {value}." for name, value in seen.items()]


def _requirements(seen: Mapping[str, Any]) -> list[str]:
    traits, lowest = seen["traits"], seen["lowest"]
    platform = traits.get("platform") or "an unknown platform"
    have = f"The device is on {platform}, app {traits.get('app_version') or 'unknown'}"
    lines = [f"{have}, system {traits.get('os_version') or 'unknown'}."]
    if lowest is not None:
        needs = [f"{name} {lowest[key]}" for name, key in (("app", "app"), ("system", "os")) if lowest[key]]
        lines.append(f"{platform} needs at least {' and '.join(needs) or 'nothing'}.")
    else:
        answer = "allowed" if seen["others"] == "allow" else "refused"
        lines.append(f"Nothing is asked of {platform}; platforms that aren't named are {answer}.")
    if seen["device_classes"]:
        lines.append(f"The device class is {traits.get('device_class')}; it must be {_one_of(seen['device_classes'])}.")
    return lines


def _access(seen: Mapping[str, Any]) -> list[str]:
    if seen["access"] == "everyone":
        return ["It is launched: everybody has it."]
    if seen["access"] == "rules":
        lines = ["The rules decide, in their order."]
        return [*lines, *(line for rule in seen["rules"] for line in _row(f"“{rule['rule']}”", rule, seen["bucket"]))]
    grant = seen["grant"]
    if grant is None:
        lines = ["Only holders of a grant have it, and they hold none."]
    else:
        frozen = ", frozen: they keep it and can't invite" if grant["frozen"] else ""
        lines = [f"They hold grant {grant['id']}, by {grant['source']}, depth {grant['depth']}{frozen}."]
    for wave in seen["waves"]:
        lines += _row(f"Wave “{wave['wave']}” ({wave['state']})", wave, seen["bucket"])
    return [*lines, f"Inviting is {seen['invite']}."]


def _row(name: str, row: Mapping[str, Any], bucket: int | None) -> list[str]:
    """A wave or a rule: its share against the bucket, and its audience."""
    share = f"takes {share_words(row['share_ppm'])}"
    where = "no bucket without a subscriber" if bucket is None else f"their bucket is {bucket:,} of 1,000,000"
    inside = "within it" if row["within_share"] else "not within it"
    lines = [f"{name} {share}: {where}, {inside}."]
    if not row["any_of"]:
        return [*lines, "Its audience is everybody."]
    lines.append(f"They are {'in' if row['in_audience'] else 'not in'} its audience: {_any_of(row['any_of'])}.")
    return lines


def _any_of(lists: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    return "; or ".join(" and ".join(_condition(condition) for condition in row) for row in lists)


def _condition(row: Mapping[str, Any]) -> str:
    found = {True: "yes", False: "no", None: "can't be told"}[row["matched"]]
    turned = "not " if row["inverted"] else ""
    if "trait" in row:
        more = f" and {row['of'] - len(row['values'])} more" if row["of"] > len(row["values"]) else ""
        values = ", ".join(str(value) for value in row["values"])
        theirs = "unknown" if row["seen"] is None else f"“{row['seen']}”"
        return f"{turned}{row['trait']} {row['operator']} {values}{more} (theirs is {theirs}: {found})"
    name = f"audience “{row['audience']}”" if "audience" in row else "any of"
    return f"{turned}{name} [{_any_of(row['any_of'])}] ({found})"


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
