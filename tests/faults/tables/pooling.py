"""Fault tables of pooling."""

from typing import Any

AXES = {name: {"N": 2, "C": 2, "H": 3, "W": 4} for name in ("avg_pool2d", "global_avg_pool", "max_pool2d")}
REFUSED: dict[str, dict[str, str]] = {
    "avg_pool2d": {"H": "C1", "W": "C1"}, "global_avg_pool": {"H": "C2", "W": "C2"}, "max_pool2d": {"H": "C1", "W": "C1"},
}  # fmt: skip
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "avg_pool2d": ({"x": (3, 17, 61, 67)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    "global_avg_pool": ({"x": (3, 20011, 5, 3)}, {}),
    "max_pool2d": ({"x": (3, 17, 61, 67)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
}
