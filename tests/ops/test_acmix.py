"""ACmix: the standard laws; the rates, stride, heads, the convolution inside, cost."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import acmix, conv2d, conv_path, local_attention, pointwise_conv, unfold

JUDGE = {"oracle": naive.acmix, "oracle_backward": naive.acmix_backward, "step": "complex"}


@given(cases.strategy("acmix"))
def test_standard(case):
    check.operator(acmix, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("acmix"))
def test_corners(case):
    check.operator(acmix, case, **JUDGE)


@given(cases.strategy("acmix"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    # An infinite rate times a path that cancels to zero is NaN or infinite by the luck of rounding; generic values do not cancel.
    random = case.random(7)
    generic = case.map(lambda a: (a + 0.01 * random.standard_normal(a.shape)).astype(a.dtype))
    check.operator(acmix, replace(generic, exact=False), only=["special values"])


PARAMETERS = {"heads": 2, "kernel_size": 3}


def block(**changed):
    """Arguments of a small block with two heads of two channels, by name."""
    random = np.random.default_rng(8)
    shapes = {"x": (2, 3, 5, 4), "rate1": (1,), "rate2": (1,)}
    shapes |= {
        f"conv{n}_{part}": shape for n in (1, 2, 3) for part, shape in (("weight", (4, 3, 1, 1)), ("bias", (4,)))
    }
    shapes |= {
        "fc_weight": (9, 6, 1, 1),
        "dep_conv_weight": (4, 9, 3, 3),
        "conv_p_weight": (2, 2, 1, 1),
        "conv_p_bias": (2,),
    }
    return {name: random.standard_normal(shape) for name, shape in shapes.items()} | changed


def run(arguments, **config):
    return acmix.forward(*arguments.values(), **{**PARAMETERS, **config})


@pytest.mark.parametrize("stride", [2, (1, 3)])
def test_p11_stride_is_subsampling(backend, stride):
    sh, sw = naive.pair(stride)
    check.assert_close(run(block(), stride=stride)[0], run(block())[0][..., ::sh, ::sw], "y")


def test_p15_the_output_is_linear_in_the_rates(backend):
    def y(first, second):
        return run(block(rate1=np.array([first]), rate2=np.array([second])))[0]

    attention, convolution = y(1.0, 0.0), y(0.0, 1.0)
    check.assert_close(y(2.5, -0.5), 2.5 * attention - 0.5 * convolution, "y")
    b = block()
    q, k, v = (pointwise_conv.forward(b["x"], b[f"conv{n}_weight"], b[f"conv{n}_bias"])[0] for n in (1, 2, 3))
    cache = run(b)[1]
    check.assert_close(
        attention, local_attention.forward(q, k, v, cache.pe, heads=2, kernel_size=3)[0], "attention alone"
    )
    alone, _ = conv_path.forward(q, k, v, b["fc_weight"], b["dep_conv_weight"], heads=2)
    check.assert_close(convolution, alone, "convolution alone")


def test_p15_the_rates_times_their_gradients_make_up_dy_y(backend):
    y, cache = run(block())
    dy = np.random.default_rng(1).standard_normal(y.shape)
    grads = acmix.backward(dy, cache)
    left = cache.rate1 * grads.rate1 + cache.rate2 * grads.rate2
    check.assert_close(
        left, np.array([(dy * y).sum()]), "rate1 drate1 + rate2 drate2", noise=1e-15 * np.abs(dy * y).sum()
    )


def test_p8_the_key_bias_acts_through_the_convolution_alone(backend):
    """Its gradient vanishes without the convolution path, and that of conv_p_bias always."""
    for rate2, silent in ((0.0, True), (1.0, False)):
        y, cache = run(block(rate2=np.array([rate2])))
        grads = acmix.backward(np.random.default_rng(2).standard_normal(y.shape), cache)
        assert (np.abs(grads.conv2_bias).max() < 1e-12) == silent
        assert np.abs(grads.conv_p_bias).max() < 1e-12


def test_p14_heads_are_alike(backend):
    """Permuting the heads of the projections and the columns of fc permutes the attention's heads; the rest stays."""
    b, order = block(), [1, 0]
    for name in (f"conv{n}_{part}" for n in (1, 2, 3) for part in ("weight", "bias")):
        b[name] = b[name].reshape(2, 2, *b[name].shape[1:])[order].reshape(b[name].shape)
    b["fc_weight"] = b["fc_weight"].reshape(9, 3, 2, 1, 1)[:, :, order].reshape(9, 6, 1, 1)
    (_, plain), (_, permuted) = run(block()), run(b)
    by_head = plain.att.reshape(2, 2, 2, 5, 4)[:, order].reshape(plain.att.shape)
    check.assert_close(permuted.att, by_head, "attention")
    check.assert_close(permuted.conv, plain.conv, "convolution", noise=1e-15)
    assert np.abs(permuted.att - plain.att).max() > 1e-2


