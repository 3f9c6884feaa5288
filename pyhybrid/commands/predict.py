"""`pyhybrid predict CHECKPOINT IMAGE...`: what is in a picture, and on request what spoke for it or where the model looked.

CHECKPOINT is the folder of a run of `pyhybrid train`, or a safetensors file that `pyhybrid convert` made. Digits are learnt white on black:
use --invert for dark ink on light paper.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyhybrid.commands import console
from pyhybrid.errors import UsageError

if TYPE_CHECKING:
    from pyhybrid.train.predict import Predictor

HELP = "name what is in a picture, with a trained model"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the folder of a run, or a converted safetensors file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print (default 3)")
    parser.add_argument("--invert", action="store_true", help="exchange dark and light first")
    parser.add_argument("--explain", metavar="HOW", help="draw maps for the most probable class: attention or gradcam")
    parser.add_argument("--out", default=".", metavar="FOLDER", help="where the pictures of --explain go (default: here)")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.train import predict
    from pyhybrid.train.explain import EXPLANATIONS

    if options.top < 1:
        raise UsageError(f"--top must be at least 1; got {options.top}")
    if options.explain is not None and options.explain not in EXPLANATIONS:
        raise UsageError(f"--explain must be one of {', '.join(EXPLANATIONS)}; got {options.explain}")
    predictor = predict.load(options.checkpoint)
    inputs = {path: predictor.read(path, options.invert) for path in options.images}        # an unreadable file ends it before any output
    answers: list[dict[str, Any]] = []
    for path, x in inputs.items():
        guesses = predictor.guesses(x, options.top)
        answer = {"image": path, "classes": [{"label": g.label, "name": g.name, "probability": g.probability} for g in guesses]}
        if options.explain is not None:
            taken = [other["picture"] for other in answers]
            answer["picture"] = str(_explain(predictor, options.explain, path, x, guesses[0].label, Path(options.out), taken))
        answers.append(answer)
        if not options.json:
            print(console.paint(path, "bold"))
            print("\n".join(f"  {g.probability:7.2%}  {g.name}" for g in guesses))
            if "picture" in answer:
                print(f"  {answer['picture']}")
    if options.json:
        print(json.dumps(answers, indent=1))
    return 0


def _explain(predictor: Predictor, how: str, path: str, x: np.ndarray, label: int, folder: Path, taken: list[str]) -> Path:
    """Draw the image beside its maps."""
    from pyhybrid import pictures
    from pyhybrid.train.explain import EXPLANATIONS

    maps = EXPLANATIONS[how](predictor.model, x, label)
    stem, number = f"{Path(path).stem}-{how}", 1
    target = folder / f"{stem}.png"
    while str(target) in taken:     # images of one name from several folders
        number += 1
        target = folder / f"{stem}-{number}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pictures.tiles(target, {Path(path).name: predictor.shown(x), **maps}, columns=4, title=f"{how}: {predictor.classes[label]}")
    except OSError as wrong:
        raise UsageError(f"--out: {target} cannot be written: {wrong.strerror}") from wrong
    return target
