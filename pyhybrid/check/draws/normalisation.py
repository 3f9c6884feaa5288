"""Cases of the linear map of tokens and of the normalisations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import Draw, Pins

Array = np.ndarray


def linear(draw: Draw) -> Case:
    """Any number of leading axes, none too; channels first needs one."""
    lead, first = draw.choice("lead", ((2,), (), (2, 3), (1,), (3, 1, 2), (0, 2))), draw.choice("channels_first", (False, True))
    C, O, bias = draw.integer("C", 1, 6), draw.integer("O", 1, 6), draw.choice("bias", (False, True))
    values = draw.values()
    arguments = {"x": values.array(*lead, C), "weight": values.array(O, C), "bias": values.optional(bias, O)}
    config = {"channels_first": first and bool(lead)}
    batched = ("x",) if len(lead) > config["channels_first"] else ()          # the tokens of a map are no batch
    return values.case(arguments, config, polynomial=True, batched=batched, linear=("x", "weight", "bias"))


def layer_norm(draw: Draw) -> Case:
    """Tokens (nothing after the axis) and maps with their channels first; weight and bias each alone too."""
    lead, rest = draw.choice("lead", ((2,), (), (3, 2), (0,))), draw.choice("rest", ((), (), (3,), (2, 3), (0,)))
    n, backwards = draw.integer("n", 1, 6), draw.choice("backwards", (True, False))
    weight, bias = draw.choice("weight", (False, True)), draw.choice("bias", (False, True))
    eps = draw.choice("eps", (1e-5, 1e-3, 1))
    values = draw.values()
    arguments = {"x": values.array(*lead, n, *rest), "weight": values.optional(weight, n), "bias": values.optional(bias, n)}
    axis = -len(rest) - 1 if backwards else len(lead)
    batched = ("x",) if lead else ()
    return values.case(arguments, {"axis": axis, "eps": eps}, polynomial=False, batched=batched, linear=("weight", "bias"))


def batch_norm(draw: Draw) -> Case:
    """Training, where all images depend on each other, and evaluation, where none does."""
    N, C = draw.choice("N", (2, 1, 3, 2)), draw.integer("C", 1, 4)
    rest = draw.choice("rest", (("H", "W"), ("H", "W"), (), ("W",)))
    extents = {"H": draw.integer("H", 1, 4), "W": draw.integer("W", 1, 5)}
    running, eps = draw.choice("running", (False, True)), draw.choice("eps", (1e-5, 1e-3, 1))
    values = draw.values()
    x, weight, bias = values.array(N, C, *(extents[name] for name in rest)), values.array(C), values.array(C)
    mean, var = values.optional(running, C), values.optional(running, C)
    arguments = {"x": x, "weight": weight, "bias": bias, "running_mean": mean, "running_var": None if var is None else var * var}
    batched = ("x",) if running else ()
    linear = ("x", "weight", "bias", "running_mean") if running else ("weight", "bias")
    return values.case(arguments, {"eps": eps}, polynomial=False, batched=batched, linear=linear)


def batch_norm_act(draw: Draw) -> Case:
    """The same with an activation; "relu" is kept away from its kink."""
    activation, case = draw.choice("activation", ("gelu", "relu", "silu")), batch_norm(draw)
    if activation == "relu" and _near_the_kink(case.arrays, case.config["eps"]):
        activation = "gelu"
    return replace(case, config={**case.config, "activation": activation}, linear=())


def _near_the_kink(arrays: Mapping[str, Array], eps: float) -> bool:
    x, factor = arrays["x"], arrays["weight"]
    axes, per_channel = (0, *range(2, x.ndim)), (-1,) + (1,) * (x.ndim - 2)
    mean, var = (arrays[name] if name in arrays else of(axes) for name, of in (("running_mean", x.mean), ("running_var", x.var)))
    factor = factor / np.sqrt(var + eps)
    z = np.abs(factor.reshape(per_channel) * (x - mean.reshape(per_channel)) + arrays["bias"].reshape(per_channel))
    return z.size > 0 and bool(z.min() <= 1e-3 * z.max())


CASES: dict[str, Callable[[Draw], Case]] = {
    "batch_norm": batch_norm, "batch_norm_act": batch_norm_act, "layer_norm": layer_norm, "linear": linear,
}

CORNERS: dict[str, list[Pins]] = {
    "batch_norm": [
        dict(N=1, rest=(), running=False), dict(N=3, rest=(), C=2, running=False), dict(N=2, C=3, H=3, W=4, running=False),
        dict(N=2, C=3, H=3, W=4, running=True), dict(N=0, running=True), dict(C=0, N=2), dict(H=0, rest=("H", "W"), running=True),
        dict(N=1, H=1, W=2, running=False), dict(N=3, rest=("W",), W=5, running=False, regime="large"),
        dict(N=2, C=2, running=True, regime="tiny"), dict(N=2, C=2, running=False, regime="whole", H=4, W=5),
    ],
    "batch_norm_act": [
        dict(N=2, C=3, H=3, W=4, running=False, activation="gelu"), dict(N=2, C=3, H=3, W=4, running=True, activation="silu"),
        dict(N=3, rest=(), C=2, running=False, activation="relu"), dict(N=2, C=1, H=2, W=1, running=True, activation="relu"),
        dict(N=0, running=True), dict(C=0, N=2), dict(H=0, rest=("H", "W"), running=True), dict(N=1, rest=(), running=False),
        dict(N=3, rest=("W",), W=5, running=False, regime="large"), dict(N=2, C=2, running=True, regime="tiny", activation="gelu"),
    ],
    "layer_norm": [
        dict(n=1), dict(n=1, weight=True, bias=True), dict(lead=(), rest=(), n=6), dict(lead=(0,)), dict(rest=(0,), n=3, weight=True),
        dict(lead=(2,), rest=(2, 3), n=5, weight=True, bias=True), dict(lead=(), rest=(3,), n=4, bias=True, weight=False),
        dict(lead=(3, 2), rest=(), n=6, weight=True, bias=False, regime="large"), dict(n=6, regime="tiny", weight=True),
        dict(lead=(2,), rest=(), n=33, weight=True, bias=True, backwards=False), dict(lead=(2,), n=2, regime="whole"),
    ],
    "linear": [
        dict(lead=()), dict(lead=(0, 2)), dict(C=0, bias=True), dict(O=0), dict(C=1, O=1), dict(lead=(17,), C=33, O=35, bias=True),
        dict(lead=(2, 3), C=5, O=4, bias=True, regime="whole"), dict(lead=(1,), C=300, O=2, regime="whole"),
        dict(lead=(17,), C=33, O=35, bias=True, channels_first=True), dict(lead=(2, 3), O=0, channels_first=True),
        dict(lead=(3, 1, 2), C=5, O=4, bias=True, channels_first=True, regime="whole"),
        dict(lead=(2, 3), C=0, bias=True, channels_first=True), dict(lead=(0, 2), channels_first=True),
        dict(lead=(2, 0), channels_first=True),
    ],
}
