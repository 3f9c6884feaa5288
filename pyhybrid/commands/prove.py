"""Check the proofs: every step against the one above it, and that every counterexample fails."""

from __future__ import annotations

import argparse
import json
import time

from pyhybrid.commands import console

HELP = "check the proofs, step by step, and their counterexamples"
MORE_DRAWS = 12


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a proof, or the beginning of its name (default: all)")
    method = parser.add_mutually_exclusive_group()
    method.add_argument("--exact", action="store_true", help=f"{MORE_DRAWS} draws per size instead of 3, then once more on fractions")
    method.add_argument("--symbolic", action="store_true", help="prove small sizes on symbols (needs sympy)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--list", action="store_true", help="list names and titles, check nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON array, an object per proof and method")


def run(options: argparse.Namespace) -> int:
    from pyhybrid import proofs
    from pyhybrid.errors import UsageError
    from pyhybrid.proofs import _draw, _render

    chosen = proofs.find(options.name) if options.name is not None else proofs.every()
    if options.list:
        names = [{"name": p.name, "title": p.title, "statement": p.statement} for p in chosen]
        print(json.dumps(names) if options.json else console.table(("name", "title"), [(p["name"], p["title"]) for p in names]))
        return 0
    if options.seed < 0:
        raise UsageError(f"--seed must be 0 or more; got {options.seed}")
    if options.symbolic:
        _draw.sympy()  # before the first proof, not in the middle
    started = time.perf_counter()
    verdicts: list[proofs.Verdict] = []
    for proof in chosen:
        for mode, draws in _methods(options):
            verdict = proofs.check(proof, mode, draws=draws, seed=options.seed)
            if verdicts and verdict.mode == verdicts[-1].mode and verdict.proof is verdicts[-1].proof:
                continue  # fractions cannot express this proof: it was already checked on numbers
            if not options.json:
                repeated = bool(verdicts) and verdicts[-1].proof is proof and verdict.holds
                print(f"  {_render.method(verdict)}" if repeated else f"{'' if not verdicts else chr(10)}"
                      + _render.verdict_text(verdict, console.paint), flush=True)
            verdicts.append(verdict)
    good = all(verdict.holds for verdict in verdicts)
    if options.json:
        print(json.dumps([verdict.as_dict() for verdict in verdicts]))
    else:
        print("\n" + console.paint(_count(verdicts, time.perf_counter() - started), "green" if good else "red"))
    return 0 if good else 1


def _methods(options: argparse.Namespace) -> list[tuple[str, int | None]]:
    if options.symbolic:
        return [("symbolic", None)]
    return [("exact", MORE_DRAWS), ("fractions", None)] if options.exact else [("exact", None)]


def _count(verdicts: list, seconds: float) -> str:
    """One line: how much held. What was judged by two methods counts once, and holds if it held by both."""
    proofs: dict[str, list] = {}
    for verdict in verdicts:
        proofs.setdefault(verdict.proof.name, []).append(verdict)
    steps = [all(s.holds for s in same) for group in proofs.values() for same in zip(*(v.steps for v in group), strict=True)]
    failures = [all(f.fails for f in same) for group in proofs.values() for same in zip(*(v.failures for v in group), strict=True)]
    holding = sum(all(v.holds for v in group) for group in proofs.values())
    return (f"{holding} of {len(proofs)} proofs hold: {sum(steps)} of {len(steps)} steps, "
            f"{sum(failures)} of {len(failures)} counterexamples fail as they must ({seconds:.1f} s)")
