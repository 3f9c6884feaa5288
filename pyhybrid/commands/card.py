"""`pyhybrid card PAPER`: one paper on one page. Its equations and the functions that compute them, official parameter names, and where
paper and official code differ, with the default and the option that gives the other behaviour."""

from __future__ import annotations

import argparse
import json

from pyhybrid.commands import console

HELP = "one paper: equation -> function, names, paper against code"
PAPERS = ("acmix", "coatnet", "das", "hornet", "smt")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", metavar="PAPER", choices=PAPERS, help=", ".join(PAPERS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.papers import find

    card = find(f"pyhybrid.papers.{options.paper}.CARD")
    if options.json:
        parts = {"equations": card.equations, "differences": card.differences}
        print(json.dumps(card._asdict() | {name: [entry._asdict() for entry in entries] for name, entries in parts.items()}))
        return 0
    print(console.paint(card.title, "bold"))
    print(f"{card.identifier}, {card.venue}; official code {card.code}; here {card.layer}")
    print(console.paint("\nEquation -> function", "bold"))
    if card.note:
        print(console.wrapped(card.note, 0))
    for equation in card.equations:
        print(console.wrapped(f"{equation.label:<14} {equation.statement}", 15))
        for name in equation.functions:
            print(f"{'':15} {name}")
    print(console.paint(f"\n{card.names_of}", "bold"))
    print(console.table(["official", "argument", "what it is"], [list(row) for row in card.names]))
    print(console.paint("\nPaper against code", "bold"))
    for difference in card.differences:
        print(f"- {console.paint(difference.topic, 'bold')}")
        for what in ("paper", "code", "listing", "default"):
            if text := getattr(difference, what):
                print(console.wrapped(f"    {what + ':':<9} {text}", 14))
        for name, value in difference.options:
            owner = difference.layer.rpartition(".")[2] or card.layer.rpartition(".")[2]
            print(f"    {'option:':<9} {owner}(..., {name}={value!r})")
    return 0
