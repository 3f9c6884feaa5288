"""Fault tables of gated convolutions, of filters in the frequency domain, and of the maps that HorNet and HorFPN move about."""

from typing import Any

AXES: dict[str, dict[str, Any]] = {
    "gate_chain": {"N": 2, "C0": 2, "H": 3, "W": 4},
    "gated_conv": {"N": 2, "C": 2, "H": 3, "W": 4},
    "global_filter": {"N": 2, "C": 2, "H": 3, "W": 4},
    "gn_conv": {"N": 2, "C_in": 2, "C0": 2, "O": 3, "H": 3, "W": 4},
    "interleave": {"N": 2, "D": 2, "H": 3, "W": 4},
    "resize_nearest": {"lead": (2, 2), "H": 3, "W": 4},
    "spectrum_resize": {"C": 2, "h": 3, "w": 4},
}
REFUSED: dict[str, dict[str, str]] = {
    "gate_chain": {"C0": "C2"}, "gated_conv": {"C": "C1", "H": "C1", "W": "C1"}, "global_filter": {"H": "C1", "W": "C1"},
    "gn_conv": {"C0": "C2", "H": "C1", "W": "C1"}, "resize_nearest": {"H": "C1", "W": "C1"}, "spectrum_resize": {"h": "C1", "w": "C1"},
}  # fmt: skip
BUSY: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "gate_chain": (
        {"p0": (3, 9, 29, 31), "filtered": (3, 63, 29, 31), "weight": (10 * 81,), "bias": (54,)},
        {"order": 3, "scale": 0.3},
    ),
    "gated_conv": ({"p": (3, 37, 29, 31), "q": (3, 37, 29, 31), "weight": (37, 1, 7, 7), "bias": (37,)}, {}),
    "global_filter": ({"x": (3, 37, 29, 31), "weight": (37, 29, 16, 2)}, {}),
    "gn_conv": (
        {
            "x": (3, 19, 29, 31),
            "proj_in_weight": (36, 19, 1, 1),
            "dwconv_weight": (27, 1, 7, 7),
            "pws_weight": (2 * 81,),
            "proj_out_weight": (19, 18, 1, 1),
            "proj_in_bias": (36,),
            "dwconv_bias": (27,),
            "pws_bias": (18,),
            "proj_out_bias": (19,),
        },
        {"order": 2, "scale": 0.3},
    ),
    "interleave": ({"a": (3, 17, 61, 67), "b": (3, 17, 61, 67)}, {}),
    "resize_nearest": ({"x": (3, 17, 61, 67)}, {"size": (71, 59)}),
    "spectrum_resize": ({"weight": (3, 161, 167, 2)}, {"size": (171, 159)}),
}
