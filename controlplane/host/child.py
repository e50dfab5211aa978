"""Child processes that never outlive their parent, and the system account that they run under when we are root.

Plain Python, Linux only: the kernel itself ends a child when the process that started it dies, even by kill -9
(prctl(2), PR_SET_PDEATHSIG), so that nothing has to be tidied up afterwards.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ACCOUNT = "rollcall"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class StartTrouble(Exception):
    """Something that must be mended before a start can succeed: a code, and a sentence that says what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that everything but the supervisor runs under when we are root."""

    name: str
    uid: int
    gid: int


def system_account(name: str = ACCOUNT) -> Account | None:
    """None when we aren't root; otherwise the system user, made when missing. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for attempt in (1, 2):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            if attempt == 1:
                _make_account(name)
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    raise StartTrouble("no_account", _no_account(name, "useradd made no such user"))


def _no_account(name: str, why: str) -> str:
    return (
        f"Rollcall's processes don't run as root, and the system user {name} can't be made ({why}). Make it with "
        f"'useradd --system --user-group --no-create-home {name}', or start Rollcall as another user."
    )


def _make_account(name: str) -> None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise StartTrouble("no_account", _no_account(name, "there is no useradd"))
    options = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    made = subprocess.run([program, *options, name], capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode not in {0, 9}:  # 9: another process has just made it
        raise StartTrouble("no_account", _no_account(name, made.stderr.strip() or f"useradd says {made.returncode}"))


def unreachable(path: Path, account: Account) -> Path | None:
    """The first folder on the way to `path` that the account may not enter, or `path` itself when it can't read it."""
    resolved = path.resolve()
    for step in [*reversed(resolved.parents), resolved]:
        try:
            status = step.stat()
        except OSError:
            return step
        needed = 0o1 if stat.S_ISDIR(status.st_mode) else 0o4
        if status.st_uid == account.uid:
            needed <<= 6
        elif status.st_gid == account.gid:
            needed <<= 3
        if not status.st_mode & needed:
            return step
    return None


def require_reachable(path: Path, account: Account | None, what: str) -> None:
    """Raises `StartTrouble` naming the folder that keeps the system user out."""
    if account is None:
        return
    barrier = unreachable(path, account)
    if barrier is not None:
        raise StartTrouble(
            "unreachable",
            f"Started as root, Rollcall runs its processes as the user {account.name}, who can't enter {barrier} on "
            f"the way to {what} ({path}). Leave out ROLLCALL_DATA, or set it to a folder that others may enter.",
        )


def private_folder(path: Path, account: Account | None) -> None:
    """`path` exists afterwards with mode 0700 and belongs to the account (or to us). Raises `StartTrouble`.

    For the account only inside of a folder of root's own: elsewhere a link could stand in its place.
    """
    _folder(path, 0o700, None if account is None else (account.uid, account.gid))


def shared_folder(path: Path, account: Account | None, *, sticky: bool = False) -> None:
    """`path` is root's own afterwards, and the account may enter it; without one it is ours and private.

    Sticky: the account may also add to it, and takes away only what it added. Raises `StartTrouble`.
    """
    if account is None:
        private_folder(path, None)
    else:
        _folder(path, 0o1770 if sticky else 0o750, (os.geteuid(), account.gid))


def _folder(path: Path, mode: int, owner: tuple[int, int] | None) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner is not None:
            os.chown(path, *owner)
        if path.stat().st_mode & 0o7777 != mode:
            path.chmod(mode)
    except FileExistsError as error:
        raise StartTrouble("not_a_folder", f"{path} is in the way: it must be a folder. Move it elsewhere.") from error
    except OSError as error:
        raise StartTrouble(
            "no_permission",
            f"{path} can't be used ({error.strerror}): run as its owner, or set ROLLCALL_DATA to a folder of your own.",
        ) from error


def die_with_parent(death_signal: int) -> None:
    """The kernel sends this process `death_signal` when its parent dies. A second call replaces the signal."""
    _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def _tie_to_parent(parent: int, death_signal: int) -> Callable[[], None]:
    def tie() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the kernel knew of our wish
            os._exit(1)

    return tie


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    folder: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    output: int | IO[bytes] | None = subprocess.PIPE,
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own; the kernel sends it `death_signal` when the calling *thread* ends.

    Call it from the main thread. stdout and stderr both go to `output`. The signal is set after the change of user,
    which would clear it.
    """
    return subprocess.Popen(  # noqa: S603
        list(argv),
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=None if environment is None else dict(environment),
        cwd=folder,
        start_new_session=True,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        umask=0o077 if account is not None else -1,
        preexec_fn=_tie_to_parent(os.getpid(), death_signal),
    )
