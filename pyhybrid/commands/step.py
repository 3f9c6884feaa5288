"""`pyhybrid step`: every assignment of an operator's forward and backward, with its equation and its value, on a small example.

In the terminal by default; --html writes one page that opens from disk and is stepped through with the arrow keys.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

from pyhybrid import stepper
from pyhybrid.commands._options import need_positive
from pyhybrid.errors import UsageError
from pyhybrid.examples import EXAMPLES, example
from pyhybrid.trace import Trace

HELP = "step through an operator, forward and backward"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operator", metavar="OPERATOR", help=", ".join(EXAMPLES))
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a single page instead of printing")
    parser.add_argument("--only", metavar="LABEL", help="print one equation, as F3 or B1, at the depth where it stands")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="an option of the example, as stride=2 or kind=efficient")
    parser.add_argument("--depth", type=int, default=1, help="step into the operators it is made of, so many levels deep (default 1)")


def run(options: argparse.Namespace) -> int:
    arrays, config = example(options.operator)
    need_positive(options, "depth")
    operator = importlib.import_module(f"pyhybrid.ops.{options.operator}")
    defaults = {name: p.default for name, p in inspect.signature(operator.forward).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for name, value in map(_option, options.set):
        if name not in defaults:
            raise UsageError(f"--set {name}: the options of {options.operator} are {', '.join(defaults) or 'none'}")
        config = config | {name: value}
    for depth in range(options.depth, options.depth + 3):
        try:
            trace = stepper.trace_operator(operator, [*arrays.values()], config, depth=depth)
        except (TypeError, ValueError) as refused:
            raise UsageError(str(refused)) from None
        if options.only is None:
            break
        own = [step for step in trace if step.listing.name.startswith(f"{options.operator}.")]      # labels are those of a module
        if any(options.only in step.label.split(", ") for step in own):
            trace = Trace(own, trace.results)
            break
    else:       # not even in the functions that it calls
        if text := trace[0].listing.equations.get(options.only):
            given = ", ".join(f"{name}={value!r}" for name, value in (defaults | config).items())
            missed = f"The example does not come there; its options are {given or 'none'}, --set gives others."
            raise UsageError(f"({options.only}) {text}\n  {missed}")
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


def _option(text: str) -> tuple[str, Any]:
    """A name and a Python value; what is no value is a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: NAME=VALUE is expected")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
