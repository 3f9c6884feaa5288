"""What SMT's parts cost, in closed form: parameters, and multiply-adds per token.

With C channels, N heads of modulation, expansion e, k̄ the mean of the squared kernel sizes, T tokens and r the width of the perceptron:
modulation takes (3+e)·C² + C·(k̄ + e·N) multiply-adds per token, attention 4·C² + 9·C + 2·T·C, a perceptron 2·r·C² + 9·r·C. Only attention
depends on T: modulation is the cheaper one from `crossover` tokens on. `pyhybrid.nn.summarize` counts the same, to the last one.
"""

from __future__ import annotations

from typing import NamedTuple

from pyhybrid.errors import ConstraintError
from pyhybrid.ops.mixed_conv import official_sizes
from pyhybrid.papers.smt.model import SMT

__all__ = ["Cost", "attention", "crossover", "modulation", "network", "perceptron"]


class Cost(NamedTuple):
    """Parameters; multiply-adds with weights, and between computed arrays."""

    params: int
    weights: int
    products: int = 0

    def times(self, tokens: int) -> Cost:
        """The cost for so many tokens: the parameters are the same."""
        return Cost(self.params, self.weights * tokens, self.products * tokens)


def modulation(channels: int, heads: int = 4, expand: int = 2, qkv_bias: bool = True) -> Cost:
    """Per token: projections to value, branch and output, one tap of every kernel, and the two mixing maps."""
    C, e = channels, expand
    kernels = C // heads * sum(k * k for k in official_sizes(heads))            # C·k̄
    weights = (3 + e) * C * C + kernels + e * heads * C
    return Cost(weights + C * (3 * e + (5 if qkv_bias else 3)), weights)


def attention(channels: int, tokens: int, qkv_bias: bool = True) -> Cost:
    """Per token: four projections, the convolution of the values, and T scores and T weighted values."""
    C = channels
    return Cost(4 * C * C + C * (14 if qkv_bias else 11), 4 * C * C + 9 * C, 2 * tokens * C)


def perceptron(channels: int, ratio: float) -> Cost:
    """Per token: two linear maps and the depthwise convolution between them."""
    C, hidden = channels, int(channels * ratio)
    return Cost(2 * C * hidden + 11 * hidden + C, 2 * C * hidden + 9 * hidden)


def crossover(channels: int, heads: int = 4, expand: int = 2) -> float:
    """Modulation takes fewer multiply-adds than attention on more tokens than this: (C + 40)/2 for 4 heads and expansion 2."""
    squared = sum(k * k for k in official_sizes(heads)) / heads
    return ((expand - 1) * channels + squared + expand * heads - 9) / 2


def network(model: SMT, size: tuple[int, int]) -> Cost:
    """A whole network of the official form on one image of `size`, the sum over its parts; `ConstraintError` for other forms."""
    if model.sam or not (model.local_conv and model.dwconv):
        raise ConstraintError(f"costs.network: the forms are those of the official modules; got sam = {model.sam}, local_conv = "
                              f"{model.local_conv}, dwconv = {model.dwconv}: count with pyhybrid.nn.summarize")
    parts: list[Cost] = []
    width = model.in_channels
    for s, stage in enumerate(model.stages):
        C, before = model.embed_dims[s], size
        size = stage.grid(size)
        T = size[0] * size[1]
        if s == 0:
            k, pad = model.head_conv, model.head_conv // 2 if model.stem_padding is None else model.stem_padding
            h, w = ((n + 2 * pad - k) // 2 + 1 for n in before)
            parts += [Cost(k * k * width * C, k * k * width * C).times(h * w), Cost(2 * C, 0), Cost(4 * C * C + C, 4 * C * C).times(T)]
        else:
            parts.append(Cost(9 * width * C + C, 9 * width * C).times(T))
        parts.append(Cost(4 * C, 0))                        # the norm after the embedding and the one after the blocks
        for kind in stage.kinds:
            mixer = (modulation(C, model.ca_num_heads[s], model.expand_ratio, model.qkv_bias) if kind == "sam" else
                     attention(C, T, model.qkv_bias))
            norms = Cost((6 if model.use_layerscale else 4) * C, 0)
            parts += [mixer.times(T), perceptron(C, model.mlp_ratios[s]).times(T), norms]
        width = C
    parts.append(Cost((width + 1) * model.num_classes, width * model.num_classes))
    return Cost(*map(sum, zip(*parts, strict=True)))
