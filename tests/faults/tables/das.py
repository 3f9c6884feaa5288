"""Fault tables of sampling, of deformable and separable convolution, and of the norms of DAS."""

from typing import Any

AXES = {
    "bilinear_sample": {"N": 2, "C": 2, "H": 3, "W": 4, "points": (2, 3)},
    "deform_conv2d": {"N": 2, "inner": 2, "outer": 2, "H": 3, "W": 4},
    "depthwise_separable_conv": {"N": 2, "C": 2, "M": 2, "H": 3, "W": 4},
    "grid_sample": {"N": 2, "C": 2, "H": 3, "W": 4, "Ho": 2, "Wo": 3},
    "group_norm": {"N": 2, "inner": 2, "H": 3, "W": 4},
    "instance_norm": {"N": 2, "C": 2, "H": 3, "W": 4},
}
REFUSED: dict[str, dict[str, str]] = {
    "depthwise_separable_conv": {"C": "C1"},
    "group_norm": {"inner": "C1", "H": "C1", "W": "C1"},
    "instance_norm": {"H": "C1", "W": "C1"},
}
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "bilinear_sample": ({"x": (3, 17, 47, 51), "ys": (3, 1, 61, 67), "xs": (3, 1, 61, 67)}, {}),
    "deform_conv2d": (
        {"x": (3, 10, 27, 29), "offset": (3, 18, 27, 29), "weight": (20, 10, 3, 3), "mask": (3, 9, 27, 29), "bias": (20,)},
        {"padding": 1},
    ),
    "depthwise_separable_conv": (
        {
            "x": (3, 37, 29, 31),
            "depthwise_weight": (37, 1, 3, 3),
            "pointwise_weight": (41, 37, 1, 1),
            "depthwise_bias": (37,),
            "pointwise_bias": (41,),
        },
        {},
    ),
    "grid_sample": ({"x": (3, 17, 47, 51), "grid": (3, 61, 67, 2)}, {}),
    "group_norm": ({"x": (3, 36, 67, 71), "weight": (36,), "bias": (36,)}, {"groups": 4}),
    "instance_norm": ({"x": (3, 37, 67, 71), "weight": (37,), "bias": (37,)}, {}),
}
