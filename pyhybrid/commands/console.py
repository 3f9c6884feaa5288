"""Plain text for the terminal: aligned tables, progress lines, and colour where it is wanted."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_plain = False


def set_plain(plain: bool) -> None:
    """Switch colour off for this process (option --plain)."""
    global _plain
    _plain = plain


def paint(text: str, style: str) -> str:
    """`text` in a style, or as it is when the output is not a terminal, NO_COLOR is set or --plain was given."""
    if _plain or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\033[{_CODES[style]}m{text}\033[0m"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows in columns; a column whose cells below the header all start like numbers is right-aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    right = [bool(cells) and all(row[i][:1].isdigit() or row[i][:1] in "-+<" or not row[i] for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([paint(line(header), "bold"), *map(line, cells)])


def wrapped(text: str, indent: int) -> str:
    """A paragraph of at most 110 columns, its further lines moved in."""
    return textwrap.fill(text, 110, subsequent_indent=" " * indent)


def step(number: int, total: int, text: str) -> None:
    """A progress line, visible at once."""
    print(f"\n{paint(f'[{number}/{total}]', 'cyan')} {paint(text, 'bold')}", flush=True)
