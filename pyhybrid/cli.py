"""The command line: `pyhybrid COMMAND`. Each command is a module of `pyhybrid.commands`, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from pyhybrid import __version__
from pyhybrid.commands import console
from pyhybrid.errors import BackendUnavailable, UsageError

COMMANDS = ("tour", "step", "prove", "card", "conventions", "models", "summary", "gradcam", "train", "predict", "convert",
            "golden", "bench", "lab", "info")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    what = "Hybrid convolution/attention operators: read, step through, prove, replay, measure."
    top = argparse.ArgumentParser(prog="pyhybrid", description=what)
    top.add_argument("--version", action="version", version=f"pyhybrid {__version__}")
    choices = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"pyhybrid.commands.{name}")
        command = choices.add_parser(name, help=module.HELP, description=module.__doc__)
        command.add_argument("--plain", action="store_true", help="no colour")
        module.configure(command)
        command.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2 for a wrong use, 130 when interrupted)."""
    options = parser().parse_args(arguments)
    console.set_plain(options.plain)
    try:
        return options.run(options)
    except (UsageError, BackendUnavailable) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output is gone, as in `pyhybrid prove | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
