"""Who may use a data folder: one supervisor at a time, held by a lock that the kernel drops with its process.

Started as root it is root's own, and the system user may only enter it: what root makes in it (`lock`, `run`, `secret`,
`sockets`, the folders themselves) stays what it is. The user owns `pg`, `redis` and `state`, and shares `s`.
"""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.host.child import Account, StartTrouble, private_folder, shared_folder


def prepare(data: Path, account: Account | None) -> None:
    """The folder, its `run` and its `state` exist, each with the right owner and mode. Raises `StartTrouble`."""
    shared_folder(data, account)
    private_folder(data / "run", None)
    private_folder(data / "state", account)
    if account is not None:
        for name in ("secret", "sockets"):
            _let_read(data / name, account)
        _hand_over(data / "state", account)


def _let_read(path: Path, account: Account) -> None:
    """A file of root's that the account needs; it can't replace it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    os.fchown(file, os.geteuid(), account.gid)
    os.fchmod(file, 0o640)
    os.close(file)


def _hand_over(folder: Path, account: Account) -> None:
    """What commands of root left in `folder` belongs to the account afterwards. Follows no links."""
    for _, _, names, here in os.fwalk(folder):
        os.fchown(here, account.uid, account.gid)
        for name in names:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if status.st_uid != account.uid and status.st_nlink == 1:
                os.chown(name, account.uid, account.gid, dir_fd=here, follow_symlinks=False)


class Lock:
    """Held between `with` and its end, or the end of the process. Raises `StartTrouble` naming the other holder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.path = data / "lock"
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            why = f"{self.path} can't be opened ({error.strerror}): run as its owner, or set ROLLCALL_DATA."
            raise StartTrouble("no_permission", why) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid, since = holder(self.data) or (0, "a moment ago")
            os.close(self._file)
            raise StartTrouble(
                "already_running",
                f"Rollcall already runs on this data folder (process {pid}, since {since}). Stop it with Ctrl-C there, "
                "or use another folder: ROLLCALL_DATA=…",
            ) from error
        about = {"pid": os.getpid(), "since": datetime.now(tz=UTC).isoformat(timespec="seconds")}
        os.ftruncate(self._file, 0)
        os.write(self._file, json.dumps(about).encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)


def holder(data: Path) -> tuple[int, str] | None:
    """The process that wrote itself into the lock, and since when; it may have died since (ask `is_held`)."""
    try:
        about = json.loads((data / "lock").read_text())
        return int(about["pid"]), str(about["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_held(data: Path) -> bool:
    """Whether a supervisor runs on this data folder."""
    try:
        file = os.open(data / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
