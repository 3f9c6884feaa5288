"""Fault tables of the linear map and of the normalisations."""

from typing import Any

AXES = {
    "batch_norm": {"N": 2, "C": 2, "H": 3, "W": 4},
    "batch_norm_act": {"N": 2, "C": 2, "H": 3, "W": 4},
    "layer_norm": {"lead": (2, 2), "n": 3, "rest": (2, 2)},
    "linear": {"lead": (2, 3), "C": 2, "O": 2},
}
REFUSED: dict[str, dict[str, str]] = {
    "batch_norm": {"N": "C4", "H": "C4", "W": "C4"}, "batch_norm_act": {"N": "C4", "H": "C4", "W": "C4"}, "layer_norm": {"n": "C2"},
}  # fmt: skip
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "batch_norm": ({"x": (3, 17, 113, 127), "weight": (17,), "bias": (17,)}, {}),
    "batch_norm_act": ({"x": (3, 17, 113, 127), "weight": (17,), "bias": (17,)}, {"activation": "gelu"}),
    "layer_norm": ({"x": (3, 37, 67, 71), "weight": (37,), "bias": (37,)}, {"axis": 1}),
    "linear": ({"x": (3, 29, 31, 37), "weight": (41, 37), "bias": (41,)}, {}),
}
