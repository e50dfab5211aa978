"""What the system user must run while it stands in a folder that only root may enter, as below `/root`.

It is mirrored to `/var/lib/rollcall`, by hard links where those are safe: root's own, readable by all, writable by
nobody else. Each source has a place of its own there, kept in step at each start and shared by every checkout.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from controlplane.base.env import HOME, place_of
from controlplane.host.child import Account, StartTrouble, unreachable

READ, WRITE, RUN = 0o444, 0o022, 0o111
Wanted = Callable[[Path], bool]


def open_home() -> None:
    """`/var/lib/rollcall` is root's afterwards, and others may enter it. Raises `StartTrouble`."""
    try:
        HOME.mkdir(parents=True, exist_ok=True)
        if HOME.is_symlink() or HOME.stat().st_uid != os.geteuid():
            raise StartTrouble("home", f"{HOME} must be a folder of root's own. Move what is there elsewhere.")
        HOME.chmod(0o755)
    except OSError as error:
        why = f"{HOME} can't be used ({error.strerror}). Move the checkout to where others may enter, such as /opt."
        raise StartTrouble("home", why) from error


def place_of_mirror(folder: Path) -> Path:
    """Where the mirror of `folder` is, or would be."""
    return HOME / "mirrors" / place_of(folder).name


def everything(path: Path) -> bool:
    """A `Wanted` that leaves nothing out."""
    return True


def within_reach(folder: Path, account: Account | None, wanted: Wanted = everything) -> Path:
    """`folder`, or the mirror of what is wanted of it, which the account may read and run. Raises `StartTrouble`."""
    if account is None or unreachable(folder, account) is None:
        return folder
    return _mirror_of(folder, wanted)


@cache
def _mirror_of(folder: Path, wanted: Wanted) -> Path:
    """The mirror of `folder`, brought in step once in the life of this process. Raises `StartTrouble`."""
    open_home()
    target = place_of_mirror(folder)
    try:
        target.parent.mkdir(exist_ok=True)
        target.parent.chmod(0o755)
        with _alone(target):
            target.mkdir(exist_ok=True)
            target.chmod(0o755)
            _mirror(folder, target, wanted)
    except OSError as error:
        why = f"{folder} can't be mirrored to {target} ({error.strerror}: {error.filename}). Make room there."
        raise StartTrouble("mirror", why) from error
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time keeps a mirror in step."""
    file = os.open(target.with_name(f"{target.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _mirror(folder: Path, target: Path, wanted: Wanted) -> None:
    """`target` holds the same afterwards as what is wanted of `folder`, and nothing else."""
    old = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(target)}
    for source in filter(wanted, folder.iterdir()):
        try:
            here = source.stat()  # what a link leads to: it might lead to where nobody may follow
        except FileNotFoundError:
            continue
        before, copy = old.pop(source.name, None), target / source.name
        if before is not None and stat.S_IFMT(before.st_mode) != stat.S_IFMT(here.st_mode):
            _remove(copy, before)
            before = None
        if stat.S_ISDIR(here.st_mode):
            if before is None:
                copy.mkdir()
                copy.chmod(0o755)
            _mirror(source, copy, wanted)
        elif stat.S_ISREG(here.st_mode) and (before is None or _identity(before) != _identity(here)):
            _lend(source, here, copy)
    for name, before in old.items():
        _remove(target / name, before)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _lend(source: Path, here: os.stat_result, copy: Path) -> None:
    draft = copy.with_name(f".{copy.name}.new")
    draft.unlink(missing_ok=True)
    if here.st_uid == os.geteuid() and here.st_mode & READ == READ and not here.st_mode & WRITE:
        try:
            os.link(source.resolve(), draft)
        except OSError:  # another file system
            pass
        else:
            draft.replace(copy)
            return
    shutil.copyfile(source, draft)
    draft.chmod(0o755 if here.st_mode & RUN else 0o644)
    os.utime(draft, ns=(here.st_atime_ns, here.st_mtime_ns))
    draft.replace(copy)


def _remove(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()
