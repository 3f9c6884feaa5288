"""Fault tables of the operators of SMT, of layer scale and of stochastic depth."""

from typing import Any

AXES: dict[str, dict[str, Any]] = {
    "drop_path": {"N": 2, "rest": (2, 3)},
    "layer_scale": {"lead": (2, 2), "n": 3, "rest": (2, 2)},
    "mixed_conv": {"N": 2, "inner": 2, "H": 3, "W": 4},
    "modulation": {"N": 2, "C": 2, "H": 3, "W": 4},
    "regroup": {"lead": (2, 2), "inner": 3, "rest": (2, 2)},
    "scale_aware_aggregation": {"N": 2, "inner": 2, "expand": 2, "O": 2, "H": 3, "W": 4},
}
REFUSED: dict[str, dict[str, str]] = {"scale_aware_aggregation": {"N": "C6", "inner": "C1", "H": "C6", "W": "C6"}}
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "drop_path": ({"x": (3, 17, 113, 127), "mask": (3,)}, {"rate": 0.3}),
    "layer_scale": ({"x": (3, 17, 113, 127), "gamma": (17,)}, {"axis": 1}),
    "mixed_conv": ({"x": (3, 12, 37, 41), "weight": (4, 83), "bias": (12,)}, {"kernel_sizes": (3, 5, 7)}),
    "modulation": ({"v": (3, 67 * 71, 37), "modulator": (3, 37, 67, 71)}, {}),
    "regroup": ({"x": (3, 36, 67, 71)}, {"heads": 4}),
    "scale_aware_aggregation": (
        {
            "x": (3, 20, 29, 31),
            "proj0_weight": (40, 4, 1, 1),
            "proj0_bias": (40,),
            "bn_weight": (40,),
            "bn_bias": (40,),
            "proj1_weight": (21, 40, 1, 1),
            "proj1_bias": (21,),
        },
        {},
    ),
}
