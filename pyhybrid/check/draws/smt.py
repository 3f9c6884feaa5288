"""Cases of the mixed convolution, the aggregation of scales and the modulation of SMT, of layer scale and of stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins

Config = dict[str, Any]


def _along_an_axis(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Lengths before and after an axis, and where it is, counted from either end."""
    lead, rest = draw.choice("lead", ((2,), (), (3, 2), (0,))), draw.choice("rest", ((), (3,), (2, 3), (0,)))
    return lead, rest, -len(rest) - 1 if draw.choice("backwards", (True, False)) else len(lead)


def layer_scale(draw: Draw) -> Case:
    """Tokens (nothing after the axis) and maps with their channels first."""
    (lead, rest, axis), n = _along_an_axis(draw), draw.integer("n", 1, 6)
    values = draw.values()
    arguments = {"x": values.array(*lead, n, *rest), "gamma": values.array(n)}
    batched = ("x",) if lead else ()
    return values.case(arguments, {"axis": axis}, polynomial=True, batched=batched, linear=("x", "gamma"))


def drop_path(draw: Draw) -> Case:
    """Any mask, not only zeros and ones: the operator is linear in it. Only halves are divided by exactly."""
    N, rest = draw.batch(), draw.choice("rest", ((3,), (), (2, 3), (2, 2, 3), (0,)))
    rate = draw.choice("rate", (0.0, 0.5, 0.3))
    values = draw.values()
    arguments = {"x": values.array(N, *rest), "mask": values.array(N)}
    return values.case(arguments, {"rate": rate}, polynomial=rate != 0.3, batched=("x", "mask"), linear=("x", "mask"))


def regroup(draw: Draw) -> Case:
    """One head, one group, and both more than one."""
    (lead, rest, axis), heads = _along_an_axis(draw), draw.integer("heads", 1, 4)
    C = heads * draw.integer("inner", 1, 4)
    config = {"heads": heads, "axis": axis, "inverse": draw.choice("inverse", (False, True))}
    values = draw.values()
    batched = ("x",) if lead else ()
    return values.case({"x": values.array(*lead, C, *rest)}, config, polynomial=True, batched=batched, linear=("x",))


def mixed_conv(draw: Draw) -> Case:
    """The official sizes, the same size twice, sizes that fall, and kernels larger than the map."""
    N, inner, H, W = draw.batch(), draw.integer("inner", 1, 2), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    sizes = draw.choice("kernel_sizes", ((3,), (3, 5), (1, 3), (5, 3, 3), (3, 5, 7), (7,)))
    bias = draw.choice("bias", (False, True))
    values = draw.values()
    C = inner * len(sizes)
    arguments = {
        "x": values.array(N, C, H, W),
        "weight": values.array(inner, sum(k * k for k in sizes)),
        "bias": values.optional(bias, C),
    }
    config: Config = {"kernel_sizes": sizes}
    return values.case(arguments, config, polynomial=True, batched=("x",), linear=("x", "weight", "bias"))


