"""The loop: forward, loss, backward, clip, step, for every batch of every epoch, and a measurement on what was held out after each.

Nothing random outlives an epoch. Its order, its augmentation and its drop path come from three generators, each seeded by the run's seed,
the number of the epoch and the purpose, so an epoch of a resumed run draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, Self

import numpy as np

from pyhybrid import backend
from pyhybrid.errors import UsageError
from pyhybrid.nn import DropPath, Module, summarize
from pyhybrid.papers import build
from pyhybrid.train import loss as cross_entropy
from pyhybrid.train.augment import augment
from pyhybrid.train.checkpoint import Checkpoint
from pyhybrid.train.data import Images, Scaling, batches, split
from pyhybrid.train.optimisers import Optimiser, clip, norm
from pyhybrid.train.schedule import learning_rate
from pyhybrid.train.settings import Settings

__all__ = ["Diverged", "Measured", "Progress", "Run", "make_model", "measure"]

Array = np.ndarray
ORDER, AUGMENT, DROP = range(3)     # what an epoch's generators are for


class Diverged(UsageError):
    """The loss or its gradient is not finite any more."""


class Progress(NamedTuple):
    """How far an epoch is; loss and accuracy are means over its images so far."""

    step: int
    steps: int
    loss: float
    accuracy: float


class Measured(NamedTuple):
    """A model on labelled images."""

    loss: float             # cross-entropy, without smoothing
    accuracy: float
    confusion: Array        # (K, K): how many images of class i were taken for class j


@dataclass
class Run:
    """A model being trained. `begin` starts one, `resume` takes up a checkpoint, `epoch` trains through all images once."""

    settings: Settings
    model: Module
    optimiser: Optimiser
    scaling: Scaling
    trained: Images
    held: Images
    digest: str
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, settings: Settings, images: Images) -> Self:
        """A new run on these images. `UsageError` if the model does not take them."""
        trained, held = split(images, settings.held_out, settings.seed)
        model = make_model(settings, len(images.classes))
        return cls(settings, model, settings.make_optimiser(), Scaling.of(trained.pixels), trained, held, images.digest())

    @classmethod
    def resume(cls, checkpoint: Checkpoint, images: Images) -> Self:
        """Where the checkpoint was written. `UsageError` if the images are not those of the run, or its arrays do not fit the model."""
        run = cls.begin(checkpoint.settings, images)
        if run.digest != checkpoint.digest:
            raise UsageError("the data are not those that this run was begun with; resume with those, or begin a new run")
        try:
            run.model.load_state_dict(checkpoint.weights)
        except ValueError as unfit:
            raise UsageError(f"the checkpoint does not fit {checkpoint.settings.model}: {unfit}") from unfit
        run.optimiser.state = dict(checkpoint.optimiser)
        run.history = list(checkpoint.history)
        return run

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return max(1, len(self.trained.labels) // self.settings.batch)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) >= self.settings.epochs

    def epoch(self, note: Callable[[Progress], Any] = lambda progress: None) -> dict[str, float]:
        """Train one epoch, measure, add the entry to `history` and return it. `note` is told after every step.

        `Diverged` if the loss or the gradient is not finite; the model is spoilt then, its last checkpoint is not.
        """
        start, number, s = perf_counter(), len(self.history), self.settings
        orders, changes, drops = (np.random.default_rng((s.seed, number, purpose)) for purpose in (ORDER, AUGMENT, DROP))
        draw_drop_path_from(self.model, drops)
        self.model.train()
        seen, total, right = 0, 0.0, 0
        for step, which in enumerate(batches(len(self.trained.labels), s.batch, orders)):
            batch = self.trained.subset(which)
            loss, hits = self._step(batch, number * self.steps + step, changes)
            seen, total, right = seen + len(which), total + loss * len(which), right + hits
            note(Progress(step + 1, self.steps, total / seen, right / seen))
        measured = measure(self.model, self.held, self.scaling)
        self.history.append({
            "epoch": number + 1, "learning_rate": self._rate((number + 1) * self.steps - 1),
            "loss": total / seen, "accuracy": right / seen,
            "held_out_loss": measured.loss, "held_out_accuracy": measured.accuracy, "seconds": perf_counter() - start})
        return self.history[-1]

    def checkpoint(self) -> Checkpoint:
        """What is saved after an epoch."""
        return Checkpoint(self.settings, self.trained.classes, self.scaling, self.digest, backend.active(), self.model.state_dict(),
                          self.optimiser.state, self.history)

    def _step(self, batch: Images, step: int, changes: np.random.Generator) -> tuple[float, int]:
        """One batch; its loss before the step, and how many of its images were right."""
        s = self.settings
        x = self.scaling.apply(augment(batch.pixels.astype(np.float32) / np.float32(255), s.strength, changes))
        logits, cache = self.model.forward(x)
        loss, surprise = cross_entropy.forward(logits, batch.labels, smoothing=s.label_smoothing)
        _, grads = self.model.backward(cross_entropy.backward(surprise), cache)
        length = norm(grads)
        if not np.isfinite([loss, length]).all():
            epoch, within = divmod(step, self.steps)
            raise Diverged(f"the {'gradient' if np.isfinite(loss) else 'loss'} is not finite any more in epoch {epoch + 1}, batch "
                           f"{within + 1} (loss {loss:g}); a smaller --learning-rate, a longer --warmup or --clip 1 may help")
        self.optimiser.step(self.model.named_params(), clip(grads, length, s.clip or np.inf), self._rate(step))
        return loss, int((logits.argmax(1) == batch.labels).sum())

    def _rate(self, step: int) -> float:
        s = self.settings
        return learning_rate(step, peak=s.learning_rate, warmup=round(s.warmup * self.steps), total=s.epochs * self.steps)


def make_model(settings: Settings, classes: int) -> Module:
    """The model of these settings, new. `UsageError` if there is none, or it cannot take images of that size."""
    options = {"drop_path_rate": settings.drop_path} if settings.drop_path else {}
    size = settings.image_size
    try:
        model = build(settings.model, image_size=size, num_classes=classes, seed=settings.seed, **options)
        summarize(model, (1, 3, size, size))
    except ValueError as refused:
        raise UsageError(f"{settings.model} cannot take images of {size} pixels: {refused}") from refused
    except TypeError as unknown:
        if "drop_path_rate" not in str(unknown):
            raise
        raise UsageError(f"{settings.model} has no drop path; got --drop-path {settings.drop_path:g}") from unknown
    return model


def draw_drop_path_from(model: Module, rng: np.random.Generator) -> None:
    """Let every drop path of the model draw from `rng`, in the order in which they run."""
    for _, layer in model.named_modules():
        if isinstance(layer, DropPath):
            layer.seed = rng            # the layer itself, not a new one: a block may hold it by another name as well
            layer.__post_init__()       # takes up the seed


def measure(model: Module, images: Images, scaling: Scaling, batch: int = 128) -> Measured:
    """Evaluation mode, without augmentation."""
    model.eval()
    K = len(images.classes)
    confusion, total = np.zeros((K, K), np.int64), 0.0
    for start in range(0, len(images.labels), batch):
        part = images.subset(np.arange(start, min(start + batch, len(images.labels))))
        logits, _ = model.forward(scaling.apply(part.pixels.astype(np.float32) / np.float32(255)))
        total += cross_entropy.forward(logits, part.labels)[0] * len(part.labels)
        np.add.at(confusion, (part.labels, logits.argmax(1)), 1)
    count = len(images.labels)
    return Measured(total / count, float(confusion.trace()) / count, confusion)
