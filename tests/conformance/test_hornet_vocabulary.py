"""Legal cases of HorNet beyond the recorded ones are understood: every key of the vocabulary, alone and together.

The cases are written from layers built here by hand, on the NumPy bodies; what is tested is that the replay builds the same from
names and configuration.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from nn.judge import randomise

from pyhybrid import backend
from pyhybrid.conformance import replay
from pyhybrid.nn import LayerNorm
from pyhybrid.papers.hornet import (
    GNFPN,
    Block,
    GFNetFilter,
    GlobalFilter,
    GlobalLocalFilter,
    GnConv,
    HorNet,
    SegmentationFusion,
    downsampling,
    stem,
)

GN = {"kernel_size": 7, "type": "gnconv", "proj_out": True, "order": 2}
GF = {**GN, "type": "gngf", "h": 6, "w": 3}
DET = {"in_channels": [4, 6, 8], "out_channels": 8, "num_outs": 5, "scale": 1.0, "upsample": "nearest", "extra": "every second pixel",
       "input_shapes": [[2, 4, 9, 7], [2, 6, 5, 4], [2, 8, 3, 2]]}  # fmt: skip
SEG = {"channels_per_level": 4, "out_channels": 8, "scale": 1.0, "resize": "bilinear", "norm": "BatchNorm", "act": "ReLU",
       "input_shapes": [[2, 4, 7, 5], [2, 4, 4, 3], [2, 4, 1, 2]]}  # fmt: skip
BLOCK = {"dim": 8, "order": 3, "s": 0.5, "gf": None, "layer_scale": True, "drop_path": 0.0, "input_shape": [3, 8, 4, 5]}
NET = {"in_chans": 2, "num_classes": 3, "depths": [1, 2, 1, 1], "base_dim": 4, "orders": [2, 3, 4, 5], "s": 1.0, "gf": [None] * 4,
       "drop_path_rate": 0.0, "layer_scale": True, "input_shape": [2, 2, 35, 64]}  # fmt: skip


def write(path, operator, config, mode, layer, x, forward=None):
    """A recorded case of one layer; x is an array, or a tuple of maps."""
    rng = np.random.default_rng(5)
    randomise(layer, rng).train(mode == "train")
    before = layer.state_dict()
    with backend.use("numpy"):
        y, cache = (forward or layer.forward)(x)
        ys = {f"y{i}": m for i, m in enumerate(y)} if isinstance(y, tuple) else {"y": y}
        dys = {name: rng.standard_normal(m.shape).astype(m.dtype) for name, m in ys.items()}
        dx, grads = layer.backward(tuple(dys.values()) if isinstance(y, tuple) else dys["y"], cache)
    several = isinstance(x, tuple)
    xs, dxs = ({f"x{i}": m for i, m in enumerate(v)} if several else {"x": v} for v in (x, dx))
    arrays = {f"input.{n}": v for n, v in xs.items()} | {f"grad.input.{n}": v for n, v in dxs.items()}
    arrays |= {f"output.{n}": v for n, v in ys.items()} | {f"cotangent.{n}": v for n, v in dys.items()}
    arrays |= {f"param.{n}": v for n, v in before.items()} | {f"grad.param.{n}": v for n, v in grads.items()}
    if mode == "train":
        arrays |= {f"after.{n}": v for n, v in layer.state_dict().items() if n not in layer.named_params()}
    layer.load_state_dict(before)
    save(path, operator, config, mode, arrays)
    return arrays


def save(path, operator, config, mode, arrays):
    meta = {"system": "hornet", "operator": operator, "case": "case", "config": config, "mode": mode}
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)


def draw(shape):
    return np.random.default_rng(3).standard_normal(shape)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("operator", "config", "layer"),
    [
        ("block", {**BLOCK, "gf": [4, 3], "note": "a remark"}, Block(8, 3, 0.5, gnconv={"filter": (4, 3)})),
        ("block", {**BLOCK, "gf": [7, 2], "layer_scale": False}, Block(8, 3, 0.5, 0.0, 0.0, gnconv={"filter": (7, 2)})),
        ("block", {**BLOCK, "order": 4, "s": 1 / 3}, Block(8, 4, 1 / 3)),
        ("downsample", {"dim_in": 3, "dim_out": 5, "kernel": 2, "stride": 2, "input_shape": [1, 3, 5, 7]}, downsampling(3, 5)),
        ("stem", {"in_chans": 1, "dim": 5, "kernel": 4, "stride": 4, "input_shape": [1, 1, 9, 7]}, stem(1, 5)),
        ("stem", {"in_chans": 2, "dim": 3, "kernel": 3, "stride": 2, "input_shape": [1, 2, 9, 7]}, stem(2, 3, 3, 2)),
        ("global_filter", {"dim": 3, "filter_h": 4, "filter_w": 2, "layout": "channels_first", "input_shape": [2, 3, 4, 3],
                           "interpolated": False}, GlobalFilter(3, 4, 2)),
        ("global_filter", {"dim": 1, "filter_h": 1, "filter_w": 1, "layout": "channels_first", "input_shape": [2, 1, 5, 1],
                           "interpolated": True}, GlobalFilter(1, 1, 1)),
        ("global_filter", {"dim": 2, "filter_h": 9, "filter_w": 3, "layout": "channels_first", "input_shape": [1, 2, 1, 6],
                           "interpolated": True}, GlobalFilter(2, 9, 3)),
        ("global_local_filter", {"dim": 4, "h": 5, "w": 2, "input_shape": [2, 4, 2, 7], "interpolated": True}, GlobalLocalFilter(4, 5, 2)),
        ("global_local_filter", {"dim": 2, "h": 3, "w": 2, "input_shape": [2, 2, 3, 2], "interpolated": False}, GlobalLocalFilter(2, 3, 2)),
        ("gnconv", {"dim": 8, "order": 3, "s": 2.0, "kernel_size": 3, "dims": [2, 4, 8], "input_shape": [1, 8, 2, 3]},
         GnConv(8, 3, 2.0, kernel_size=3)),
        ("gnconv", {"dim": 32, "order": 5, "s": 1.0, "kernel_size": 5, "dims": [2, 4, 8, 16, 32], "input_shape": [1, 32, 1, 3]},
         GnConv(32, 5, kernel_size=5)),
        ("gnconv_gf", {"dim": 6, "order": 1, "s": 1.0, "h": 3, "w": 3, "dims": [6], "input_shape": [2, 6, 5, 4]},
         GnConv(6, 1, filter=(3, 3))),
        ("gnconv_gf", {"dim": 32, "order": 5, "s": 0.25, "h": 2, "w": 2, "dims": [2, 4, 8, 16, 32], "input_shape": [1, 32, 2, 2]},
         GnConv(32, 5, 0.25, filter=(2, 2))),
        ("layernorm", {"dim": 4, "eps": 1e-5, "data_format": "channels_first", "input_shape": [2, 4, 3, 2]}, LayerNorm(4, 1e-5, 1)),
        ("layernorm", {"dim": 4, "eps": 1e-3, "data_format": "channels_last", "input_shape": [3, 4]}, LayerNorm(4, 1e-3)),
        ("hornet", NET, HorNet((1, 2, 1, 1), 4, (2, 3, 4, 5), 1.0, in_chans=2, num_classes=3)),
        ("hornet", {**NET, "gf": [[8, 9], None, None, [1, 2]], "layer_scale": False, "orders": [1, 2, 2, 3]},
         HorNet((1, 2, 1, 1), 4, (1, 2, 2, 3), 1.0, ((8, 9), None, None, (1, 2)), in_chans=2, num_classes=3, layer_scale_init_value=0.0)),
        ("horfpn_det", {**DET, "gn_conv_cfg": GN}, GNFPN((4, 6, 8), 8, 5)),
        ("horfpn_det", {**DET, "num_outs": 3, "gn_conv_cfg": GF, "scale": 0.5},
         GNFPN((4, 6, 8), 8, 3, gnconv={"filter": (6, 3), "s": 0.5})),
        ("horfpn_det", {**DET, "gn_conv_cfg": {**GN, "kernel_size": 3, "order": 3}},
         GNFPN((4, 6, 8), 8, 5, gnconv={"kernel_size": 3, "order": 3})),
        ("horfpn_seg_fusion", {**SEG, "gn_conv_cfg": GN}, SegmentationFusion((4, 4, 4), 8)),
        ("horfpn_seg_fusion", {**SEG, "gn_conv_cfg": GF}, SegmentationFusion((4, 4, 4), 8, gnconv={"filter": (6, 3)})),
        ("horfpn_seg_fusion", {**SEG, "gn_conv_cfg": {**GF, "h": 5, "order": 3}, "input_shapes": SEG["input_shapes"][:2]},
         SegmentationFusion((4, 4), 8, gnconv={"filter": (5, 3), "order": 3})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_understood(tmp_path, operator, config, layer, mode):
    several = "input_shapes" in config
    x = tuple(draw(shape) for shape in config["input_shapes"]) if several else draw(config["input_shape"])
    write(tmp_path / "case.npz", operator, config, mode, layer, x)
    report = replay(tmp_path / "case.npz")
    assert report.passed, str(report)


def test_a_filter_of_which_the_height_alone_is_given(tmp_path):
    config = {**SEG, "gn_conv_cfg": {key: value for key, value in GF.items() if key != "w"}}
    x = tuple(draw(shape) for shape in SEG["input_shapes"])
    write(tmp_path / "case.npz", "horfpn_seg_fusion", config, "train", SegmentationFusion((4, 4, 4), 8, gnconv={"filter": (6, 4)}), x)
    assert replay(tmp_path / "case.npz").passed


def test_tokens_of_gfnet(tmp_path):
    layer, size = GFNetFilter(2, 3, 3), (3, 5)
    config = {"dim": 2, "h": 3, "w": 3, "layout": "tokens", "spatial_size": [3, 5], "input_shape": [2, 15, 2]}
    write(tmp_path / "case.npz", "gfnet_global_filter", config, "train", layer, draw((2, 15, 2)), lambda x: layer.forward(x, size))
    assert replay(tmp_path / "case.npz").passed


@pytest.mark.parametrize("layer_scale", [False, True])
@pytest.mark.parametrize("gf", [None, [4, 3]])
def test_what_drop_path_keeps(tmp_path, layer_scale, gf):
    keep = [0, 1, 1], [1, 0, 1]
    config = {**BLOCK, "drop_path": 0.4, "layer_scale": layer_scale, "gf": gf, "keep_mask_gnconv": keep[0], "keep_mask_ffn": keep[1]}
    layer = Block(8, 3, 0.5, 0.4, 1e-6 if layer_scale else 0.0, gnconv={"filter": gf})
    arrays = write(tmp_path / "case.npz", "block", config, "train", layer, draw((3, 8, 4, 5)), lambda x: layer.forward(x, keep))
    assert replay(tmp_path / "case.npz").passed
    swapped = {**config, "keep_mask_gnconv": keep[1], "keep_mask_ffn": keep[0]}
    save(tmp_path / "case.npz", "block", swapped, "train", arrays)
    assert not replay(tmp_path / "case.npz").passed


def test_a_rate_without_masks_means_nothing_in_evaluation(tmp_path):
    write(tmp_path / "case.npz", "block", {**BLOCK, "drop_path": 0.4}, "eval", Block(8, 3, 0.5, 0.4), draw((3, 8, 4, 5)))
    assert replay(tmp_path / "case.npz").passed
    net = HorNet((1, 2, 1, 1), 4, (2, 3, 4, 5), 1.0, in_chans=2, num_classes=3, drop_path_rate=0.3)
    write(tmp_path / "case.npz", "hornet", {**NET, "drop_path_rate": 0.3}, "eval", net, draw((2, 2, 35, 64)))
    assert replay(tmp_path / "case.npz").passed


@pytest.mark.parametrize("size", [(1, 1), (9, 2), (3, 7)])
def test_spectrum_resize(tmp_path, size):
    weight, dy = draw((2, 4, 3, 2)), draw((2, *size, 2)) / 2
    rows, columns = (matrix(n, m) for n, m in zip((4, 3), size, strict=True))
    arrays = {"param.complex_weight": weight, "output.y": np.einsum("ia,jb,cabe->cije", rows, columns, weight), "cotangent.y": dy,
              "grad.param.complex_weight": np.einsum("ia,jb,cije->cabe", rows, columns, dy)}  # fmt: skip
    config = {"dim": 2, "h": 4, "w": 3, "out": list(size), "mode": "bilinear", "align_corners": True}
    save(tmp_path / "case.npz", "spectrum_resize", config, "train", arrays)
    report = replay(tmp_path / "case.npz")
    assert report.passed, str(report)


def matrix(n, m):
    """Linear interpolation of n values at m places, first on first and last on last."""
    places = np.linspace(0, n - 1, m) if m > 1 else np.zeros(1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n)))


def test_running_statistics_without_a_count_of_batches(tmp_path):
    x = tuple(draw(shape) for shape in SEG["input_shapes"])
    arrays = write(tmp_path / "case.npz", "horfpn_seg_fusion", {**SEG, "gn_conv_cfg": GN}, "train", SegmentationFusion((4, 4, 4), 8), x)
    kept = {name: value for name, value in arrays.items() if not name.endswith("num_batches_tracked")}
    save(tmp_path / "case.npz", "horfpn_seg_fusion", {**SEG, "gn_conv_cfg": GN}, "train", kept)
    assert replay(tmp_path / "case.npz").passed
    kept["after.bn.running_var"] = arrays["param.bn.running_var"]
    save(tmp_path / "case.npz", "horfpn_seg_fusion", {**SEG, "gn_conv_cfg": GN}, "train", kept)
    assert not replay(tmp_path / "case.npz").passed, "the running variance has moved"


@pytest.mark.parametrize(
    ("operator", "config", "mode", "words"),
    [
        ("block", {**BLOCK, "colour": 1}, "eval", "config key 'colour'"),
        ("block", {key: value for key, value in BLOCK.items() if key != "gf"}, "eval", "config key 'gf' is missing"),
        ("block", {**BLOCK, "gf": [4]}, "eval", "a pair of sizes"),
        ("block", {**BLOCK, "gf": "14x8"}, "eval", "a list of sizes"),
        ("block", {**BLOCK, "drop_path": 0.5}, "train", "without the branches that were dropped"),
        ("block", {**BLOCK, "drop_path": 0.5, "keep_mask_ffn": [1, 1, 1]}, "train", "both masks belong together"),
        ("block", {**BLOCK, "drop_path": 0.5, "keep_mask_ffn": [1, 1, 1], "keep_mask_gnconv": [1, 1, 1]}, "eval", "training mode"),
        ("block", {**BLOCK, "keep_mask_ffn": [1, 1], "keep_mask_gnconv": [1, 1]}, "train", "keep must be two lists of 3"),
        ("block", {**BLOCK, "keep_mask_ffn": [1, 1, 2], "keep_mask_gnconv": [1, 1, 1]}, "train", "numbers 0 or 1"),
        ("block", {**BLOCK, "order": 5}, "eval", "dim must be a multiple of"),
        ("block", {**BLOCK, "layer_scale": 1}, "eval", "true or false"),
        ("block", {**BLOCK, "input_shape": [3, 8, 5, 4]}, "eval", "the configuration says"),
    ],
)  # fmt: skip
def test_not_understood(tmp_path, operator, config, mode, words):
    arrays = {"input.x": draw((3, 8, 4, 5)), "output.y": draw((3, 8, 4, 5))}
    arrays |= {f"param.{name}": value for name, value in Block(8, 3).state_dict().items()}
    save(tmp_path / "case.npz", operator, config, mode, arrays)
    report = replay(tmp_path / "case.npz", backend="numpy")
    assert not report.passed and words in "; ".join(report.rows[0].failures)


@pytest.mark.parametrize(
    ("operator", "config", "words"),
    [
        ("gnconv", {"dim": 8, "order": 2, "s": 1.0, "kernel_size": 7, "dims": [2, 8], "input_shape": [1, 8, 2, 2]}, "config dims"),
        ("global_filter", {"dim": 2, "filter_h": 4, "filter_w": 3, "layout": "channels_first", "input_shape": [1, 2, 4, 4],
                           "interpolated": True}, "config interpolated"),
        ("global_filter", {"dim": 2, "filter_h": 4, "filter_w": 3, "layout": "channels_last", "input_shape": [1, 2, 4, 4],
                           "interpolated": False}, "config layout"),
        ("spectrum_resize", {"dim": 2, "h": 4, "w": 3, "out": [2, 2], "mode": "bicubic", "align_corners": True}, "config mode"),
        ("spectrum_resize", {"dim": 2, "h": 4, "w": 3, "out": [2, 2], "mode": "bilinear", "align_corners": False}, "config align_corners"),
        ("layernorm", {"dim": 4, "eps": 1e-6, "data_format": "channels", "input_shape": [1, 4]}, "config data_format"),
        ("hornet", {**NET, "drop_path_rate": 0.5}, "without the branches that were dropped"),
        ("hornet", {**NET, "gf": [None, None]}, "filters must have an entry for each of the 4 stages"),
        ("horfpn_det", {**DET, "gn_conv_cfg": {**GN, "type": "conv"}}, "config type"),
        ("horfpn_det", {**DET, "num_outs": 2, "gn_conv_cfg": GN}, "num_outs must be at least the number of inputs"),
        ("horfpn_det", {**DET, "gn_conv_cfg": {**GN, "colour": 1}}, "gn_conv_cfg.colour"),
        ("horfpn_seg_fusion", {**SEG, "act": "GELU", "gn_conv_cfg": GN}, "config act"),
    ],
)  # fmt: skip
def test_values_that_are_not_understood(tmp_path, operator, config, words):
    layers = {"horfpn_det": lambda: GNFPN((4, 6, 8), 8, 5), "horfpn_seg_fusion": lambda: SegmentationFusion((4, 4, 4), 8)}
    params = layers[operator]().state_dict() if operator in layers else {"complex_weight": draw((2, 4, 3, 2))}
    arrays = {f"param.{name}": value for name, value in params.items()}
    arrays |= {f"input.x{i}": draw(shape) for i, shape in enumerate(config.get("input_shapes", []))}
    if "input_shape" in config:
        arrays["input.x"] = draw(config["input_shape"])
    outputs = [f"output.y{i}" for i in range(config.get("num_outs", 0))] or ["output.y"]
    save(tmp_path / "case.npz", operator, config, "train", arrays | dict.fromkeys(outputs, np.ones(1)))
    report = replay(tmp_path / "case.npz", backend="numpy")
    assert not report.passed and words in "; ".join(report.rows[0].failures)
