"""Fault tables of convolution, its two stages, local attention and ACmix."""

from typing import Any

# What can be zero, as the draws of a case; the values are those it takes otherwise.
AXES = {
    "acmix": {"N": 2, "C_in": 2, "d": 2, "H": 4, "W": 4},
    "conv2d": {"N": 2, "inner": 2, "outer": 2, "H": 3, "W": 4},
    "conv_decomposition": {"N": 2, "C": 2, "O": 2, "H": 3, "W": 4},
    "conv_path": {"N": 2, "d": 2, "H": 3, "W": 4},
    "local_attention": {"N": 2, "d": 2, "H": 4, "W": 4},
    "pointwise_conv": {"N": 2, "C": 2, "O": 2, "H": 3, "W": 4},
    "positional_term": {"d": 2, "size": (3, 4)},
    "reflection_pad": {"lead": (2, 2), "H": 3, "W": 4, "ph": 0, "pw": 0},
    "shift": {"lead": (2, 2), "H": 3, "W": 4},
    "shift_conv": {"N": 2, "d": 2, "outer": 2, "H": 3, "W": 4},
    "shift_sum": {"N": 2, "O": 2, "H": 3, "W": 4},
    "softmax": {"shape": (2, 3)},
    "tap_projection": {"N": 2, "C": 2, "O": 2, "H": 3, "W": 4},
    "unfold": {"lead": (2, 2), "H": 3, "W": 4},
}
REFUSED: dict[str, dict[str, str]] = {  # zero there is no legal size, by the constraint named
    "acmix": {"d": "C2", "H": "C6", "W": "C6"}, "conv_path": {"d": "C2"}, "shift_conv": {"d": "C1"}, "unfold": {"H": "C2", "W": "C2"},
    "conv2d": {}, "local_attention": {"H": "C6", "W": "C6"},
}  # fmt: skip

# Sizes at which several threads are worth waking and vectors have tails; about a million operations each.
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "acmix": (
        {
            "x": (3, 6, 19, 21),
            "rate1": (1,),
            "rate2": (1,),
            **{f"conv{i}_{part}": shape for i in (1, 2, 3) for part, shape in (("weight", (8, 6, 1, 1)), ("bias", (8,)))},
            "fc_weight": (9, 6, 1, 1),
            "dep_conv_weight": (8, 9, 3, 3),
            "conv_p_weight": (4, 2, 1, 1),
            "conv_p_bias": (4,),
            "fc_bias": (9,),
            "dep_conv_bias": (8,),
        },
        {"heads": 2, "kernel_size": 5},
    ),
    "conv2d": ({"x": (3, 10, 27, 29), "weight": (20, 10, 3, 3), "bias": (20,)}, {"padding": 1}),
    "conv_decomposition": ({"x": (3, 10, 27, 29), "weight": (20, 10, 3, 3), "bias": (9, 20)}, {}),
    "conv_path": (
        {
            "q": (3, 8, 23, 25),
            "k": (3, 8, 23, 25),
            "v": (3, 8, 23, 25),
            "fc_weight": (9, 6, 1, 1),
            "dep_conv_weight": (8, 9, 3, 3),
            "fc_bias": (9,),
            "dep_conv_bias": (8,),
        },
        {"heads": 2},
    ),
    "local_attention": (
        {"q": (3, 8, 23, 25), "k": (3, 8, 23, 25), "v": (3, 8, 23, 25), "pe": (4, 23, 25)},
        {"heads": 2, "kernel_size": 5},
    ),
    "pointwise_conv": ({"x": (3, 37, 29, 31), "weight": (41, 37, 1, 1), "bias": (41,)}, {}),
    "positional_term": ({"weight": (37, 2, 1, 1), "bias": (37,)}, {"size": (113, 127)}),
    "reflection_pad": ({"x": (3, 17, 97, 101)}, {"padding": 5}),
    "shift": ({"x": (3, 17, 113, 127)}, {"offset": (-2, 3)}),
    "shift_conv": ({"maps": (3, 4, 9, 23, 25), "weight": (8, 9, 3, 3), "bias": (8,)}, {"kernel_size": 3}),
    "shift_sum": ({"maps": (3, 9, 11, 47, 51)}, {"kernel_size": 3}),
    "softmax": ({"x": (301, 517)}, {}),
    "tap_projection": ({"x": (3, 10, 27, 29), "weight": (20, 10, 3, 3), "bias": (9, 20)}, {}),
    "unfold": ({"x": (3, 9, 61, 67)}, {"kernel_size": 3}),
}
