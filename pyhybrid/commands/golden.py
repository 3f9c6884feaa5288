"""`pyhybrid golden`: replay recorded inputs, parameters and gradients of the official implementations, and compare."""

from __future__ import annotations

import argparse

HELP = "replay recorded cases and compare every output and gradient"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help=".npz file, or folder that is searched for them")
    parser.add_argument("--backend", choices=("numpy", "rust", "both"), help="default: both, numpy if there is no core")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.conformance import replay

    report = replay(options.paths, backend=options.backend)
    print(report.to_json() if options.json else report)
    return 0 if report.passed else 1
