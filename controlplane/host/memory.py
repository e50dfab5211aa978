"""How much memory processes really use: PSS, the proportional set size, counts shared pages once over all sharers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process and all its descendants. `complete` is false where the kernel didn't let us look."""

    rss: int
    pss: int
    processes: int
    complete: bool


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue
            parent = int(text.rpartition(")")[2].split()[1])  # the name in parentheses may hold anything
            found.setdefault(parent, []).append(int(folder.name))
    return found


def descendants(pid: int) -> list[int]:
    """The process and everything that it started, directly or not."""
    children = _children()
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family


def _read(pid: int) -> tuple[int, int] | None:
    """RSS and PSS in bytes; None when the process is gone or not ours to look at."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    sizes = {words[0]: int(words[1]) * 1024 for words in map(str.split, lines) if len(words) == 3 and words[2] == "kB"}
    return sizes.get("Rss:", 0), sizes.get("Pss:", 0)


def measure(pid: int, *, family: bool = True) -> Memory:
    members = descendants(pid) if family else [pid]
    sizes = [_read(member) for member in members]
    known = [size for size in sizes if size is not None]
    return Memory(sum(rss for rss, _ in known), sum(pss for _, pss in known), len(members), len(known) == len(sizes))
