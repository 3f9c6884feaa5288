"""`pyhybrid step`: every assignment of an operator's forward and backward, with its equation and its value, on a small example.

In the terminal by default; --html writes one page that opens from disk and is stepped through with the arrow keys.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from pyhybrid import stepper
from pyhybrid.commands._options import need_positive
from pyhybrid.errors import UsageError
from pyhybrid.examples import EXAMPLES, example

HELP = "step through an operator, forward and backward"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operator", metavar="OPERATOR", help=", ".join(EXAMPLES))
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a single page instead of printing")
    parser.add_argument("--only", metavar="LABEL", help="print one equation, as F3 or B1")
    parser.add_argument("--depth", type=int, default=1, help="step into the operators it is made of, so many levels deep (default 1)")


def run(options: argparse.Namespace) -> int:
    arrays, config = example(options.operator)
    need_positive(options, "depth")
    operator = importlib.import_module(f"pyhybrid.ops.{options.operator}")
    trace = stepper.trace_operator(operator, [*arrays.values()], config, depth=options.depth)
    if options.html is None:
        try:
            stepper.print_trace(trace, only=options.only, plain=options.plain)
        except KeyError as unknown:
            raise UsageError(str(unknown.args[0])) from None
        return 0
    try:
        stepper.save_html(trace, options.html)
    except OSError as reason:
        raise UsageError(f"--html {options.html}: {reason.strerror}") from None
    print(f"{len(trace)} steps written to {options.html}: open it in a browser, arrow keys step")
    return 0
