"""What several commands ask of their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from pyhybrid.errors import UsageError

__all__ = ["make_folder", "need_positive"]


def need_positive(options: argparse.Namespace, *names: str) -> None:
    """`UsageError` unless these options, where they are given, are at least 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1; got {value}")


def make_folder(out: Path) -> None:
    """The folder of --out, made if it is not there; `UsageError` says why it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise UsageError(f"--out {out}: cannot make this folder ({reason.strerror})") from None
