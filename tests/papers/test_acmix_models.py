"""The models of ACmix: gradients with every option, the released counts, both starts, and what is refused."""

import json

import numpy as np
import pytest
from nn.judge import judge, randomise

from pyhybrid import cli
from pyhybrid.counting import placeholder
from pyhybrid.errors import ConstraintError, UsageError
from pyhybrid.nn import StateDictError, summarize
from pyhybrid.ops import shift_conv, window_partition
from pyhybrid.papers import VARIANTS, build
from pyhybrid.papers.acmix import PVT, SAM, SAN, Bottleneck, PatchMerging, PVTAttention, ResNet, SwinBlock, SwinTransformer, WindowAttention


@pytest.fixture
def rng():
    return np.random.default_rng(11)


MASK = window_partition.shift_mask((4, 6), 2, 1)
TINY = {"layers": (1, 1), "planes": (2, 4), "stem": 4, "k_att": 3, "head": 2, "num_classes": 3}
SWIN = {"img_size": 8, "patch_size": 2, "num_classes": 3, "embed_dim": 4, "depths": (2, 1), "num_heads": (2, 2), "window_size": 2,
        "mlp_ratio": 2.0}  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "shape", "arguments"),
    [
        (Bottleneck(4, 2, 2, True, 3, 2), (2, 4, 5, 6), ()),
        (Bottleneck(8, 2, 1, False, 3, 1, acmix={"border": "mask", "conv_channel_order": "head_major", "dep_conv_bias": True}),
         (2, 8, 3, 4), ()),
        (Bottleneck(4, 2, 2, True, mixer="conv"), (2, 4, 5, 4), ()),
        (Bottleneck(8, 2, 1, False, 3, 2, acmix={"positional": False}), (2, 8, 3, 3), ()),
        (ResNet(**TINY), (2, 3, 17, 19), ()),
        (WindowAttention(4, 2, 2), (2, 4, 6, 4), (MASK,)),
        (WindowAttention(4, (2, 3), 1, False, 0.7, conv_channel_order="head_major", dep_conv_bias=True), (1, 4, 6, 4), ()),
        (WindowAttention(6, 3, 3, kernel_conv=5), (1, 3, 3, 6), ()),
        (SwinBlock(4, (4, 6), 2, 2, 1, 2.0), (2, 24, 4), ()),
        (SwinBlock(4, (2, 2), 2, 7, 3, 2.0, False, 0.3), (2, 4, 4), ()),
        (PatchMerging((4, 2), 3), (2, 8, 3), ()),
        (SwinTransformer(**SWIN), (2, 3, 8, 8), ()),
        (SwinTransformer(**SWIN, ape=True, patch_norm=False, qkv_bias=False), (1, 3, 8, 8), ()),
        (PVTAttention(4, 2, (4, 2), sr_ratio=2), (2, 8, 4), ()),
        (PVTAttention(4, 1, (4, 2), False, 0.4), (2, 9, 4), ()),
        (PVT(8, (1, 2), 3, patch_sizes=(2, 2), embed_dims=(2, 4), num_heads=(1, 2), mlp_ratios=(2, 2), sr_ratios=(2, 1)), (2, 3, 8, 8), ()),
        (SAM("pairwise", 3, 2, 4, 2, 3, 2), (2, 3, 5, 4), ()),
        (SAM("patchwise", 3, 2, 4, 4, 5, (1, 2)), (2, 3, 4, 5), ()),
        (SAN("pairwise", (1, 1), (3, 3), 2, widths=(16, 32), share_planes=2), (2, 3, 8, 8), ()),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)  # fmt: skip
@pytest.mark.parametrize("training", [False, True])
def test_gradients(layer, shape, arguments, training, rng):
    judge(randomise(layer, rng), rng.standard_normal(shape), *arguments, rng=rng, training=training)


COUNTED = {
    "acmix_resnet26": (10_487_816, 2.155, 2.217), "acmix_resnet38": (14_410_896, 2.761, 2.859),
    "acmix_resnet50": (18_333_976, 3.367, 3.502),
    "acmix_swin_t": (28_649_908, None, 4.645), "acmix_swin_s": (50_345_080, None, 8.993), "acmix_san10": (11_841_124, None, 1.79),
    "acmix_san15": (16_181_310, None, 2.48), "acmix_san19": (20_518_470, None, 3.13), "acmix_pvt_t": (13_229_288, None, 1.93),
    "acmix_pvt_s": (24_485_864, None, 3.82),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("acmix_")])
