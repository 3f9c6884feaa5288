"""Fault tables of relative, local and linear attention, the resized table, the parts of MBConv, and CoAtNet's two functions."""

from typing import Any

AXES: dict[str, dict[str, Any]] = {
    "elu_plus_one": {"shape": (2, 3)},
    "linear_attention": {"N": 2, "heads": 2, "H": 3, "W": 4, "d": 2, "e": 2},
    "local_relative_attention": {"N": 2, "heads": 2, "d": 2, "e": 2},
    "mbconv_hidden": {"N": 2, "C": 2, "H": 3, "W": 4},
    "relative_attention": {"N": 2, "heads": 2, "d": 2, "e": 2},
    "resize_bilinear": {"lead": (2, 2), "H": 3, "W": 4},
    "squeeze_excite": {"N": 2, "C": 3, "R": 2, "H": 3, "W": 4},
    "squeeze_excite_conv": {"N": 2, "C": 3, "R": 2, "O": 2, "H": 3, "W": 4},
    "tanh": {"shape": (2, 3)},
}
REFUSED: dict[str, dict[str, str]] = {
    "linear_attention": {"W": "C2", "d": "C2"}, "mbconv_hidden": {"C": "C1"}, "resize_bilinear": {"H": "C1", "W": "C1"},
    "squeeze_excite": {"H": "C4", "W": "C4"}, "squeeze_excite_conv": {"H": "C4", "W": "C4"},
}  # fmt: skip
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "elu_plus_one": ({"x": (3, 17, 61, 67)}, {}),
    "linear_attention": ({"q": (3, 4, 301, 9), "k": (3, 4, 277, 9), "v": (3, 4, 277, 11)}, {}),
    "local_relative_attention": (
        {"q": (3, 4, 323, 9), "k": (3, 4, 323, 9), "v": (3, 4, 323, 11), "table": (4, 5, 5)},
        {"size": (17, 19), "radius": 2},
    ),
    "mbconv_hidden": (
        {"x": (3, 37, 61, 67), "in_weight": (37,), "in_bias": (37,), "weight": (37, 1, 3, 3), "out_weight": (37,), "out_bias": (37,)},
        {},
    ),
    "relative_attention": ({"q": (3, 4, 77, 9), "k": (3, 4, 77, 9), "v": (3, 4, 77, 11), "table": (4, 13, 21)}, {"size": (7, 11)}),
    "resize_bilinear": ({"x": (3, 17, 61, 67)}, {"size": (71, 59)}),
    "squeeze_excite": (
        {"x": (3, 37, 61, 67), "reduce_weight": (9, 37), "expand_weight": (37, 9), "reduce_bias": (9,), "expand_bias": (37,)},
        {},
    ),
    "squeeze_excite_conv": (
        {"x": (3, 37, 61, 67), "reduce_weight": (9, 37), "expand_weight": (37, 9), "weight": (29, 37, 1, 1), "reduce_bias": (9,),
         "expand_bias": (37,), "bias": (29,)},
        {},
    ),
    "tanh": ({"x": (3, 17, 61, 67)}, {}),
}
