"""What holds for HorNet's modules whatever the weights: degree, layouts, rolls of the image, and the paths through a pyramid."""

from itertools import pairwise

import numpy as np
import pytest
from nn.judge import randomise

from pyhybrid import check
from pyhybrid.errors import ConstraintError
from pyhybrid.nn import LayerNorm
from pyhybrid.ops import conv2d, gated_conv, global_filter, linear, pointwise_conv
from pyhybrid.papers import build
from pyhybrid.papers.hornet import (
    GNFPN,
    GFNetFilter,
    GlobalFilter,
    GlobalLocalFilter,
    GnConv,
    HorNetFeatures,
    SegmentationFusion,
    attention_form,
)


@pytest.fixture
def rng():
    return np.random.default_rng(37)


def without_biases(layer):
    layer.load_state_dict({name: 0 * value if name.endswith("bias") else value for name, value in layer.state_dict().items()})
    return layer


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize(("kind", "filters"), [("convolution", None), ("half", (4, 3)), ("global", (4, 3))])
def test_t1_t7_without_biases_gnconv_is_homogeneous_of_degree_n_plus_1(kind, filters, order, rng):
    layer = GnConv(16, order, 1 / 3, filter=filters, **({} if filters is None else {"kind": kind}))
    layer = without_biases(randomise(layer, rng))
    x = rng.standard_normal((2, 16, 5, 4))
    y, cache = layer.forward(x)
    check.assert_close(layer.forward(1.5 * x)[0], 1.5 ** (order + 1) * y, "y", noise=1e-13 * np.abs(y).max())
    dy = rng.standard_normal(y.shape)
    dx, grads = layer.backward(dy, cache)
    total, scale = (dy * y).sum(), np.abs(dy * y).sum()
    projection, C0 = grads["proj_in.weight"] * layer.params["proj_in.weight"], layer.dims[0]
    ends = np.cumsum([0, C0, *layer.dims])
    euler = [((dx * x).sum(), order + 1), *((projection[a:b].sum(), 1) for a, b in pairwise(ends)),
             ((grads["proj_out.weight"] * layer.params["proj_out.weight"]).sum(), 1)]
    euler += [((grads[f"{name}.weight"] * layer.params[f"{name}.weight"]).sum(), 1) for name in layer.pws]
    params = layer.named_params()
    filtering = sum((grad * params[name]).sum() for name, grad in grads.items() if name.startswith("dwconv.") and grad.ndim > 1)
    for found, degree in [*euler, (filtering, order)]:
        assert abs(found - degree * total) < 1e-12 * scale, "Euler: <v, dv> is the degree in v"


@pytest.mark.parametrize("order", [1, 2, 3])
def test_equation_9_the_last_gate_is_a_weighted_sum_over_the_window(order, rng):
    layer, x = randomise(GnConv(8, order, 1 / 3, kernel_size=5, in_channels=3, project_out=False), rng), rng.standard_normal((2, 3, 5, 6))
    weights, values, rest = attention_form(layer, x)
    padded, found = np.pad(values, ((0, 0), (0, 0), (2, 2), (2, 2))), rest.copy()
    for a, b in np.ndindex(5, 5):
        found += weights[..., a, b] * padded[:, :, a : a + 5, b : b + 6]
    check.assert_close(found, layer.forward(x)[0], "p_n", noise=1e-14)
    ratio = weights / weights[..., :1, :1]
    check.assert_close(ratio, np.broadcast_to(ratio[:1, :, :1, :1], ratio.shape).copy(), "one kernel for all pixels", noise=1e-14)
    assert (weights < 0).any() and (weights > 0).any()
    with pytest.raises(ConstraintError, match="must have a depthwise convolution"):
        attention_form(GnConv(8, 2, filter=(3, 3)), np.zeros((1, 8, 4, 4)))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_global_local_filter_makes_the_gates_blind_to_scale(order, rng):
    """Without biases y is homogeneous of degree 1 for every order, as far as eps lets it."""
    layer, x = randomise(GnConv(8, order, 1 / 3, filter=(4, 3)), rng), rng.standard_normal((2, 8, 5, 4))
    layer.params |= {name: 0 * value for name, value in layer.params.items() if name.endswith("bias")}
    norms = [layer.children["dwconv"].children[name] for name in ("pre_norm", "post_norm")]
    for eps, least, most in ((1e-6, 1e-12, 1e-4), (1e-300, 0, 1e-13)):
        for norm in norms:
            norm.eps = eps
        y, doubled = layer.forward(x)[0], layer.forward(2 * x)[0]
        off = np.abs(doubled - 2 * y).max() / np.abs(y).max()
        assert least <= off <= most, (eps, off)


