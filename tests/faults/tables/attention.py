"""Fault tables of attention over all tokens, its relative bias, windows and aggregation."""

from typing import Any

AXES: dict[str, dict[str, Any]] = {
    "aggregation": {"N": 2, "Cw": 2, "share": 2, "H": 4, "W": 4},
    "attention": {"N": 2, "H": 3, "W": 4, "d": 2, "e": 2},
    "relative_bias": {"heads": 2},
    "roll": {"N": 2, "H": 3, "W": 4, "C": 2},
    "window_partition": {"N": 2, "nH": 2, "nW": 2, "C": 2},
    "window_reverse": {"N": 2, "C": 2},
}
REFUSED: dict[str, dict[str, str]] = {"aggregation": {"H": "C3", "W": "C3", "Cw": "C4"}, "attention": {"W": "C2"}}
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "aggregation": ({"weight": (3, 2, 25, 37, 41), "v": (3, 10, 37, 41)}, {"kernel_size": 5}),
    "attention": ({"q": (3, 4, 67, 9), "k": (3, 4, 71, 9), "v": (3, 4, 71, 11), "bias": (1, 4, 67, 71)}, {}),
    "relative_bias": ({"table": (525, 37)}, {"size": (11, 13)}),
    "roll": ({"x": (3, 113, 127, 17)}, {"offset": (-2, 3)}),
    "window_partition": ({"x": (3, 63, 70, 37)}, {"window": 7}),
    "window_reverse": ({"windows": (270, 49, 37)}, {"window": 7, "size": (63, 70)}),
}
