"""Cases of relative, local and linear attention, of the resized table, of the parts of MBConv, and of CoAtNet's two functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins, Values, both
from pyhybrid.check.draws.activation import smooth

Array = np.ndarray


def _grid(draw: Draw, longest: int) -> tuple[int, int, int, int, int, int | tuple[int, int]]:
    """Images, heads, tokens, widths of keys and values, and the size of the grid."""
    size = draw.pair("size", 1, longest)
    h, w = both(size)
    return draw.batch(), draw.integer("heads", 1, 3), h * w, draw.integer("d", 1, 4), draw.integer("e", 1, 4), size


def _qkv(values: Values, B: int, heads: int, N: int, d: int, e: int) -> dict[str, Array | None]:
    """ "large" makes logits of about a thousand."""
    tamed = 3e-5 if values.regime == "large" else 1.0
    shape = (B, heads, N)
    q, k = values.array(*shape, d, scale=tamed), values.array(*shape, d, scale=tamed)
    return {"q": q, "k": k, "v": values.array(*shape, e)}


def relative_attention(draw: Draw) -> Case:
    """Both forms, both signs. Where values are large the table is scaled down, so that the softmax has more than one weight."""
    B, heads, N, d, e, size = _grid(draw, 3)
    config = {
        "size": size,
        "form": draw.choice("form", ("pre", "post")),
        "sign": draw.choice("sign", ("query - key", "key - query")),
        "scale": draw.choice("scale", (None, 0.5)),
    }
    (h, w), values = both(size), draw.values()
    arguments = _qkv(values, B, heads, N, d, e)
    arguments["table"] = values.array(heads, 2 * h - 1, 2 * w - 1, scale=3e-5 if values.regime == "large" else 1.0)
    return values.case(arguments, config, polynomial=False, batched=("q", "k", "v"), linear=("v",))


def local_relative_attention(draw: Draw) -> Case:
    """Windows from the token alone to more than the grid."""
    B, heads, N, d, e, size = _grid(draw, 4)
    radius = draw.choice("radius", (1, 0, 2, 3))
    config = {
        "size": size,
        "radius": radius,
        "form": draw.choice("form", ("pre", "post")),
        "scale": draw.choice("scale", (None, 0.5)),
    }
    values = draw.values()
    arguments = _qkv(values, B, heads, N, d, e)
    arguments["table"] = values.array(heads, 2 * radius + 1, 2 * radius + 1, scale=3e-5 if values.regime == "large" else 1.0)
    return values.case(arguments, config, polynomial=False, batched=("q", "k", "v"), linear=("v",))


def linear_attention(draw: Draw) -> Case:
    """H queries and W keys; "large" numbers reach to 30, so that products of two features are still normal in float32."""
    N, heads, T, S = draw.batch(), draw.integer("heads", 1, 3), draw.integer("H", 1, 6), draw.integer("W", 1, 7)
    d, e = draw.integer("d", 1, 4), draw.integer("e", 1, 4)
    config = {"kind": draw.choice("kind", ("elu", "efficient")), "eps": draw.choice("eps", (0.0, 0.25))}
    values = draw.values()
    tamed = 8e-6 if values.regime == "large" else 1.0
    arguments = {
        "q": np.clip(values.array(N, heads, T, d, scale=tamed), -30, 30),
        "k": np.clip(values.array(N, heads, S, d, scale=tamed), -30, 30),
        "v": values.array(N, heads, S, e),
    }
    return values.case(arguments, config, polynomial=False, batched=("q", "k", "v"), linear=("v",))


def resize_bilinear(draw: Draw) -> Case:
    """Any number of leading axes; from a third of the size to three times it."""
    lead = draw.choice("lead", ((2,), (), (2, 3), (1,), (0, 2)))
    H, W = draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    config = {"size": draw.pair("size", 1, 9), "align_corners": draw.choice("align_corners", (False, True))}
    values = draw.values()
    batched = ("x",) if lead else ()
    return values.case({"x": values.array(*lead, H, W)}, config, polynomial=False, batched=batched, linear=("x",))


def squeeze_excite(draw: Draw) -> Case:
    """Gates are not at their limits in any regime, and "relu" is kept away from its kink."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 5), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    R, bias = draw.integer("R", 1, 3), draw.choice("bias", (True, False))
    activation = draw.choice("activation", ("silu", "relu", "gelu"))
    values = draw.values()
    first, second = (1e-12, 1e-6) if values.regime == "large" else (1.0, 1.0)
    x, reduce_weight = values.array(N, C, H, W), values.array(R, C, scale=first)
    arguments = {
        "x": x,
        "reduce_weight": reduce_weight,
        "expand_weight": values.array(C, R, scale=second),
        "reduce_bias": values.array(R, scale=second) if bias else None,
        "expand_bias": values.array(C, scale=second) if bias else None,
    }
    if activation == "relu" and _near_the_kink(x, reduce_weight, arguments["reduce_bias"]):
        activation = "gelu"
    return values.case(arguments, {"activation": activation}, polynomial=False, batched=("x",))


