"""What layers and networks refuse, by name: options that mean nothing, maps that do not fit, gradients of another shape."""

import re

import numpy as np
import pytest

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import ReLU6
from pyhybrid.papers import acmix, coatnet, das, hornet
from pyhybrid.papers.coatnet import resize_bias_tables
from pyhybrid.papers.das.salience import sfd

ONES = np.ones((2, 6, 8, 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: das.ResNet((1,), (4,), 4, gate={"dtype": "float32"}), "ResNet: gate must leave dtype to the network"),
        (lambda: das.MobileNetV2(gate={"seed": 9}), "MobileNetV2: gate must leave seed to the network"),
        (lambda: das.MobileNetV2(after=(True,)), "MobileNetV2: after must be a tuple or list of whole numbers"),
        (lambda: das.ResNet((1,), (4,), 4, in_channels=0), "ResNet: in_channels must be a whole number from 1"),
        (lambda: das.ResNet((1,), (4,), 4, num_classes=-1), "ResNet: num_classes must be a whole number from 0"),
        (lambda: das.DASGate(8, norm1="none", inst_affine=True), "has no place for inst_affine = True"),
        (lambda: das.DASGate(8, norm2="batch", ln="global"), "has no place for ln = 'global'"),
        (lambda: das.DASGate(8, variant="g", eps=1e-3), "has no place for eps = 0.001"),
        (lambda: das.DASGate(8).forward(np.ones((1, 7, 4, 4))), "DASGate: x must be (N, 8, H, W); got shape (1, 7, 4, 4)"),
        (lambda: sfd(ONES[0, 0], ONES[0, 0], threshold=np.nan), "sfd: heat, region and threshold must be real numbers without NaN"),
        (lambda: sfd(ONES[0, 0] * 1j, ONES[0, 0]), "sfd: heat, region and threshold must be real numbers without NaN"),
        (lambda: acmix.ResNet((1, 0), (4, 4), 4), "ResNet: layers must be a whole number from 1"),
        (lambda: acmix.SwinTransformer(patch_size=0), "SwinTransformer: patch_size must be a whole number from 1"),
        (lambda: acmix.SwinTransformer(depths=(), num_heads=()), "depths and num_heads must name as many stages, at least one"),
        (lambda: acmix.SwinBlock(4, (4, 4), 2, 2, 0, mlp_ratio=0.1), "SwinBlock: dim * mlp_ratio must be a whole number from 1"),
        (lambda: acmix.SwinBlock(4, (4, 4), 2, 0), "SwinBlock: window_size must be a whole number from 1"),
        (lambda: acmix.PVTAttention(4, 2, (4, 4), sr_ratio=0), "PVTAttention: sr_ratio must be a whole number from 1"),
        (lambda: acmix.SAM("pairwise", 4, 0, 4), "SAM: rel_planes must be a whole number from 1"),
        (lambda: acmix.WindowAttention(4, 2, 2.0), "WindowAttention: num_heads must be a whole number"),
        (lambda: coatnet.MBConv(4, 4, expansion=-1), "MBConv: expansion must be greater than 0"),
        (lambda: coatnet.MBConv(4, 4, pool="bad"), "MBConv: pool must be one of"),
        (lambda: coatnet.MBConv(4, 4, True, ceil_pool=False, stride_mode="pool", pool="max3"), "ceil_pool=False needs 2x2 pools"),
        (lambda: coatnet.TransformerBlock(4, 4, 3, ffn_ratio=0.0), "TransformerBlock: ffn_ratio must leave a hidden unit"),
        (lambda: coatnet.CoAtNet(32, stages=(("C", 1, 8), ("T", 1, 8))), "CoAtNet: stages must hold a row of runs"),
        (lambda: coatnet.CoAtNet(32, stages=((("C", -1, 8),),)), "CoAtNet: the number of blocks in stages must be a whole number from 0"),
        (lambda: coatnet.CoAtNet(32, stages=((("C", 1, 8),),), head="plain", head_hidden=7), 'head_hidden belongs to head="hidden"'),
        (lambda: coatnet.CoAtNet(32, transformer={"grid": 3}), "CoAtNet: transformer must leave grid to the network; got 3"),
        (lambda: coatnet.CoAtNet(32, mbconv={"names": "cw"}), "CoAtNet: mbconv must leave names to the network; got 'cw'"),
        (lambda: coatnet.CoAtNet(32, drop_path_rate=2.0), "CoAtNet: drop_path_rate must be at least 0 and below 1; got 2.0"),
        (lambda: hornet.HorNet(drop_path_rate=-0.1), "HorNet: drop_path_rate must be at least 0 and below 1; got -0.1"),
        (lambda: acmix.SwinTransformer(drop_path_rate=1.0), "SwinTransformer: drop_path_rate must be at least 0 and below 1; got 1.0"),
        (lambda: hornet.GnConv(8, 2, in_channels=0), "GnConv: in_channels must be a whole number from 1"),
        (lambda: hornet.GnConv(8, 2, kind="zzz"), "GnConv: kind must be one of"),
        (lambda: hornet.GlobalFilter(2, 0, 1), "GlobalFilter: h must be a whole number from 1"),
        (lambda: hornet.GlobalFilter(2, 3, 2).forward(np.ones((2, 3, 3))), "GlobalFilter: x must be (N, 2, H, W)"),
        (lambda: hornet.HorNet(gnconv={"filter": (3, 2)}), "HorNet: gnconv must leave the filter to the stages"),
        (lambda: hornet.HorNet(filters=(None, None, (7,), None)), "HorNet: filters must hold None or a pair (h, w)"),
        (lambda: hornet.GNFPN((4, 6), 4, 3).forward([np.ones((1, 4, 6, 6)), np.ones((2, 6, 3, 3))]), "GNFPN: x[1] must be (1, 6, H, W)"),
        (lambda: hornet.SegmentationFusion((4, 6), 4).forward([ONES, ONES[:, :4]]), "SegmentationFusion: x[0] must be (2, 4, H, W)"),
    ],
)  # fmt: skip
def test_by_name(make, message):
    with pytest.raises((ConstraintError, TypeError, ValueError), match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("layer", "x"),
    [(das.DASGate(6), ONES), (ReLU6(), ONES), (acmix.WindowAttention(8, 4, 2), np.ones((2, 8, 8, 8)))],
    ids=["DASGate", "ReLU6", "WindowAttention"],
)
def test_a_gradient_of_another_shape_is_not_broadcast(layer, x):
    y, cache = layer.forward(x)
    for shape in ((), y.shape[1:], (*y.shape[:-1], 1), (1, *y.shape), (3, *y.shape[1:]), (y.shape[0], 1, *y.shape[2:])):
        with pytest.raises(ConstraintError, match=rf"{type(layer).__name__}: dy must have the output's shape"):
            layer.backward(np.ones(shape), cache)
    assert layer.backward(np.ones(y.shape), cache)[0].shape == x.shape


