"""`pyhybrid train MODEL`: teach a model the digits that ship with scikit-learn, or a folder of images in class subfolders.

Every gradient comes from the hand-derived backward passes. After each epoch the run is saved in a folder; an interrupted run goes on with
--resume and ends with the weights, bit for bit, that it would have had. The same settings, data, backend and instruction set give the same
weights for any number of threads. (On the numpy backend, matrix products belong to NumPy's own library, which may not promise that.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyhybrid.commands import console
from pyhybrid.errors import UsageError

if TYPE_CHECKING:
    from pyhybrid.train.loop import Progress, Run

HELP = "train a model on digits or on a folder of images"

# Options that are settings of the run: type and help. Their defaults stand in pyhybrid.train.settings.
OPTIONS: dict[str, tuple[type, str]] = {
    "image_size": (int, "pixels on a side that images are resized to"),
    "epochs": (int, "times that every image is seen"),
    "batch": (int, "images in a step"),
    "optimiser": (str, "adamw, or sgd with momentum"),
    "learning_rate": (float, "at its peak, after the warm-up; a cosine then brings it to 0"),
    "warmup": (float, "epochs over which the learning rate rises"),
    "momentum": (float, "of sgd"),
    "weight_decay": (float, "of weights; biases and norms do not decay"),
    "label_smoothing": (float, "share of the target that is spread over all classes"),
    "drop_path": (float, "probability of dropping the last block's residual branch; it grows from 0 with depth"),
    "clip": (float, "length that gradients are shortened to; 0 leaves them"),
    "rotate": (float, "augmentation: up to this many degrees"),
    "shear": (float, "augmentation: up to this much"),
    "zoom": (float, "augmentation: 0.1 for 1/1.1 to 1.1 times as large"),
    "shift": (float, "augmentation: up to this share of the extent"),
    "held_out": (float, "share of every class that is only measured on"),
    "seed": (int, "of the weights, the split, the order, the augmentation and drop path"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="acmix_tiny, smt_tiny, ... or any name that `pyhybrid models` lists")
    parser.add_argument("--data", metavar="DATA", help="`digits` (default), or a folder with one subfolder of images per class")
    parser.add_argument("--out", metavar="FOLDER", help="where the run is saved (default: runs/MODEL-DATA)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--threads", type=int, metavar="N", help="of the compiled core; the result does not depend on it")
    parser.add_argument("--backend", choices=("auto", "numpy", "rust"), default="auto", help="what runs the operators (default auto)")
    parser.add_argument("--no-pictures", action="store_true", help="do not draw curves.png and confusion.png at the end")
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N" if kind is not str else "NAME", help=text)
    parser.add_argument("--flip", action="store_true", default=None, help="augmentation: mirror images left to right, not for digits")


def run(options: argparse.Namespace) -> int:
    from pyhybrid import backend
    from pyhybrid.train import pictures

    if not options.no_pictures:
        pictures.need_pictures()
    if options.threads is not None:
        try:
            backend.set_threads(options.threads)
        except ValueError as wrong:
            raise UsageError(f"--{wrong}") from wrong
    with backend.use(options.backend):
        return _train(options)


def _train(options: argparse.Namespace) -> int:
    from pyhybrid.train.loop import Diverged

    given = {name: value for name in (*OPTIONS, "data", "flip") if (value := getattr(options, name)) is not None}
    folder = Path(options.out or f"runs/{options.model}-{Path(given.get('data', 'digits')).resolve().name}")
    going = _resumed(options.model, given, folder) if options.resume else _begun(options.model, given, folder)
    _announce(going, folder)
    saved = len(going.history)
    try:
        with _bar(going) as (note, say):
            while not going.finished:
                entry = going.epoch(note)
                _save(folder, going, saved)
                saved = len(going.history)
                say(f"epoch {entry['epoch']:>3}/{going.settings.epochs}   loss {entry['loss']:.4f}   accuracy {entry['accuracy']:7.2%}   "
                    f"held out: loss {entry['held_out_loss']:.4f}   accuracy {entry['held_out_accuracy']:7.2%}   {entry['seconds']:6.1f} s")
    except KeyboardInterrupt:
        print(f"\n{_left(saved, folder)}", file=sys.stderr)
        raise
    except Diverged as wrong:
        raise UsageError(f"{wrong}; {_left(saved, folder)}") from wrong
    _conclude(going, folder, not options.no_pictures)
    return 0


def _begun(model: str, given: dict[str, Any], folder: Path) -> Run:
    """A new run, in a folder that holds none."""
    from pyhybrid.train import checkpoint, data
    from pyhybrid.train.loop import Run
    from pyhybrid.train.settings import Settings

    if checkpoint.exists(folder):
        raise UsageError(f"{folder} holds a run; go on with it by --resume, or name another folder by --out")
    settings = Settings(model=model, **given)
    begun = Run.begin(settings, data.load(settings.data, settings.image_size))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise UsageError(f"--out: {folder} cannot be a folder: {wrong.strerror}") from wrong
    return begun


def _resumed(model: str, given: dict[str, Any], folder: Path) -> Run:
    """The run of the folder. Settings that are given again must be those it was begun with; where the data lie may change."""
    from pyhybrid import backend
    from pyhybrid.train import checkpoint, data
    from pyhybrid.train.loop import Run

    held = checkpoint.load(folder)
    begun = held.settings.to_json()
    changed = [f"{name.replace('_', '-')} {begun[name]!r}, not {value!r}"
               for name, value in {"model": model, **given}.items() if name != "data" and value != begun[name]]
    if changed:
        raise UsageError(f"the run in {folder} was begun with {'; '.join(changed)}; a resumed run cannot change it")
    if held.backend != backend.active():
        print(f"note: this run was begun on the {held.backend} backend and goes on on {backend.active()}, with other roundings")
    return Run.resume(held, data.load(given.get("data", held.settings.data), held.settings.image_size))


def _announce(going: Run, folder: Path) -> None:
    from pyhybrid import backend

    s = going.settings
    print(f"{s.model}: {going.model.parameter_count():,} parameters, {len(going.trained.classes)} classes, {backend.active()} backend")
    print(f"{len(going.trained.labels)} images to learn from, {len(going.held.labels)} held out, {s.image_size} x {s.image_size} pixels, "
          f"{going.steps} steps an epoch; saved in {folder}")
    if going.history:
        print(f"{len(going.history)} of {s.epochs} epochs are done")


def _conclude(going: Run, folder: Path, draw: bool) -> None:
    """The last measurement, as text and pictures."""
    from pyhybrid.train import pictures
    from pyhybrid.train.loop import measure

    found = measure(going.model, going.held, going.scaling)
    count, seconds = len(going.held.labels), sum(entry["seconds"] for entry in going.history)
    result = f"{found.accuracy:.2%} of {count} held-out images right"
    print(console.paint(f"\n{result}", "bold") + f", {seconds:.0f} s of training")
    if draw:
        title = f"{going.settings.model}: {result}"
        pictures.curves(folder / "curves.png", going.history, title)
        pictures.confusion_matrix(folder / "confusion.png", found.confusion, going.held.classes, title)
        print(f"{folder / 'curves.png'}, {folder / 'confusion.png'}")
    print(f"pyhybrid predict {folder} IMAGE...   names what is in a picture")


def _save(folder: Path, going: Run, saved: int) -> None:
    """Write the checkpoint. A disk that is full or gone is the user's to mend; what was saved before is not touched."""
    from pyhybrid.train import checkpoint

    try:
        checkpoint.save(folder, going.checkpoint())
    except OSError as wrong:
        raise UsageError(f"epoch {len(going.history)} cannot be saved in {folder}: {wrong.strerror}; {_left(saved, folder)}") from wrong


def _left(saved: int, folder: Path) -> str:
    """What is left of a run that ended early."""
    if not saved:
        return "no epoch was complete, nothing was saved"
    return f"{saved} complete epochs are saved in {folder}; --resume goes on from there"


@contextmanager
def _bar(going: Run) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """A bar over the whole run, with means of the epoch so far and the time left, and how to print a line above it.

    Only where the errors go to a terminal and tqdm is installed; otherwise the lines are all.
    """
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        tqdm = None
        if sys.stderr.isatty():
            print("(a progress bar needs tqdm: pip install 'pyhybrid[train]')")
    if tqdm is None or not sys.stderr.isatty():
        yield lambda progress: None, lambda line: print(line, flush=True)
        return
    total, done = going.settings.epochs * going.steps, len(going.history) * going.steps
    with tqdm(total=total, initial=done, unit="step", leave=False, dynamic_ncols=True) as bar:

        def note(progress: Progress) -> None:
            bar.set_description_str(f"epoch {len(going.history) + 1}/{going.settings.epochs}", refresh=False)
            bar.set_postfix_str(f"loss {progress.loss:.4f}, accuracy {progress.accuracy:.2%}", refresh=False)
            bar.update()

        yield note, bar.write