def test_s1_one_gate_is_gconv(rng):
    layer, x = randomise(GnConv(6, 1), rng), rng.standard_normal((2, 6, 5, 4))
    p = layer.params
    projected, _ = pointwise_conv.forward(x, p["proj_in.weight"], p["proj_in.bias"])
    gated, _ = gated_conv.forward(projected[:, :6].copy(), projected[:, 6:].copy(), p["dwconv.weight"], p["dwconv.bias"])
    check.assert_close(layer.forward(x)[0], pointwise_conv.forward(gated, p["proj_out.weight"], p["proj_out.bias"])[0], "y")


def test_s2_one_convolution_for_all_orders_is_one_per_order_but_a_global_local_filter_is_not(rng):
    layer, q = randomise(GnConv(8, 3), rng), rng.standard_normal((2, 14, 5, 6))
    weight, bias = layer.params["dwconv.weight"], layer.params["dwconv.bias"]
    joint, _ = conv2d.forward(q, weight, bias, padding=3, groups=14)
    ends = np.cumsum([0, *layer.dims])
    for a, b in pairwise(ends):
        own, _ = conv2d.forward(q[:, a:b].copy(), weight[a:b].copy(), bias[a:b].copy(), padding=3, groups=int(b - a))
        np.testing.assert_array_equal(own, joint[:, a:b])
    mixing, other = randomise(GlobalLocalFilter(14, 5, 4), rng), q.copy()
    other[:, -1] += 1           # a channel of the last order
    changed = np.abs(mixing.forward(other)[0] - mixing.forward(q)[0]).max((0, 2, 3))
    assert (changed > 0).all(), "every order sees it"


def test_channels_of_the_two_halves_are_in_turn(rng):
    """Without norms, output channels 0 to 5 come from input channels 0, 3, 1, 4, 2, 5."""
    layer, x = randomise(GlobalLocalFilter(6, 4, 3, norms=False), rng), rng.standard_normal((1, 6, 4, 5))
    origin = {}
    for channel in range(6):
        other = x.copy()
        other[:, channel] += rng.standard_normal((4, 5))
        (changed,) = np.flatnonzero((layer.forward(other)[0] != layer.forward(x)[0]).any((0, 2, 3)))
        origin[int(changed)] = channel
    assert [origin[channel] for channel in range(6)] == [0, 3, 1, 4, 2, 5]


def test_s3_layouts(rng):
    x = rng.standard_normal((2, 4, 3, 5))
    pixels = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    first, last = randomise(LayerNorm(4, 1e-6, axis=1), rng), LayerNorm(4, 1e-6)
    last.load_state_dict(first.state_dict())
    check.assert_close(first.forward(x)[0].transpose(0, 2, 3, 1), last.forward(pixels)[0], "y")
    weight, bias = rng.standard_normal((6, 4)), rng.standard_normal(6)
    of_maps = pointwise_conv.forward(x, weight[:, :, None, None], bias)[0]
    check.assert_close(of_maps.transpose(0, 2, 3, 1), linear.forward(pixels, weight, bias)[0], "y")


@pytest.mark.parametrize(("name", "narrowest"), [("tiny", 32), ("small", 48), ("base", 64), ("large", 96)])
def test_s5_every_step_doubles_and_all_stages_begin_equally_narrow(name, narrowest):
    model = build(f"hornet_{name}_7x7", seed=None)
    for stage in range(4):
        dims = model.children[f"stages.{stage}"].children["0"].children["gnconv"].dims
        assert dims[0] == narrowest and len(dims) == stage + 2
        assert all(2 * a == b for a, b in pairwise(dims))


def rolled(layer, x, shift):
    """Where layer(roll(x)) differs from roll(layer(x)): a boolean map."""
    moved = layer.forward(np.roll(x, shift, (2, 3)))[0]
    expected = np.roll(layer.forward(x)[0], shift, (2, 3))
    return (np.abs(moved - expected) > 1e-9 * np.abs(expected).max()).any((0, 1))


