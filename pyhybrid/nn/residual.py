"""Where paths meet: their sum, and the residual block, in which what a chain of layers makes of x is added to x or a projection of x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pyhybrid.nn.chain import chain_backward, chain_forward, prefixed
from pyhybrid.nn.module import Module
from pyhybrid.ops import add as sum_of_two

__all__ = ["Residual", "add"]

Array = np.ndarray
Grads = dict[str, Array]


def add(a: Array, b: Array) -> Array:
    """a + b for arrays of one shape: two paths, or backwards their gradients. NumPy's sum has one thread, that of the operator all."""
    return sum_of_two.forward(a, b)[0]


@dataclass(eq=False)
class Residual(Module):
    """x (N, C, H, W) -> last(main(x) + shortcut(x)). `MAIN` names the children of the main path in order, `last` those after the sum.

    The shortcut is the child "downsample" if there is one, and x itself otherwise.
    """

    MAIN: ClassVar[tuple[str, ...]] = ()

    @property
    def last(self) -> tuple[str, ...]:
        """Names of the layers after the sum."""
        return ("relu",)

    def forward(self, x: Array) -> tuple[Array, Any]:
        main, on_main = chain_forward(self.children, self.MAIN, x)
        shortcut, on_shortcut = self.children["downsample"].forward(x) if "downsample" in self.children else (x, None)
        y, on_sum = chain_forward(self.children, self.last, add(main, shortcut))
        return y, (on_main, on_shortcut, on_sum)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        on_main, on_shortcut, on_sum = cache
        dsum, grads = chain_backward(self.children, self.last, dy, on_sum)
        dx, own = chain_backward(self.children, self.MAIN, dsum, on_main)
        grads |= own
        dshortcut = dsum
        if "downsample" in self.children:
            dshortcut, own = self.children["downsample"].backward(dsum, on_shortcut)
            grads |= prefixed("downsample", own)
        return add(dx, dshortcut), grads
