"""gnConv in the form of attention: at every pixel a weighted sum of the values around it, equation (9) of the card beside (8).

    (8) attention   out[i] = Σ_j a_ij·v[j]      a_ij from the contents of i and j, positive, Σ_j a_ij = 1, j anywhere
    (9) gnConv      p_n[i] = Σ_j h_ij·v[j]      h_ij = s·w[j - i]·u[i] for each channel, j in the window of the kernel w around i

v are the channels q_(n-1) of proj_in, w the kernels of the last order, u = u_(n-1) what the gates before made of the surroundings of i,
of degree n in the input. So the weights follow the input, but a kernel that is learnt once and one number per pixel and channel make
them up: what stands at j does not enter h_ij, nothing is normalised, and the sign is free. The bias of the kernels adds s·b·u[i].
Source: HorNet, arXiv 2207.14284, its comparison with attention.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.ops import gate_chain, gn_conv
from pyhybrid.papers.hornet.gnconv import GnConv

__all__ = ["AttentionForm", "attention_form"]

Array = np.ndarray


class AttentionForm(NamedTuple):
    """p_n[i, j] = Σ_ab weights[…, i, j, a, b]·values[…, i + a - k//2, j + b - k//2] + rest[…, i, j], values 0 outside the map."""

    weights: Array      # (N, C, H, W, k, k)
    values: Array       # (N, C, H, W)
    rest: Array         # (N, C, H, W), from the bias of the kernels


def attention_form(layer: GnConv, x: Array) -> AttentionForm:
    """The last gate of a gnConv with a depthwise convolution, for x (N, in_channels, H, W), before proj_out.

    `ConstraintError` for a layer with a global filter: its weights have no window.
    """
    if layer.filter is not None:
        raise ConstraintError(f"attention_form: the layer must have a depthwise convolution; got the filter {layer.filter}")
    _, cache = layer.forward(x)
    C = layer.dim
    u = gate_chain.projected(gn_conv.chain_cache(cache))[-1]
    kernels, bias = (layer.params[f"dwconv.{kind}"][-C:] for kind in ("weight", "bias"))
    scaled = layer.s * u
    weights = scaled[..., None, None] * kernels[None, :, 0, None, None]
    return AttentionForm(weights, cache.q[:, -C:], scaled * bias[:, None, None])