def modulation(draw: Draw) -> Case:
    """Tokens of any map, square or not."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 5), draw.integer("H", 1, 5), draw.integer("W", 1, 6)
    values = draw.values()
    arguments = {"v": values.array(N, H * W, C), "modulator": values.array(N, C, H, W)}
    return values.case(arguments, {}, polynomial=True, batched=("v", "modulator"), linear=("v", "modulator"))


def scale_aware_aggregation(draw: Draw) -> Case:
    """Training, where all images depend on each other, and evaluation, where none does; one group, one head, and more.

    "tiny" values multiply; a bias of their size would leave nothing of them in float32.
    """
    N, heads, inner = draw.choice("N", (2, 1, 3, 2)), draw.integer("heads", 1, 4), draw.integer("inner", 1, 3)
    expand, O = draw.integer("expand", 1, 4), draw.integer("O", 1, 4)
    H, W = draw.integer("H", 1, 4), draw.integer("W", 1, 5)
    running, eps = draw.choice("running", (False, True)), draw.choice("eps", (1e-5, 1e-3, 1))
    values = draw.values()
    C, E = heads * inner, inner * expand
    arguments = {
        "x": values.array(N, C, H, W),
        "proj0_weight": values.array(E, heads, 1, 1),
        "proj0_bias": values.array(E, scale=1e-8 if values.regime == "tiny" else 1.0),
        "bn_weight": values.array(E),
        "bn_bias": values.array(E),
        "proj1_weight": values.array(O, E, 1, 1),
        "proj1_bias": values.array(O),
        "bn_running_mean": values.optional(running, E),
        "bn_running_var": None,
    }
    if running:
        deviation = values.array(E)
        arguments["bn_running_var"] = deviation * deviation + (1.0 if values.regime == "whole" else 0.0)    # a step must not lead below 0
    batched = ("x",) if running else ()
    return values.case(arguments, {"eps": eps}, polynomial=False, batched=batched, linear=("proj1_weight", "proj1_bias"))


CASES: dict[str, Callable[[Draw], Case]] = {
    "drop_path": drop_path,
    "layer_scale": layer_scale,
    "mixed_conv": mixed_conv,
    "modulation": modulation,
    "regroup": regroup,
    "scale_aware_aggregation": scale_aware_aggregation,
}

_BOTH: list[Pins] = [dict(running=False), dict(running=True)]
CORNERS: dict[str, list[Pins]] = {
    "drop_path": [
        dict(N=1, rest=()), dict(N=0, rest=(3,)), dict(N=2, rest=(0,)), dict(N=3, rest=(2, 3), rate=0.5, regime="whole"),
        dict(N=3, rest=(5, 7), rate=0.3), dict(N=2, rest=(33,), rate=0.0, regime="large"), dict(N=2, rest=(3,), rate=0.3, regime="tiny"),
    ],
    "layer_scale": [
        dict(n=1, lead=(2,), rest=(3,)), dict(lead=(2,), rest=(2, 3), n=5, backwards=False), dict(lead=(3, 2), rest=(), n=33),
        dict(n=0, lead=(2,), rest=()), dict(n=0, lead=(2,), rest=(3,)), dict(lead=(), rest=(), n=6), dict(lead=(0,), n=3),
        dict(rest=(0,), n=3),
        dict(lead=(3, 2), rest=(3,), n=4, regime="whole"), dict(lead=(2,), rest=(), n=2, regime="large"), dict(n=6, regime="tiny"),
    ],
    "mixed_conv": [
        *THIN, dict(inner=0, bias=True), dict(H=0, N=2), dict(W=0, N=2), dict(H=3, W=2, N=2, inner=2, kernel_sizes=(3, 5, 7, 9)),
        dict(H=6, W=5, N=1, inner=1, kernel_sizes=(3, 5, 7, 9), bias=True, regime="whole"), dict(kernel_sizes=(1,), N=2, H=3, W=4),
        dict(H=9, W=19, N=3, inner=2, kernel_sizes=(3, 5), bias=True), dict(H=5, W=6, N=2, inner=1, kernel_sizes=(5, 1, 5), bias=False),
        dict(H=2, W=3, kernel_sizes=(11, 3), N=2, bias=True), dict(regime="large", N=2), dict(regime="tiny", N=2),
    ],
    "modulation": [
        *THIN, dict(C=0), dict(H=0), dict(W=0), dict(C=1, H=1, W=1), dict(N=2, C=19, H=5, W=7), dict(N=2, C=33, H=1, W=17),
        dict(regime="whole", N=2, H=3, W=4, C=3), dict(regime="large"), dict(regime="tiny"),
    ],
    "regroup": [
        *(
            pins | {"inverse": inverse}
            for inverse in (False, True)
            for pins in (
                dict(heads=1), dict(inner=1, heads=3), dict(heads=2, inner=3, lead=(), rest=()), dict(heads=3, inner=3, rest=(2, 3)),
                dict(heads=3, inner=4, lead=(2,), rest=(3,)), dict(inner=0, heads=2), dict(lead=(0,)), dict(rest=(0,), heads=2, inner=2),
            )
        ),
        dict(heads=1, inner=1, lead=(1,), rest=(1, 1)),
        dict(heads=17, inner=19, lead=(2,), rest=(), regime="whole"), dict(heads=3, inner=5, lead=(2,), rest=(33,)),
    ],
    "scale_aware_aggregation": [
        *(
            pins | running
            for running in _BOTH
            for pins in (
                dict(N=1, H=1, W=1, heads=2, inner=2), dict(N=2, H=1, W=1), dict(heads=1, inner=3, N=2, H=3, W=4),
                dict(heads=4, inner=1, N=2, H=3, W=4), dict(heads=4, inner=2, expand=8, O=8, N=2, H=4, W=5), dict(expand=0, N=2),
                dict(O=0, N=2), dict(heads=3, inner=3, expand=2, O=5, N=3, H=7, W=9, eps=1e-5), dict(regime="large", N=2, H=3, W=4),
                dict(regime="tiny", N=2, H=3, W=4), dict(regime="whole", N=2, H=3, W=4), dict(heads=5, inner=1, expand=3, N=2, H=2, W=3),
            )
        ),
        dict(N=0, running=True), dict(H=0, running=True), dict(heads=4, inner=5, expand=8, O=20, N=2, H=5, W=7, running=False),
    ],
}  # fmt: skip
