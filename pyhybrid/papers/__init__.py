"""The papers: for each a card (what is computed where, where paper and code differ), its blocks and its models.

`build(name)` makes any model; `VARIANTS` holds those of the papers as data, `TINY` small ones for small images.
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.nn import Module, Seed
from pyhybrid.papers._card import Card, Difference, Equation, find
from pyhybrid.papers._model import Published, Variant
from pyhybrid.papers.acmix import variants as _acmix
from pyhybrid.papers.coatnet import variants as _coatnet
from pyhybrid.papers.das import variants as _das
from pyhybrid.papers.hornet import variants as _hornet
from pyhybrid.papers.smt import variants as _smt
from pyhybrid.papers.tiny import TINY

__all__ = ["TINY", "VARIANTS", "Card", "Difference", "Equation", "Published", "Variant", "build", "find", "variant"]

VARIANTS: dict[str, Variant] = {**_acmix.VARIANTS, **_coatnet.VARIANTS, **_das.VARIANTS, **_hornet.VARIANTS, **_smt.VARIANTS}


def build(name: str, *, image_size: int | None = None, num_classes: int = 1000, dtype: Any = np.float32, seed: Seed = 0,
          **options: Any) -> Module:
    """A model by name, in evaluation mode; `options` are further arguments of its class.

    image_size matters to models with positions in them (the default is the paper's). seed=None builds without memory, for counting.
    `UsageError` lists the names if there is no such model.
    """
    return variant(name).build(image_size=image_size, num_classes=num_classes, dtype=dtype, seed=seed, **options)


def variant(name: str) -> Variant:
    """The data of a model; `UsageError` lists the names if there is none."""
    models = VARIANTS | TINY
    if name not in models:
        near = difflib.get_close_matches(name, models, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"no model named {name!r}{hint}; there are {', '.join(models)}")
    return models[name]
