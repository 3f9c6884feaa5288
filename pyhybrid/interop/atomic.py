"""Files that are either the old ones or the new ones, whatever happens in between."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["replace"]


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Write a file next to `path` and put it in its place when it is complete and on the disk.

    An error, an interrupt or a loss of power before that leaves an existing file as it was; only a file whose name starts with a dot and
    the target's name may be left over, and only if the process was killed.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself durable, where folders can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
