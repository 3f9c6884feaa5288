"""What several tests share: labelled images that a network learns in a few steps (bright stripes), a short run, a checkpoint."""

import numpy as np

from pyhybrid.train.checkpoint import Checkpoint
from pyhybrid.train.data import Images, Scaling
from pyhybrid.train.settings import Settings

CLASSES = ("upright", "lying", "leaning")


def stripes(each=8, size=16, seed=0):
    """`each` images of every class, (3·each, 3, size, size)."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[:size, :size]
    waves, labels = [], []
    for label, phase in enumerate((j, i, i + j)):
        for _ in range(each):
            waves.append(127 + 120 * np.sin(phase * 1.3 + rng.uniform(0, 6)) + rng.uniform(-8, 8, (3, size, size)))
            labels.append(label)
    return Images(np.clip(waves, 0, 255).astype(np.uint8), np.array(labels), CLASSES)


def settings(**given):
    """A run of seconds: 16 pixels, two steps an epoch."""
    return Settings(**{"model": "acmix_tiny", "data": "stripes", "image_size": 16, "epochs": 3, "batch": 9, "warmup": 1.0,
                       "learning_rate": 0.01, "held_out": 0.25, **given})


def write_folder(root, images):
    """The same as files, one subfolder for each class."""
    from PIL import Image

    for number, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        place = root / images.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(place / f"{number:03d}.png")
    return root


def example(epochs=1):
    """A checkpoint whose every number says from which epoch it is."""
    weights = {"layer.weight": np.full((2, 3), epochs, np.float32), "layer.count": np.asarray(epochs)}
    state = {"mean.layer.weight": np.full((2, 3), -epochs, np.float32), "steps": np.asarray(epochs)}
    history = [{"epoch": n + 1, "loss": 1 / 3} for n in range(epochs)]
    return Checkpoint(settings(), ("a", "b é"), Scaling((0.1, 0.2, 1 / 3), (1.0, 2.0, 3.0)), "ab12", "numpy", weights, state, history)
