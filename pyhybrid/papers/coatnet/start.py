"""How each profile draws its weights before training."""

from __future__ import annotations

from math import sqrt

import numpy as np

from pyhybrid.nn import Module, init
from pyhybrid.papers.coatnet.parts import Dense

__all__ = ["draw"]


def draw(model: Module, names: str, rng: np.random.Generator | None) -> None:
    """Replace the weights that the layers drew by those of a profile; norms, layer scales and "cw" keep theirs.

    "paper", as Google's code: kernels and tables from N(0, 0.02²), biases 0. "timm": convolutions from N(0, 2/fan_out), the matrices of
    Transformer blocks uniform as Glorot and Bengio have it, their biases 0 but for those of the feed-forward, N(0, 10⁻¹²), tables from a
    truncated normal. "cw" starts as its framework's layers do, with tables of zeros.
    """
    if names == "cw":
        return
    for layer, module in model.named_modules():
        for name, value in module.params.items():
            if name.endswith(("bias_table", "relative_bias")):
                continue
            shape, dtype = value.shape, value.dtype
            inside = ".attn." in layer or ".mlp." in layer or (".shortcut." in layer and isinstance(module, Dense))
            if value.ndim > 1:
                if names == "paper":
                    module.params[name] = init.normal(0.02, shape, dtype, rng)
                elif inside and ".se" not in layer:
                    module.params[name] = init.uniform(sqrt(6 / (shape[0] + shape[1])), shape, dtype, rng)
                elif value.ndim == 4:
                    module.params[name] = init.kaiming_normal(shape, dtype, rng, getattr(module, "groups", 1))
            elif name.endswith("bias"):
                small = ".mlp." in layer and names == "timm"
                module.params[name] = init.normal(1e-6, shape, dtype, rng) if small else init.constant(0, shape, dtype, rng)
