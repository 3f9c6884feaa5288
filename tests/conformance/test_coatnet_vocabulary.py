"""Legal cases of CoAtNet beyond the recorded ones are understood: every switch of the vocabulary, alone and together.

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
from pyhybrid.errors import ConstraintError
from pyhybrid.nn import BatchNorm2d, Conv2d, Operator
from pyhybrid.ops import avg_pool2d
from pyhybrid.papers.coatnet import CoAtNet, CWAttention, MBConv, Stem, TransformerBlock
from pyhybrid.papers.coatnet.names import PROFILES
from pyhybrid.papers.coatnet.transformer import FeedForward

TIMM, CW = PROFILES["timm"], PROFILES["cw"]
RW = {"stride_mode": "pool", "pool": "max3", "pre_norm_act": True, "expand_from": "input", "se_from": "hidden", "bias": False,
      "se_early": True, "se_act": "relu", "act": "silu"}  # fmt: skip
RW_CFG = {"stride_mode": "pool", "pool_type": "max", "pre_norm_act": True, "expand_output": False, "output_bias": False, "attn_early": True,
          "attn_act_layer": "relu", "act_layer": "silu"}  # fmt: skip
STAGES = ((("C", 1, 4),), (("C", 1, 4),), (("T", 2, 8),), (("T", 1, 8),))
LISTED = [[["C", 1, 4]], [["C", 1, 4]], [["T", 2, 8]], [["T", 1, 8]]]


def timm_mbconv(**options):
    return MBConv(4, 8, True, **{"names": "timm", **TIMM.mbconv_options, **options})


def timm_block(*sizes, **options):
    return TransformerBlock(*sizes, **{"names": "timm", **TIMM.transformer_options, **options})


def net(**options):
    return CoAtNet(**{"image_size": (64, 32), "stages": STAGES, "stem": (4, 4), "dim_head": 4, "num_classes": 5, **options})


SIZES = {"in_chs": 4, "out_chs": 8, "stride": 2, "H": 7, "W": 5, "B": 2}
PAPER = {"C_in": 4, "C_out": 8, "down": True, "H": 6, "W": 5, "B": 2, "expansion": 4, "se_act": "silu", "bn_eps": 1e-3, "bn_momentum": 0.01}
BLOCK = {"C_in": 4, "C_out": 8, "grid": [2, 3], "dim_head": 4, "down": True, "B": 2, "ln_eps": 1e-5}
TIMM_BLOCK = {"dim": 4, "dim_out": 8, "grid": [2, 3], "stride": 2, "B": 2, "dim_head": 4, "ln_eps": 1e-6,
              "order": "LayerNorm BEFORE pooling"}  # fmt: skip
NET = {"image_size": [64, 32], "stem_width": 4, "stages": LISTED, "dim_head": 4, "num_classes": 5, "B": 2}
TIMM_NET = {"embed_dim": [4, 4, 8, 8], "depths": [1, 1, 2, 1], "block_type": ["C", "C", "T", "T"], "stem_width": [4, 4]}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("operator", "config", "layer", "shape"),
    [
        ("mbconv", {**SIZES, "cfg": {"padding": "same"}}, timm_mbconv(padding="same"), (4, 7, 5)),
        ("mbconv", {**SIZES, "cfg": {"padding": "same", "stride_mode": "pool", "pool_type": "max"}},
         timm_mbconv(padding="same", stride_mode="pool", pool="max3"), (4, 7, 5)),
        ("mbconv", {**SIZES, "cfg": {"stride_mode": "pool"}}, timm_mbconv(stride_mode="pool", ceil_pool=False), (4, 7, 5)),
        ("mbconv", {**SIZES, "cfg": {"act_layer": "gelu_tanh", "attn_ratio": 0.5, "norm_eps": 1e-3}},
         timm_mbconv(act="gelu_tanh", se_ratio=0.5, bn_eps=1e-3), (4, 7, 5)),
        ("mbconv", {**SIZES, "cfg": RW_CFG}, timm_mbconv(**RW), (4, 7, 5)),
        ("mbconv", {**PAPER, "act": "gelu_tanh", "pool_type": "avg2", "stride_mode": "dw"},
         MBConv(4, 8, True, act="gelu_tanh", pool="avg2", stride_mode="dw"), (4, 6, 5)),
        ("mbconv", {**PAPER, "pool_type": "max3"}, MBConv(4, 8, True, pool="max3"), (4, 6, 5)),
        ("transformer_block", {**BLOCK, "act": "gelu_tanh", "pool_type": "avg2", "mode": "post"},
         TransformerBlock(4, 8, (2, 3), True, 4, act="gelu_tanh", pool="avg2", form="post"), (4, 4, 6)),
        ("transformer_block", {**BLOCK, "pool_type": "max3", "order": "pool_norm"},
         TransformerBlock(4, 8, (2, 3), True, 4, pool="max3", order="pool_norm"), (4, 4, 6)),
        ("transformer_block",
         {**TIMM_BLOCK, "cfg": {"expand_ratio": 2.0, "init_values": 0.25, "pool_type": "max2", "shortcut_bias": False}},
         timm_block(4, 8, (2, 3), True, 4, ffn_ratio=2.0, layer_scale=0.25, pool="max2", shortcut_bias=False), (4, 4, 6)),
        ("transformer_block", {**TIMM_BLOCK, "cfg": {"pool_type": "avg2", "init_values": 0.0}},
         timm_block(4, 8, (2, 3), True, 4, ceil_pool=False), (4, 5, 7)),
        ("transformer_block", {**TIMM_BLOCK, "cfg": {"pool_type": "max2"}},
         timm_block(4, 8, (2, 3), True, 4, pool="max2", ceil_pool=False), (4, 5, 6)),
        ("transformer_block", {"inp": 4, "oup": 4, "image_size": [2, 3], "heads": 1, "dim_head": 4, "downsample": False, "B": 2,
                               "ffn_hidden": 16, "order": "LayerNorm AFTER pooling", "pool": "max 3/2/1", "ln_eps": 1e-5},
         TransformerBlock(4, 4, (2, 3), False, 4, names="cw", **{**CW.transformer_options, "heads": 1}), (4, 2, 3)),
        ("relative_mha", {"inp": 4, "oup": 6, "image_size": [2, 3], "heads": 2, "dim_head": 3, "dropout": 0.0, "B": 2, "project_out": True},
         CWAttention(4, 6, (2, 3), 3, heads=2, qkv_bias=False), (6, 4)),
        ("feed_forward", {"dim": 4, "hidden_dim": 6, "act": "gelu_exact", "dropout": 0, "B": 2, "N": 3}, FeedForward(4, 6), (3, 4)),
        ("depthwise_conv", {"C": 4, "kernel": 5, "stride": 1, "padding": 2, "bias": True, "H": 7, "W": 6, "B": 2},
         Conv2d(4, 4, 5, 1, 2, 4), (4, 7, 6)),
        ("depthwise_conv", {"C": 4, "kernel": 2, "stride": 2, "padding": "TF SAME: total pad = max((ceil(H/2)-1)*2+2-H,0), smaller half "
                            "first", "H": 6, "W": 4, "B": 2}, Conv2d(4, 4, 2, 2, 0, 4), (4, 6, 4)),
        ("pool2d", {"kind": "avg_k2s2", "kernel": 2, "stride": 2, "count_include_pad": False, "B": 2, "C": 4, "H": 5, "W": 6},
         Operator(avg_pool2d, kernel_size=2, stride=2), (4, 5, 6)),
        ("batch_norm_2d", {"eps": 1e-3, "momentum": 0.0, "B": 2, "C": 4, "H": 5, "W": 6}, BatchNorm2d(4, 1e-3, 0.0), (4, 5, 6)),
        ("stem", {"in_chs": 3, "out_chs": 4, "H": 7, "W": 6, "B": 2, "bn_eps": 1e-3, "act": "gelu_exact", "bias": True},
         Stem(3, (4, 4)), (3, 7, 6)),
        ("coatnet", {**NET, "head": "ln", "order": "pool_norm", "pool_type": "avg2", "stride_mode": "dw"},
         net(head="ln", mbconv={"pool": "avg2", "stride_mode": "dw"}, transformer={"pool": "avg2", "order": "pool_norm"}), (3, 64, 32)),
        ("coatnet", {**NET, "head": "plain", "pool_type": "max3", "mode": "post"},
         net(head="plain", mbconv={"pool": "max3"}, transformer={"pool": "max3", "form": "post"}), (3, 64, 32)),
        ("coatnet", {"image_size": [64, 32], "B": 2, "num_classes": 5, "cfg": {**TIMM_NET, "conv_cfg": RW_CFG, "transformer_cfg": {
            "dim_head": 4, "expand_first": False, "pool_type": "max", "shortcut_bias": False}}},
         net(names="timm", head="ln_first", mbconv=RW, transformer={"expand_first": False, "pool": "max3", "shortcut_bias": False}),
         (3, 64, 32)),
        ("coatnet", {"image_size": [64, 32], "B": 2, "num_classes": 5, "cfg": {
            **TIMM_NET, "block_type": ["C", "C", ["C", "T"], "T"], "depths": [1, 1, 3, 1], "stem_width": 4, "head_hidden_size": 6,
            "conv_cfg": {"stride_mode": "1x1"}, "transformer_cfg": {"dim_head": 4}}},
         net(names="timm", head_hidden=6, mbconv={"stride_mode": "1x1"},
             stages=(*STAGES[:2], (("C", 1, 8), ("T", 2, 8)), STAGES[3])), (3, 64, 32)),
        ("coatnet", {"image_size": [40, 72], "B": 2, "num_classes": 5, "cfg": {
            **TIMM_NET, "block_type": ["C", "C", "C", "C"], "conv_cfg": {"stride_mode": "pool"}}},
         net(image_size=(40, 72), names="timm", head="ln_first", mbconv={"stride_mode": "pool", "ceil_pool": False},
             stages=((("C", 1, 4),), (("C", 1, 4),), (("C", 2, 8),), (("C", 1, 8),))), (3, 40, 72)),
        ("coatnet", {"image_size": [65, 33], "B": 2, "num_classes": 5, "cfg": {
            **TIMM_NET, "conv_cfg": {"stride_mode": "pool"}, "transformer_cfg": {"dim_head": 4}}},
         net(image_size=(65, 33), names="timm", head="ln_first", mbconv={"stride_mode": "pool", "ceil_pool": False},
             transformer={"ceil_pool": False}), (3, 65, 33)),
        ("coatnet", {"image_size": [64, 32], "in_channels": 2, "num_blocks": [3, 1, 1, 2, 1], "channels": [4, 4, 4, 8, 8], "num_classes": 5,
                     "block_types": ["C", "T", "T", "T"], "heads": 2, "dim_head": 3, "B": 2},
         net(names="cw", head="plain", in_channels=2, stem=(4, 4, 4), dim_head=3, transformer={"heads": 2},
             stages=((("C", 1, 4),), (("T", 1, 4),), (("T", 2, 8),), (("T", 1, 8),))), (2, 64, 32)),
    ],
)  # fmt: skip
def test_understood(tmp_path, operator, config, layer, shape, mode):
    rng = np.random.default_rng(3)
    layer = randomise(layer, rng).train(mode == "train")
    x, before = rng.standard_normal((2, *shape)), layer.state_dict()
    with backend.use("numpy"):
        y, cache = layer.forward(x)
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy, cache)
    arrays = {"input.x": x, "output.y": y, "cotangent.y": dy, "grad.input.x": dx}
    arrays |= {f"param.{name}": value for name, value in before.items()} | {f"grad.param.{name}": value for name, value in grads.items()}
    after = {name: value for name, value in layer.state_dict().items() if not np.array_equal(value, before[name])}
    arrays |= {f"buffer_after.{name}": value for name, value in after.items()}
    layer.load_state_dict(before)
    meta = {"system": "coatnet", "operator": operator, "case": "case", "config": config, "mode": mode}
    np.savez(tmp_path / "case.npz", meta=np.array(json.dumps(meta)), **arrays)
    report = replay(tmp_path / "case.npz")
    assert report.passed, str(report)


def test_odd_maps_in_timms_pools_lose_their_last_row_and_column():
    """The same as the map without them, where timm has an answer at all."""
    x = np.random.default_rng(4).standard_normal((2, 4, 7, 5))
    block = timm_mbconv(stride_mode="pool", ceil_pool=False)
    assert np.array_equal(block.eval().forward(x)[0], block.forward(np.ascontiguousarray(x[:, :, :6, :4]))[0])
    with pytest.raises(ConstraintError, match='ceil_pool=False needs stride_mode="pool"'):
        timm_mbconv(ceil_pool=False)


def test_dropout_cannot_be_replayed_in_training(tmp_path):
    layer = FeedForward(4, 6)
    x = np.ones((2, 3, 4))
    arrays = {"input.x": x, "output.y": layer.forward(x)[0]} | {f"param.{name}": value for name, value in layer.state_dict().items()}
    config = {"dim": 4, "hidden_dim": 6, "act": "gelu_exact", "dropout": 0.1, "B": 2, "N": 3}
    for mode in ("eval", "train"):
        meta = {"system": "coatnet", "operator": "feed_forward", "case": "case", "config": config, "mode": mode}
        np.savez(tmp_path / f"{mode}.npz", meta=np.array(json.dumps(meta)), **arrays)
    assert replay(tmp_path / "eval.npz").passed
    report = replay(tmp_path / "train.npz", backend="numpy")
    assert not report.passed and "dropout = 0.1 in training" in "; ".join(report.rows[0].failures)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**NET, "colour": 1}, "config key 'colour'"),
        ({**NET, "head": "none"}, "config head"),
        ({**NET, "stages": []}, "config stages"),
        ({**NET, "stages": [[["X", 1, 4]]]}, "block type"),
        ({**NET, "image_size": [64, 64]}, "the configuration says"),
        ({"image_size": [64, 32], "B": 2, "num_classes": 5, "cfg": {**TIMM_NET, "conv_cfg": {"colour": 1}}}, "cfg.conv_cfg.colour"),
        ({"image_size": [64, 32], "B": 2, "num_classes": 5, "cfg": {**TIMM_NET, "depths": [1]}}, "config embed_dim"),
        ({"image_size": [64, 32], "B": 2, "num_classes": 5, "cfg": 3}, "config cfg = 3"),
    ],
)
def test_not_understood(tmp_path, config, words):
    wide = (*STAGES[:2], (("T", 2, 32),), (("T", 1, 32),))
    layer = net() if "stages" in config else net(names="timm", head="ln_first", dim_head=32, stages=wide)
    if "stages" not in config and isinstance(config["cfg"], dict):
        config = {**config, "cfg": {**config["cfg"], "embed_dim": [4, 4, 32, 32]}}
    arrays = {"input.x": np.ones((2, 3, 64, 32)), "output.y": np.ones((2, 5))} | {f"param.{n}": v for n, v in layer.state_dict().items()}
    meta = {"system": "coatnet", "operator": "coatnet", "case": "case", "config": config, "mode": "eval"}
    np.savez(tmp_path / "case.npz", meta=np.array(json.dumps(meta)), **arrays)
    report = replay(tmp_path / "case.npz", backend="numpy")
    assert not report.passed and words in "; ".join(report.rows[0].failures)
