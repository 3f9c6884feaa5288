"""An image file as bytes (3, size, size): upright, in colour, its middle square. Needs Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from pyhybrid.errors import UsageError

__all__ = ["SUFFIXES", "read_image"]

Array = np.ndarray
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read_image(path: str | Path, size: int, invert: bool = False) -> Array:
    """The shorter side resized to `size` (bilinear, every old pixel counted when it shrinks), then the middle cut out; (3, size, size).

    Grey images get three equal channels, transparent pixels are black. `invert` exchanges dark and light. `UsageError` names a file that
    is not there or cannot be read as an image.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise UsageError("reading images needs Pillow: pip install 'pyhybrid[train]'") from None
    if not Path(path).is_file():
        raise UsageError(f"no such image file: {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)
                if upright.has_transparency_data:
                    clear = upright.convert("RGBA")
                    upright = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
                colour = _eight_bits(upright)
                square = ImageOps.fit(colour, (size, size), Image.Resampling.BILINEAR)
    except Exception as wrong:      # decoders raise whatever the damage makes them raise
        raise UsageError(f"{path} cannot be read as an image: {wrong}") from wrong
    pixels = np.asarray(square).transpose(2, 0, 1)
    return 255 - pixels if invert else pixels.copy()


def _eight_bits(image):
    """In colour with 8 bits per channel. A 16-bit grey image is scaled; the library's own conversion would cut it off at 255."""
    if image.mode.startswith("I;16"):
        from PIL import Image

        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
