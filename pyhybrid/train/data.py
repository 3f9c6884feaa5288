"""Labelled images: the handwritten digits that ship with scikit-learn, or a folder with one subfolder of images per class.

A data set is held in memory as bytes, (N, 3, S, S) from 0 to 255; a batch becomes floats when it is used. The part that is held out
for measuring has the same share of every class and is never trained on, nor do the mean and deviation that pixels are scaled by see it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.ops import resize_bilinear
from pyhybrid.train.images import SUFFIXES, read_image

__all__ = ["Images", "Scaling", "batches", "digits", "folder", "load", "split"]

Array = np.ndarray


class Images(NamedTuple):
    """A data set."""

    pixels: Array               # (N, 3, S, S) uint8
    labels: Array               # (N,) int64, numbers of `classes`
    classes: tuple[str, ...]

    def subset(self, which: Array) -> Images:
        """The images of these numbers, in this order."""
        return self._replace(pixels=self.pixels[which], labels=self.labels[which])

    def digest(self) -> str:
        """A fingerprint (SHA-256): the same for the same images with the same labels and class names in the same order."""
        seen = hashlib.sha256("\n".join([*self.classes, str(self.pixels.shape)]).encode())
        seen.update(self.pixels.tobytes())
        seen.update(self.labels.astype("<i8").tobytes())
        return seen.hexdigest()


class Scaling(NamedTuple):
    """How bytes become the numbers that a network sees: (byte/255 - mean)/std, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, pixels: Array) -> Scaling:
        """Mean and standard deviation of these images; a channel that is the same everywhere is left at its contrast."""
        counts = np.stack([np.bincount(pixels[:, c].ravel(), minlength=256) for c in range(pixels.shape[1])])
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(1)
        std = np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(1) / counts.sum(1))
        varies = (counts > 0).sum(1) > 1        # std itself is a rounding error above 0 where nothing varies
        return cls(tuple(mean.tolist()), tuple(np.where(varies, std, 1.0).tolist()))

    def apply(self, images: Array) -> Array:
        """Scaled images (N, C, H, W) in float32; the input is bytes/255 in float32."""
        mean, std = (np.asarray(values, np.float32)[:, None, None] for values in self)
        return (images - mean) / std


def load(source: str, size: int) -> Images:
    """"digits", or the path of a folder; images of `size` pixels on a side."""
    return digits(size) if source == "digits" else folder(source, size)


def digits(size: int = 32) -> Images:
    """1797 handwritten digits of 8x8 pixels and 17 grey levels, white on black, enlarged bilinearly. Needs scikit-learn.

    They come from 13 people. What is held out is other digits of the same people, so how well a stranger's hand is read is not measured.
    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as missing:
        raise UsageError(f"the digits ship with scikit-learn ({missing}): pip install 'pyhybrid[train]', or name a folder") from None
    held = load_digits()
    # The readable body in float64, so that the bytes are the same whichever backend trains.
    enlarged, _ = resize_bilinear.forward.reference(held.images / 16, size=size)
    grey = np.rint(255 * enlarged).astype(np.uint8)[:, None]
    names = tuple(str(name) for name in held.target_names)
    return Images(np.broadcast_to(grey, (len(grey), 3, size, size)), held.target.astype(np.int64), names)


def folder(path: str | Path, size: int) -> Images:
    """Every image file directly in the subfolders of `path`, one class each, in alphabetical order. Needs Pillow.

    `UsageError` if there is no such folder, there are fewer than two classes, a class has fewer than two images, or one cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise UsageError(f"--data must be `digits` or a folder with one subfolder of images per class; {root} is "
                         f"{'a file' if root.exists() else 'not there'}")
    found = {sub.name: sorted(file for file in sub.iterdir() if file.suffix.lower() in SUFFIXES)
             for sub in sorted(root.iterdir()) if sub.is_dir() and not sub.name.startswith(".")}
    if len(found) < 2:
        what = f"only one, {next(iter(found))!r}" if found else "none"
        raise UsageError(f"{root} must have a subfolder for each of at least two classes; it has {what}")
    few = [f"{name!r} ({len(files)})" for name, files in found.items() if len(files) < 2]
    if few:
        raise UsageError(f"every class needs at least two images, one of them to be held out; {root} has fewer in {', '.join(few)} "
                         f"(files that end in {', '.join(sorted(SUFFIXES))} count)")
    pixels = np.stack([read_image(file, size) for files in found.values() for file in files])
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    return Images(pixels, labels, tuple(found))


def split(images: Images, held_out: float, seed: int) -> tuple[Images, Images]:
    """What is trained on and what is held out: of each class the share `held_out`, rounded, but at least one image on either side."""
    rng = np.random.default_rng(seed)
    apart = np.zeros(len(images.labels), bool)
    for label in range(len(images.classes)):
        members = rng.permutation(np.flatnonzero(images.labels == label))
        apart[members[: min(max(1, round(held_out * len(members))), len(members) - 1)]] = True
    return images.subset(np.flatnonzero(~apart)), images.subset(np.flatnonzero(apart))


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[Array]:
    """The numbers 0 … count-1 in random order, `size` at a time.

    What is left over is skipped: a batch of very few images has poor statistics, and the next order leaves others over. If there are
    fewer than `size` images in all, they are one batch.
    """
    order = rng.permutation(count)
    for start in range(0, max(count - size, 0) + 1, size):
        yield order[start : start + size]