def test_counts_of_the_released_code(name):
    params, weights, total = COUNTED[name]
    found = summarize(build(name, seed=None), (1, 3, 224, 224))
    assert found.params == params and found.shape == (1, 1000)
    digits = 3 if total in (2.217, 2.859, 3.502, 4.645, 8.993) else 2
    assert round(found.macs.total / 1e9, digits) == total
    assert weights is None or round(found.macs.weights / 1e9, 3) == weights


@pytest.mark.parametrize(("layers", "params"), [((1, 2, 4, 1), 13_696_552), ((2, 3, 5, 2), 19_626_792), ((3, 4, 6, 3), 25_557_032)])
def test_the_plain_resnet_beside_it(layers, params):
    assert ResNet(layers, mixer="conv", seed=None).parameter_count() == params


@pytest.mark.parametrize(("name", "entries"), [("acmix_resnet50", 496), ("acmix_swin_t", 250), ("acmix_swin_s", 484)])
def test_number_of_official_entries(name, entries):
    assert len(build(name, seed=None).state_dict()) == entries


def test_counts_are_those_of_a_real_forward(rng):
    """Shapes from counting equal the shapes that computing gives, for the batch as well."""
    model = ResNet(**TINY, acmix={"positional": False})     # the positional term is computed once for the whole batch
    y, _ = model.forward(rng.standard_normal((2, 3, 17, 19)))
    found = summarize(model, (2, 3, 17, 19))
    assert found.shape == y.shape and found.macs.total == 2 * summarize(model, (1, 3, 17, 19)).macs.total
    assert sum(row.params for row in found.rows) == found.params == model.parameter_count()
    assert "forward" not in vars(model.children["conv1"]), "the model is left as it was"
    assert summarize(model.train(), (2, 3, 17, 19)) == found, "training costs the same"
    assert all(layer.training for _, layer in model.named_modules()), "and the model is still in training mode"


def test_both_starts_of_the_resnet():
    official, shifts = ResNet(**TINY), ResNet(**TINY, init="shift")
    kernels = shift_conv.shift_weight(3, 2, np.float64)
    assert (shifts.state_dict()["layer1.0.conv2.dep_conv.weight"] == kernels).all()
    drawn = build("acmix_resnet26", num_classes=2).state_dict()["layer1.0.conv2.dep_conv.weight"]
    assert abs(float(drawn.std()) - (2 / (64 * 9)) ** 0.5) < 2e-3, "drawn like every other convolution: the shifts are gone"
    assert (official.state_dict()["layer1.0.conv2.rate1"] == 0.5).all()


def test_the_swin_network_keeps_the_shifts():
    state = SwinTransformer(**SWIN).state_dict()
    assert (state["layers.0.blocks.0.attn.dep_conv.weight"] == shift_conv.shift_weight(3, 4, np.float64)).all()
    assert (state["layers.0.blocks.1.mlp.fc1.bias"] == 0).all() and np.abs(state["head.weight"]).max() < 0.1


def test_windows_are_shifted_in_every_other_block():
    net = SwinTransformer(img_size=56, depths=(2, 2), num_heads=(3, 6))
    masks = {name for name in net.state_dict() if name.endswith("attn_mask")}
    assert masks == {"layers.0.blocks.1.attn_mask"}, "the second stage has one window of 7 x 7 and shifts nothing"


def test_drop_path_grows_with_depth_and_leaves_out_branches(rng):
    net = SwinTransformer(**SWIN, drop_path_rate=0.9)
    rates = [module.rate for name, module in net.named_modules() if name.endswith("drop_path")]
    assert rates == [0.0, 0.45, 0.9]
    x = rng.standard_normal((4, 3, 8, 8))
    evaluated, _ = net.forward(x)
    trained, cache = net.train().forward(x)
    assert not np.allclose(evaluated, trained)
    dx, grads = net.backward(np.ones_like(trained), cache)
    assert np.isfinite(dx).all() and set(grads) == set(net.named_params())


def test_fixed_buffers_are_confirmed_not_changed():
    block = SwinBlock(4, (4, 4), 2, 2, 1)
    state = block.state_dict()
    block.load_state_dict(state)
    state["attn.relative_position_index"] = state["attn.relative_position_index"][::-1]
    with pytest.raises(StateDictError, match=r"attn\.relative_position_index differs from the values"):
        block.load_state_dict(state)