def squeeze_excite_conv(draw: Draw) -> Case:
    """The same with a kernel behind it, with fewer and with more outputs than the map has pixels."""
    case, O, bias = squeeze_excite(draw), draw.integer("O", 1, 6), draw.choice("conv_bias", (True, False))
    values = Values(draw.integer("seed", 0, 2**31 - 2) + 1, draw.choice("regime", ("ordinary", "whole")))
    arguments = {name: case.arguments[name] for name in ("x", "reduce_weight", "expand_weight")}
    arguments["weight"] = values.array(O, case.arrays["x"].shape[1], 1, 1)
    arguments |= {name: case.arguments[name] for name in ("reduce_bias", "expand_bias")} | {"bias": values.optional(bias, O)}
    return replace(case, arguments=arguments)


def _near_the_kink(x: Array, reduce_weight: Array, reduce_bias: Array | None) -> bool:
    t = x.mean((2, 3)) @ reduce_weight.T + (0 if reduce_bias is None else reduce_bias)
    return t.size > 0 and bool(np.abs(t).min() <= 1e-2 * np.abs(t).max())


def mbconv_hidden(draw: Draw) -> Case:
    """Training and evaluation, all strides and kernels; "relu" is kept away from its kink in both places."""
    N, C, H, W = draw.choice("N", (2, 1, 3, 2)), draw.integer("C", 1, 4), draw.integer("H", 1, 5), draw.integer("W", 1, 5)
    kernel, stride, padding = draw.pair("kernel", 1, 3), draw.pair("stride", 1, 2), draw.pair("padding", 1, 2)
    given, eps = draw.choice("statistics", (False, True)), draw.choice("eps", (1e-3, 1e-5, 1))
    activation, values = draw.choice("activation", ("gelu", "relu", "silu")), draw.values()
    arrays = {"x": values.array(N, C, H, W), "in_weight": values.array(C), "in_bias": values.array(C),
              "weight": values.array(C, 1, *both(kernel)), "out_weight": values.array(C), "out_bias": values.array(C)}
    for name in ("in", "out") if given else ():
        arrays |= {f"{name}_mean": values.array(C), f"{name}_var": values.array(C) ** 2}
    config = {"eps": eps, "activation": activation, "stride": stride, "padding": padding}
    if activation == "relu" and _hidden_near_the_kink(arrays, config):
        config["activation"] = "gelu"
    statistics = {name: arrays.get(name) for name in ("in_mean", "in_var", "out_mean", "out_var")}
    return values.case({**arrays, **statistics}, config, polynomial=False, batched=("x",) if given else ())