@pytest.mark.parametrize(("shift", "rows", "columns"), [((2, 0), slice(5, 8), slice(None)), ((0, 3), slice(None), slice(6, 9)),
                                                         ((1, 2), slice(4, 8), slice(5, 9))])  # fmt: skip
def test_e1_gnconv_commutes_with_a_roll_away_from_the_borders(shift, rows, columns, rng):
    """Rows s+3 to H-4 and columns likewise; an axis that is not rolled has no border."""
    bad = rolled(randomise(GnConv(4, 3), rng), rng.standard_normal((1, 4, 11, 12)), shift)
    inside = np.zeros_like(bad)
    inside[rows, columns] = True
    assert not bad[inside].any() and bad[~inside].all()


@pytest.mark.parametrize(("shift", "count"), [((1, 0), 24), ((0, 1), 27), ((2, 3), 52)])
def test_e2_a_global_local_filter_differs_where_its_convolution_meets_a_border(shift, count, rng):
    """The global half commutes everywhere, the 3x3 half but for rows 0, H-1, s-1, s, and columns likewise."""
    bad = rolled(randomise(GlobalLocalFilter(6, 9, 5), rng), rng.standard_normal((1, 6, 9, 8)), shift)
    rows, columns = ({0, n - 1, s - 1, s} if s else set() for s, n in zip(shift, (9, 8), strict=True))
    expected = np.array([[i in rows or j in columns for j in range(8)] for i in range(9)])
    np.testing.assert_array_equal(bad, expected)
    assert bad.sum() == count
    assert not rolled(randomise(GlobalFilter(6, 9, 5), rng), rng.standard_normal((1, 6, 9, 8)), shift).any()


