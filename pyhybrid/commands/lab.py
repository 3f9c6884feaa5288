"""`pyhybrid lab`: open JupyterLab on the tutorials, at their index."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pyhybrid
from pyhybrid.errors import UsageError

HELP = "open JupyterLab on the tutorials"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, help="folder of the notebooks (default: the tutorials of this clone)")
    parser.add_argument("--no-browser", action="store_true", help="print the address instead of opening a browser")
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="options of JupyterLab, for example -- --port=9000 --allow-root")


def tutorials(folder: Path | None) -> Path:
    """The folder of notebooks to open; UsageError says where it was looked for."""
    places = [folder] if folder else [Path.cwd() / "tutorials", Path(pyhybrid.__file__).parents[1] / "tutorials"]
    for place in places:
        if place.is_dir() and any(place.glob("*.ipynb")):
            return place
    raise UsageError(f"no notebooks in {', '.join(map(str, places))}: run this in a clone of pyhybrid or give --dir")


def first_page(folder: Path) -> list[str]:
    """The option of JupyterLab that opens it at the index of the lessons, if the folder has one."""
    return ["--LabApp.default_url=/lab/tree/index.ipynb"] if (folder / "index.ipynb").exists() else []


def run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("jupyterlab") is None:
        raise UsageError("the lab needs JupyterLab: pip install 'pyhybrid[tutorials]'")
    folder = tutorials(options.dir)
    # in this process, so that Ctrl-C and other signals reach JupyterLab, which asks first and then ends its kernels
    from jupyterlab.labapp import main as jupyterlab

    jupyterlab([f"--notebook-dir={folder}", *first_page(folder), *["--no-browser"] * options.no_browser, *options.more])
    return 0