def _hidden_near_the_kink(arrays: dict[str, Array], config: dict[str, Any]) -> bool:
    """Whether the argument of one of the two activations is near 0 compared with the others."""
    z, kernel = arrays["x"], arrays["weight"]
    for name in ("in", "out"):
        mean, var = (arrays.get(f"{name}_{what}", of((0, 2, 3))) for what, of in (("mean", z.mean), ("var", z.var)))
        factor, bias = arrays[f"{name}_weight"] / np.sqrt(var + config["eps"]), arrays[f"{name}_bias"]
        z = (z - mean[:, None, None]) * factor[:, None, None] + bias[:, None, None]
        if z.size and np.abs(z).min() <= 1e-3 * np.abs(z).max():
            return True
        (sh, sw), (ph, pw) = both(config["stride"]), both(config["padding"])
        a = np.pad(np.maximum(z, 0), ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        windows = np.lib.stride_tricks.sliding_window_view(a, kernel.shape[2:], (2, 3))[:, :, ::sh, ::sw]
        z = np.einsum("ncijpq,cpq->ncij", windows, kernel[:, 0])
    return False


CASES: dict[str, Callable[[Draw], Case]] = {
    "elu_plus_one": smooth,
    "linear_attention": linear_attention,
    "local_relative_attention": local_relative_attention,
    "mbconv_hidden": mbconv_hidden,
    "relative_attention": relative_attention,
    "resize_bilinear": resize_bilinear,
    "squeeze_excite": squeeze_excite,
    "squeeze_excite_conv": squeeze_excite_conv,
    "tanh": smooth,
}

_ALL: list[Pins] = [
    dict(shape=(1,)), dict(shape=(0,)), dict(shape=(3, 0)), dict(shape=(7, 9)), dict(shape=(1, 65)), dict(shape=(2, 3, 4), regime="whole"),
    dict(shape=(31,), regime="large"), dict(shape=(5,), regime="tiny"),
]  # fmt: skip
_FORMS: list[Pins] = [dict(form="pre"), dict(form="post")]
_HEADS: list[Pins] = [
    dict(size=1, N=2), dict(N=0), dict(heads=0, size=2), dict(heads=1, d=1, e=1), dict(d=0), dict(e=0), dict(size=(1, 7), N=2),
    dict(size=(7, 1), heads=2), dict(regime="large", size=(2, 3), N=2), dict(regime="whole", size=(3, 2), N=2, heads=2),
]  # fmt: skip
CORNERS: dict[str, list[Pins]] = {
    "elu_plus_one": _ALL,
    "linear_attention": [
        pins | kind
        for kind in (dict(kind="elu", eps=0.0), dict(kind="elu", eps=0.25), dict(kind="efficient"))
        for pins in (
            dict(H=1, N=2), dict(W=1, N=2), dict(N=0), dict(heads=0), dict(heads=1, d=1, e=1), dict(e=0), dict(H=0),
            dict(H=19, W=37, d=9, e=17), dict(regime="whole", N=2, heads=2), dict(regime="large", N=2), dict(regime="tiny"),
        )
    ],
    "local_relative_attention": [
        *(
            pins | form | dict(radius=radius)
            for form in _FORMS
            for pins, radius in zip(_HEADS, (0, 1, 2, 1, 1, 2, 3, 1, 1, 2), strict=True)
        ),
        *(form | dict(size=(5, 19), radius=2, d=3, e=2, N=2) for form in _FORMS),
    ],
    "mbconv_hidden": [
        *(
            dict(N=2, C=3, H=4, W=5, kernel=3, stride=stride, padding=1, statistics=statistics, activation=activation)
            for stride in (1, 2) for statistics in (False, True) for activation in ("gelu", "relu", "silu")
        ),
        dict(N=0, statistics=True), dict(N=1, H=1, W=1, kernel=1, padding=1, statistics=False), dict(H=1, W=5, kernel=(3, 2), N=2),
        dict(N=3, C=17, H=7, W=7, kernel=3, stride=1, padding=1, statistics=False), dict(kernel=(1, 3), stride=(2, 1), H=5, W=4, N=2),
        dict(N=2, statistics=False, regime="whole", H=4, W=5), dict(N=2, statistics=True, regime="tiny"), dict(N=3, W=5, regime="large"),
    ],
    "relative_attention": [
        *(pins | form | dict(sign=sign) for form in _FORMS for pins, sign in zip(_HEADS, ("query - key", "key - query") * 5, strict=True)),
        *(form | dict(size=(5, 9), d=3, e=2, N=2, heads=2) for form in _FORMS),
        dict(size=(1, 37), d=3, e=2, N=1, sign="key - query"),
    ],
    "resize_bilinear": [
        *(
            pins | {"align_corners": corners}
            for corners in (False, True)
            for pins in (
                dict(H=1, W=1, size=(3, 4)), dict(H=5, W=4, size=1), dict(H=1, W=5, size=(1, 9)), dict(H=4, W=5, size=(4, 5)),
                dict(H=6, W=6, size=(2, 3)), dict(H=3, W=3, size=(19, 37)), dict(lead=(0, 2)), dict(lead=(), H=3, W=5, size=(6, 7)),
            )
        ),
        dict(regime="whole", lead=(2, 3), H=5, W=4, size=(10, 8)), dict(regime="tiny"), dict(regime="large"),
    ],
    "squeeze_excite": [
        *THIN, dict(C=0, bias=True), dict(R=0, bias=True), dict(R=0, bias=False), dict(C=1, R=1), dict(C=7, R=2, H=9, W=7, N=2),
        *(dict(activation=activation, bias=bias, N=2) for activation in ("silu", "relu", "gelu") for bias in (True, False)),
        dict(regime="whole", N=3), dict(regime="large", N=2, bias=True), dict(regime="tiny", N=2, bias=False),
    ],
    "squeeze_excite_conv": [
        *THIN, dict(C=0, bias=True), dict(R=0, bias=True), dict(O=0, N=2), dict(C=1, R=1, O=1), dict(C=7, R=2, H=9, W=7, N=2, O=5),
        *(dict(activation=activation, bias=bias, conv_bias=not bias, N=2, H=3, W=2, O=O)
          for activation in ("silu", "relu", "gelu") for bias in (True, False) for O in (2, 6, 7)),
        dict(regime="whole", N=3), dict(N=2, C=17, O=35, H=6, W=6, bias=True), dict(N=2, C=17, O=37, H=6, W=6, bias=True),
    ],
    "tanh": _ALL,
}  # fmt: skip