def test_window_attention_takes_the_masks_of_its_windows_only():
    layer, x = acmix.WindowAttention(8, 4, 2), np.ones((2, 8, 8, 8))
    mask = np.zeros((4, 16, 16))
    plain = layer.forward(x)[0]
    assert (layer.forward(x, mask)[0] == plain).all()
    for wrong in (mask[:2], mask[:1], mask[0], np.zeros((8, 16, 16)), np.zeros((4, 1, 16)), mask.astype(bool), mask.astype(int)):
        with pytest.raises(ConstraintError, match=r"WindowAttention: mask .* = \(4, 16, 16\); got "):
            layer.forward(x, wrong)
    for wrong in (x[0], x[:, :7], x[..., :4]):
        with pytest.raises(ConstraintError, match=r"WindowAttention: x must be \(B, H, W, 8\), whole windows of 4 x 4"):
            layer.forward(wrong)


@pytest.mark.parametrize(("size", "shape"), [((33, 63), (1, 2)), ((65, 33), (2, 1)), ((64, 64), (2, 2))])
def test_coatnet_whose_pools_round_down(size, shape):
    """Sizes as timm has them: 2x2 pools leave out the last row and column, in both kinds of block."""
    stages = ((("C", 1, 8),), (("C", 1, 8),), (("T", 1, 8),), (("T", 1, 8),))
    net = coatnet.CoAtNet(size, stages, num_classes=3, stem=(4, 8), dim_head=4, names="timm",
                          mbconv={"stride_mode": "pool", "ceil_pool": False}, transformer={"ceil_pool": False})
    x = np.random.default_rng(3).standard_normal((2, 3, *size))
    y, cache = net.forward(x)
    dx, _ = net.backward(np.ones_like(y), cache)
    last = [block for block in net.children.values() if isinstance(block, coatnet.TransformerBlock)][-1]
    assert last.size == shape and dx.shape == x.shape


def test_tables_of_a_map_and_of_that_map_on_its_side_are_told_apart():
    def model(size):
        return coatnet.CoAtNet(size, ((("C", 1, 8),), (("T", 1, 8),)), num_classes=3, stem=(4, 8), dim_head=4, names="timm")

    tall, wide = model((64, 32)), model((32, 64))
    with pytest.raises(ConstraintError, match="give the image_size that the state was trained at"):
        resize_bias_tables(tall.state_dict(), wide)
    wide.load_state_dict(resize_bias_tables(tall.state_dict(), wide, image_size=(64, 32)))
    square, other = model((32, 32)), model((32, 32))
    other.load_state_dict(resize_bias_tables(square.state_dict(), other))