def test_e3_the_network_commutes_with_steps_of_32_pixels_away_from_the_borders(rng):
    """Its four 7x7 convolutions, one a stage, reach 180 pixels: 6 pixels of the last map."""
    model, x = randomise(HorNetFeatures((1, 1, 1, 1), 4), rng), rng.standard_normal((1, 3, 32 * 16, 32))
    last = model.forward(x)[0][3]

    def bad(pixels):
        moved = model.forward(np.roll(x, pixels, 2))[0][3]
        return (np.abs(moved - np.roll(last, pixels // 32, 2)) > 1e-9 * np.abs(last).max()).any((0, 1, 3))

    assert not bad(32)[7:10].any() and bad(32)[[0, 15]].all()
    assert bad(16)[7:10].all(), "half a step does not commute"


def test_a_filter_on_another_map(rng):
    """A spectrum of 4 columns serves 6 and 7 columns alike; any other map has it resized; a shift by no pixel stays one."""
    layer = randomise(GlobalFilter(2, 6, 4), rng)
    for width, resized in ((6, False), (7, False), (8, True), (5, True)):
        x = rng.standard_normal((1, 2, 6, width))
        y, (_, on_resize) = layer.forward(x)
        assert (on_resize is not None) == resized
        if not resized:
            check.assert_close(y, global_filter.forward(x, layer.params["complex_weight"])[0], "y")
    layer.params["complex_weight"] = np.stack([np.ones((2, 6, 4)), np.zeros((2, 6, 4))], -1)
    x = rng.standard_normal((1, 2, 9, 5))
    check.assert_close(layer.forward(x)[0], x, "y", noise=1e-14)


def test_gfnet_s_layer_is_the_global_filter_on_tokens(rng):
    tokens, maps = randomise(GFNetFilter(3, 4, 3), rng), GlobalFilter(3, 4, 3)
    maps.params["complex_weight"] = tokens.params["complex_weight"].transpose(2, 0, 1, 3).copy()
    for W in (4, 5):
        x = rng.standard_normal((2, 3, 4, W))
        found = tokens.forward(x.reshape(2, 3, -1).swapaxes(1, 2).copy(), (4, W))[0]
        check.assert_close(found.swapaxes(1, 2).reshape(x.shape), maps.forward(x)[0], "y")


@pytest.mark.parametrize("size", [(70, 41), (32, 63), (95, 32)])
def test_sizes_round_down_and_what_is_left_over_gets_no_gradient(size, rng):
    model, x = randomise(HorNetFeatures((1, 1, 1, 1), 4), rng), rng.standard_normal((1, 3, *size))
    y, cache = model.forward(x)
    for level, m in enumerate(y):
        assert m.shape[2:] == tuple(n // 2 ** (level + 2) for n in size)
    dx, _ = model.backward(tuple(rng.standard_normal(m.shape) for m in y), cache)
    H, W = (n // 4 * 4 for n in size)
    assert (dx[:, :, :H, :W] != 0).all() and not dx[:, :, H:].any() and not dx[:, :, :, W:].any()
    last = (0 * y[0], 0 * y[1], 0 * y[2], rng.standard_normal(y[3].shape))
    assert model.backward(last, cache)[0].any(), "the last stage alone reaches the image"


# Pyramids.


def test_from_image_to_pyramid_and_back(rng):
    image, features = rng.standard_normal((1, 3, 64, 96)), randomise(HorNetFeatures((1, 1, 1, 1), 4), rng)
    pyramid = randomise(GNFPN(features.dims, 8, 5), rng)
    maps, on_features = features.forward(image)
    y, on_pyramid = pyramid.forward(maps)
    dmaps, _ = pyramid.backward([rng.standard_normal(m.shape) for m in y], on_pyramid)
    dimage, _ = features.backward(dmaps, on_features)
    assert [m.shape for m in y] == [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3), (1, 8, 1, 2)]
    assert [d.shape for d in dmaps] == [m.shape for m in maps] and dimage.shape == image.shape and dimage.any()


def test_further_levels_take_every_second_pixel(rng):
    maps = tuple(rng.standard_normal(shape) for shape in ((1, 3, 9, 7), (1, 2, 5, 4)))
    y, _ = randomise(GNFPN((3, 2), 4, 4), rng).forward(maps)
    np.testing.assert_array_equal(y[2], y[1][:, :, ::2, ::2])
    np.testing.assert_array_equal(y[3], y[2][:, :, ::2, ::2])


@pytest.mark.parametrize("extra", ["on_input", "on_lateral", "on_output"])
def test_further_levels_by_convolution(extra, rng):
    maps = tuple(rng.standard_normal(shape) for shape in ((1, 3, 9, 7), (1, 2, 5, 4)))
    layer = randomise(GNFPN((3, 2), 4, 4, extra=extra), rng)
    y, _ = layer.forward(maps)
    lateral = layer.children["lateral_convs.1"].forward(maps[1])[0]
    source = {"on_input": maps[1], "on_lateral": lateral, "on_output": y[1]}[extra]
    third = layer.children["fpn_convs.2"].forward(source)[0]
    np.testing.assert_array_equal(y[2], third)
    np.testing.assert_array_equal(y[3], layer.children["fpn_convs.3"].forward(third)[0])
    assert [m.shape[2:] for m in y] == [(9, 7), (5, 4), (3, 2), (2, 1)]


def test_coarse_levels_reach_finer_ones_and_not_the_other_way(rng):
    maps = [rng.standard_normal(shape) for shape in ((1, 3, 9, 7), (1, 2, 5, 4), (1, 4, 3, 2))]
    layer = randomise(GNFPN((3, 2, 4), 4, 3), rng)
    y, _ = layer.forward(maps)
    for level in range(3):
        other = [m + (n == level) for n, m in enumerate(maps)]
        changed = [not np.array_equal(a, b) for a, b in zip(layer.forward(other)[0], y, strict=True)]
        assert changed == [n <= level for n in range(3)]


def test_running_statistics_of_the_fusion_move_in_training_only(rng):
    layer, maps = SegmentationFusion((3, 2), 4), tuple(rng.standard_normal(shape) for shape in ((2, 3, 5, 4), (2, 2, 3, 2)))
    before = layer.state_dict()
    layer.forward(maps)
    assert all(np.array_equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.train().forward(maps)
    mixed, _ = layer.fuse.mixer.forward(joined(maps))
    found = layer.state_dict()
    np.testing.assert_allclose(found["bn.running_mean"], 0.1 * mixed.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found["bn.running_var"], 0.9 + 0.1 * mixed.var((0, 2, 3), ddof=1), rtol=1e-12)
    assert found["bn.num_batches_tracked"] == 1


def joined(maps):
    """Two maps, the second enlarged bilinearly to the size of the first by matrices."""
    finest = maps[0].shape[2:]
    rows, columns = (weights(n, m) for n, m in zip(maps[1].shape[2:], finest, strict=True))
    return np.concatenate([maps[0], np.einsum("ia,jb,ncab->ncij", rows, columns, maps[1])], axis=1)


def weights(n, m):
    """Linear interpolation of n pixels at the centres of m."""
    places = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n)))
