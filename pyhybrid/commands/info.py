"""`pyhybrid info`: version, backends and the settings of the compiled core."""

from __future__ import annotations

import argparse
import json
import platform

import numpy as np

import pyhybrid
from pyhybrid import backend

HELP = "show version, backends, threads and vector instructions"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def facts() -> dict[str, object]:
    """What this installation is and can do."""
    known: dict[str, object] = {
        "pyhybrid": pyhybrid.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "compiled core": "installed" if backend.available() else "absent",
        "backend": backend.active(),
    }
    if backend.available():
        core = backend.core()
        known |= {"threads": core.get_threads(), "simd": core.get_simd(), "simd levels": core.simd_levels()}
    return known


def run(options: argparse.Namespace) -> int:
    known = facts()
    if options.json:
        print(json.dumps(known))
        return 0
    for name, value in known.items():
        print(f"{name:<14} {', '.join(value) if isinstance(value, list) else value}")
    if not backend.available():
        print("\nThe compiled core is absent: every operator runs its NumPy body. To build it: pip install . (needs Rust)")
    return 0
