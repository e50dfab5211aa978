"""Files that hold either the old or the new content, also after a crash."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes, *, owner: tuple[int, int] | None = None) -> None:
    """`path` holds the content afterwards, 0600 and on the disk; owned by `owner` (uid, gid). Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # never through a link that somebody left there
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
