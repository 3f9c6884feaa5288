"""`pyhybrid models`: the models that can be built, with the published size of each."""

from __future__ import annotations

import argparse
import json

from pyhybrid.commands import console

HELP = "list the models"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list of names")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.papers import TINY, VARIANTS

    if options.json:
        print(json.dumps(list(VARIANTS)))
        return 0
    rows = []
    for name, variant in VARIANTS.items():
        paper = variant.published
        figures = [f"{paper.params:g} M", f"{paper.macs:g} G"] if paper else ["", ""]
        rows.append([name, *figures, "" if variant.released else "no official code"])
    print(console.table(["model", "params", "MACs", "remark"], rows))
    print("\nparams and MACs as the papers publish them; `pyhybrid summary MODEL` counts them")
    print(f"small models for small images, to train on a laptop: {', '.join(TINY)}")
    return 0
