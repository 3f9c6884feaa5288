"""Fault tables of what acts on every number by itself."""

from typing import Any

AXES = {name: {"shape": (2, 3)} for name in ("add", "erf", "gelu", "relu", "sigmoid", "silu")}
REFUSED: dict[str, dict[str, str]] = {}
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {name: ({"x": (3, 5, 97, 103)}, {}) for name in AXES}
BUSY["add"] = ({"a": (3, 5, 97, 103), "b": (3, 5, 97, 103)}, {})