def test_unknown_and_missing_keys_are_listed():
    net = ResNet(**TINY)
    state = net.state_dict()
    del state["fc.bias"]
    with pytest.raises(StateDictError, match=r"unknown keys: head\.bias; missing keys: fc\.bias"):
        net.load_state_dict({**state, "head.bias": np.zeros(3)})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Bottleneck(4, 2, 2, False), "without downsample"),
        (lambda: Bottleneck(4, 2, mixer="other"), "mixer must be one of"),
        (lambda: ResNet((1, 1), (2,)), "as many stages"),
        (lambda: ResNet((1,), (4,), init="zero"), "init"),
        (lambda: WindowAttention(4, 2, 3), "num_heads must divide dim"),
        (lambda: WindowAttention(4, 2, 2, kernel_conv=2), "kernel_conv must be odd"),
        (lambda: WindowAttention(4, 2, 2, conv_channel_order="none"), "conv_channel_order"),
        (lambda: SwinBlock(4, (4, 6), 2, 3), "must be a multiple of window_size"),
        (lambda: SwinBlock(4, (4, 4), 2, 2, 2), "shift_size must be"),
        (lambda: PatchMerging((3, 4), 2), "even in both directions"),
        (lambda: SwinTransformer(100), "multiple of 32"),
        (lambda: SwinTransformer(depths=(1, 1)), "as many stages"),
        (lambda: PVTAttention(4, 3, (2, 2)), "num_heads must divide"),
        (lambda: PVT(100), "divide evenly"),
        (lambda: SAM("other", 2, 2, 2), "kind must be one of"),
        (lambda: SAM("pairwise", 2, 2, 4, 2, 4), "kernel_size must be odd"),
        (lambda: SAM("pairwise", 2, 2, 4, 3), "share_planes must divide"),
        (lambda: SAN("pairwise", (1,), (3, 3)), "as many stages"),
        (lambda: SwinBlock(4, (4, 4), 2, 2).forward(np.zeros((1, 15, 4))), r"x must be \(B, 4\*4, 4\)"),
        (lambda: PatchMerging((4, 4), 2).forward(np.zeros((1, 15, 2))), r"x must be \(B, 4\*4, 2\)"),
        (lambda: SwinTransformer(**SWIN).forward(np.zeros((1, 3, 8, 9))), "img_size"),
        (lambda: PVTAttention(4, 2, (4, 2), sr_ratio=2).forward(np.zeros((1, 7, 4))), r"the 4\*2 tokens"),
    ],
)  # fmt: skip
def test_refusals_name_the_argument(make, text):
    with pytest.raises(ConstraintError, match=text):
        make()


# The command line.


def test_models_lists_every_name(capsys):
    assert cli.main(["models", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert names == list(VARIANTS) and {"acmix_resnet26", "acmix_resnet38", "acmix_resnet50", "acmix_swin_t", "acmix_swin_s"} <= set(names)
    assert cli.main(["models"]) == 0
    assert "no official code" in capsys.readouterr().out


def test_summary_counts_and_quotes_the_paper(capsys):
    assert cli.main(["summary", "acmix_resnet50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "acmix_resnet50" and found["image_size"] == 224 and found["params"] == 18_333_976
    assert round(found["macs"] / 1e9, 3) == 3.502 and found["published"]["params"] == 18.6
    assert sum(row["params"] for row in found["layers"]) == found["params"]
    assert cli.main(["summary", "acmix_swin_t", "--image-size", "448", "--batch", "2"]) == 0
    printed = capsys.readouterr().out
    assert "28,649,908" in printed and "2 x 3 x 448 x 448" in printed and "published       30 M" in printed


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["acmix_resnet5"], "did you mean acmix_resnet50"),
        (["acmix_swin_t", "--image-size", "100"], "img_size must be a multiple of 32"),
        (["acmix_resnet50", "--image-size", "0"], "--image-size must be at least 1"),
        (["acmix_resnet50", "--image-size", "40"], "local_attention (C6)"),
        (["acmix_resnet50", "--batch", "-1"], "--batch must be at least 1"),
    ],
)
def test_summary_refuses_clearly(arguments, text, capsys):
    assert cli.main(["summary", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_build_by_name():
    net = build("acmix_resnet26", num_classes=10, dtype=np.float64, head=8)
    assert net.named_params()["fc.weight"].shape == (10, 2048) and net.named_params()["fc.weight"].dtype == np.float64
    with pytest.raises(UsageError, match="no model named"):
        build("resnet")
    with pytest.raises(TypeError):
        build("acmix_resnet26", no_such_option=1)


def test_placeholders_take_no_memory():
    assert placeholder((10**4, 10**4)).strides == (0, 0)
