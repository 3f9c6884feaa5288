"""Fault tables of the functions of one number."""

from typing import Any

AXES = {name: {"shape": (2, 3)} for name in ("erf", "gelu", "relu", "sigmoid", "silu")}
REFUSED: dict[str, dict[str, str]] = {}
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {name: ({"x": (3, 5, 97, 103)}, {}) for name in AXES}
