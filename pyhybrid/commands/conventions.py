"""`pyhybrid conventions`: how libraries order the offsets of a deformable convolution, and how they treat masks, positions, borders and
slopes. `pyhybrid.interop.offsets.convert` takes arrays from one order to another."""

from __future__ import annotations

import argparse
import json

from pyhybrid.commands import console
from pyhybrid.errors import UsageError

HELP = "whose offsets? orders, borders, masks of deformable convolutions"
FIELDS = ("order", "mask", "positions", "border", "slopes", "weight", "evidence")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="one convention, with all its channels for a 3x3 kernel")
    parser.add_argument("--json", action="store_true", help="print JSON: a list, or one object for NAME")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.interop import offsets

    try:
        chosen = [offsets.find(options.name)] if options.name else list(offsets.CONVENTIONS)
    except ValueError as wrong:
        raise UsageError(str(wrong)) from None
    listed = {row.name: list(offsets.channels(row.name)) if row.axes else [] for row in chosen}
    if options.json:
        entries = [row._asdict() | {"channels": listed[row.name]} for row in chosen]
        print(json.dumps(entries[0] if options.name else entries))
        return 0
    shown = [[row.name, " ".join(listed[row.name][:4]) + " …" if row.axes else "x y (positions)"] for row in chosen]
    print(console.table(["convention", "first channels, 3x3 kernel"], shown))
    for row in chosen:
        print(f"\n{console.paint(row.name, 'bold')}: {row.what}")
        for field in FIELDS:
            print(console.wrapped(f"  {field + ':':<11}{getattr(row, field)}", 13))
        if options.name and row.axes:
            print(console.wrapped(f"  {'channels:':<11}{' '.join(listed[row.name])}", 13))
    return 0