def test_p7_without_attention_the_block_is_a_convolution(backend):
    """With rate1 = 0 and no biases it is linear and moves with the picture; with attention it is not linear."""
    silent = {f"conv{n}_bias": np.zeros(4) for n in (1, 2, 3)}
    b = block(rate1=np.zeros(1), **silent)
    x, other = b["x"], np.random.default_rng(3).standard_normal(b["x"].shape)

    def y(x, **changed):
        return run({**b, "x": x, **changed})[0]

    check.assert_close(y(2 * x - other), 2 * y(x) - y(other), "y", noise=1e-14)
    kernel = np.zeros((4, 3, 3, 3))
    for c, u, v in naive.box(3, 3, 3):  # what a single pixel is spread to is the kernel, mirrored
        dot = np.zeros((1, 3, 5, 5))
        dot[0, c, 2, 2] = 1
        kernel[:, c, u, v] = y(dot)[0, :, 3 - u, 3 - v]
    check.assert_close(y(x), conv2d.forward(x, kernel, padding=1)[0], "y", noise=1e-14)
    with_attention = {"rate1": np.ones(1)}
    assert np.abs(y(2 * x, **with_attention) - 2 * y(x, **with_attention)).max() > 1e-2


def test_the_convolution_path_sees_the_query_unscaled(backend):
    b = block()
    cache = run(b)[1]
    q, _ = pointwise_conv.forward(b["x"], b["conv1_weight"], b["conv1_bias"])
    check.assert_close(cache.q, q, "q")
    alone, _ = conv_path.forward(q, cache.k, cache.v, b["fc_weight"], b["dep_conv_weight"], heads=2)
    check.assert_close(cache.conv, alone, "convolution")


@pytest.mark.parametrize(("channels", "dearer"), [(32, "attention"), (33, "projections")])
def test_p20_attention_costs_more_than_the_projections_up_to_32_channels(channels, dearer):
    """Multiply-adds per pixel: three C x C maps against scores and averages over 49 taps; they cross at C = 2·49/3."""
    x, padded = np.empty((1, channels, 8, 8)), np.empty((1, channels, 14, 14))
    projections = 3 * channels * np.prod(pointwise_conv.output_shape(x, np.empty((channels, channels, 1, 1))))
    attention = 2 * np.prod(unfold.output_shape(padded, kernel_size=7))
    assert attention / x.size == 2 * 49 and projections / x.size == 3 * channels
    assert (attention > projections) == (dearer == "attention")


def test_a_nan_pixel_stays_in_its_image(backend):
    x = block()["x"]
    x[1, 0, 0, 0] = np.nan
    y, _ = run(block(x=x))
    assert np.isfinite(y[0]).all() and np.isnan(y[1, :, 0, 0]).all() and np.isfinite(y[1, :, 3:, 3:]).all()


def test_c1_rates_are_single_numbers(refuses):
    refuses(acmix, "C1", "rate1", *block(rate1=np.ones(2)).values(), **PARAMETERS)
    refuses(acmix, "C1", "rate2", *block(rate2=np.ones(())).values(), **PARAMETERS)


def test_c2_three_projections_of_one_shape(refuses):
    refuses(acmix, "C2", "conv2_weight", *block(conv2_weight=np.ones((2, 3, 1, 1))).values(), **PARAMETERS)
    narrow = {f"conv{n}_weight": np.ones((4, 2, 1, 1)) for n in (1, 2, 3)}
    refuses(acmix, "C2", "x", *block(**narrow).values(), **PARAMETERS)
    refuses(acmix, "C2", "conv3_bias", *block(conv3_bias=np.ones(3)).values(), **PARAMETERS)


def test_c3_conv_p_has_the_head_width(refuses):
    refuses(acmix, "C3", "conv_p_weight", *block(conv_p_weight=np.ones((4, 2, 1, 1))).values(), **PARAMETERS)
    refuses(acmix, "C3", "conv_p_bias", *block(conv_p_bias=np.ones(4)).values(), **PARAMETERS)
    refuses(acmix, "C3", "conv_p_bias", *block(conv_p_weight=None).values(), **PARAMETERS)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"heads": 3}, r"conv_path \(C2\)"),
        ({"kernel_size": 4}, r"local_attention \(C4\)"),
        ({"kernel_size": 9}, r"local_attention \(C6\)"),
        ({"channel_order": "paper"}, r"conv_path \(C6\)"),
    ],
)
def test_errors_of_a_part_name_the_part(config, said):
    with pytest.raises(ValueError, match=said):
        run(block(), **config)
