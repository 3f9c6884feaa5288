"""Local attention: the standard laws; what does not change attention and where that fails; extreme logits and NaN."""

import naive
import numpy as np
import pytest
from drawn import normal, qkv
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import local_attention, positional_term, softmax

JUDGE = {"oracle": naive.local_attention, "oracle_backward": naive.local_attention_backward, "step": "complex"}


@given(cases.strategy("local_attention"))
def test_standard(case):
    check.operator(local_attention, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("local_attention"))
def test_corners(case):
    check.operator(local_attention, case, **JUDGE)


@given(cases.strategy("local_attention"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(local_attention, case, only=["special values"])


def attend(q, k, v, pe=None, **config):
    return local_attention.forward(q, k, v, pe, **config)[0]


def position(d, size, seed=4):
    return positional_term.forward(normal(d, 2, 1, 1, seed=seed), size=size)[0]


@given(cases.strategy("local_attention"))
def test_p8_what_all_keys_of_a_window_share_changes_nothing(case):
    """A key bias adds the same score to every tap: o keeps its value and the gradient of the bias is 0."""
    if case.config["border"] == "zero" or not case.arrays["q"].size or case.note.startswith("large"):
        return
    q, k, v, pe = case.arguments.values()
    k_bias = case.random(1).standard_normal(k.shape[1])[:, None, None] * np.abs(k).max()
    scale = float(np.abs(q).max() * np.abs(k_bias).max()) * q.shape[1]
    plain, moved = attend(q, k, v, pe, **case.config), attend(q, k + k_bias, v, pe, **case.config)
    check.assert_close(moved, plain, "o", noise=1e-16 * scale * np.abs(v).max() + 1e-16 * np.abs(plain).max())
    o, cache = local_attention.forward(q, k, v, pe, **case.config)
    grads = local_attention.backward(case.cotangent(o.shape), cache)
    by_channel = np.abs(grads.k).sum((0, 2, 3))
    check.assert_close(
        grads.k.sum((0, 2, 3)), np.zeros(k.shape[1]), "dk_bias", noise=1e-16 * (1 + scale) * by_channel.max()
    )


def test_p8_fails_for_a_bias_that_differs_between_taps(backend):
    q, k, v = qkv(1, 2, 4, 4)
    bump = np.zeros_like(k)
    bump[0, 0, 1, 1] = 1
    config = {"heads": 1, "kernel_size": 3}
    assert np.abs(attend(q, k + bump, v, **config) - attend(q, k, v, **config)).max() > 1e-3


def test_p8_fails_with_zero_keys_at_the_border(backend):
    """Border "zero": the zero keys do not share the bias."""
    q, k, v = qkv(1, 2, 4, 4)
    config = {"heads": 1, "kernel_size": 3, "border": "zero"}
    moved, plain = attend(q, k + 1.0, v, **config), attend(q, k, v, **config)
    check.assert_close(moved[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1], "interior")
    assert np.abs(moved - plain).max() > 1e-3


def test_p9_the_position_of_the_query_alone_does_not_matter(backend):
    """The positional bias falls out: only differences of positions enter."""
    q, k, v = qkv(2, 4, 4, 5)
    config = {"heads": 2, "kernel_size": 3}
    pe = position(2, (4, 5))
    shifted = pe + np.array([3.0, -7.0])[:, None, None]
    check.assert_close(attend(q, k, v, shifted, **config), attend(q, k, v, pe, **config), "o", noise=1e-15)


@pytest.mark.parametrize("d", [1, 2])
def test_p9_translation_in_the_interior(backend, d):
    """Moving q, k and v by a pixel moves o, at a fixed map size; away from the border the positions do not notice."""
    q, k, v = qkv(1, d, 7, 8)
    config, pe = {"heads": 1, "kernel_size": 3}, position(d, (7, 8))
    whole = attend(q, k, v, pe, **config)
    moved = attend(*(np.roll(x, (1, 1), (2, 3)) for x in (q, k, v)), pe, **config)
    check.assert_close(moved[..., 2:-1, 2:-1], whole[..., 1:-2, 1:-2], "interior", noise=1e-15)


def test_p9_fails_when_the_map_is_cropped(backend):
    """Positions are fractions of the map: a crop changes them. Without pe the interior does not notice."""
    q, k, v = qkv(1, 2, 8, 8)
    config = {"heads": 1, "kernel_size": 3}
    crop = (slice(None), slice(None), slice(0, 6), slice(0, 6))
    for pe, small, least, most in ((position(2, (8, 8)), position(2, (6, 6)), 1e-3, 10), (None, None, 0, 1e-14)):
        whole = attend(q, k, v, pe, **config)
        part = attend(q[crop], k[crop], v[crop], small, **config)
        assert least <= np.abs(part[..., 1:-1, 1:-1] - whole[..., 1:5, 1:5]).max() <= most


@given(cases.strategy("local_attention"))
def test_p10_reflected_pixels_are_seen_once_per_tap_where_they_really_are(case):
    """The oracle looks pixels up one by one, where they are: a mirrored pixel counts at its own place."""
    if case.config["border"] == "reflect":
        check.operator(local_attention, case, oracle=naive.local_attention, only=["value"])


def test_p10_fails_for_extrapolated_positions(backend):
    """If mirrored pixels had the coordinates beyond the border, the result would differ."""
    (q, k, v), pe = qkv(1, 1, 4, 4), position(1, (4, 4))
    wide = positional_term.forward(normal(1, 2, 1, 1, seed=4) * 5 / 3, size=(6, 6))[0]  # the same step, two pixels more
    check.assert_close(wide[:, 1:-1, 1:-1], pe, "the same positions inside", noise=1e-15)
    padded = [np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect") for x in (q, k, v)]
    extrapolated = attend(*padded, wide, heads=1, kernel_size=3)[..., 1:-1, 1:-1]
    real = attend(q, k, v, pe, heads=1, kernel_size=3)
    check.assert_close(extrapolated[..., 1:-1, 1:-1], real[..., 1:-1, 1:-1], "interior", noise=1e-15)
    assert np.abs(extrapolated - real).max() > 1e-2


@given(cases.strategy("local_attention"))
def test_p11_stride_is_subsampling(case):
    sh, sw = naive.pair(case.config["stride"])
    q, k, v, pe = case.arguments.values()
    every = attend(q, k, v, pe, **{**case.config, "stride": 1})
    some = attend(q, k, v, pe, **case.config)
    check.assert_close(some, every[..., ::sh, ::sw], "o")


@pytest.mark.parametrize("k", [1, 3, 5])
def test_p12_without_queries_the_window_is_averaged(backend, k):
    _, keys, v = qkv(2, 4, 5, 4)
    o = attend(np.zeros_like(v), keys, v, heads=2, kernel_size=k)
    r = k // 2
    padded = np.pad(v, ((0, 0), (0, 0), (r, r), (r, r)), mode="reflect")
    mean = sum(padded[..., p : p + 5, q : q + 4] for p, q in naive.box(k, k)) / k**2
    check.assert_close(o, mean, "o")


def test_p12_fails_with_a_query(backend):
    q, k, v = qkv(1, 2, 4, 4)
    assert np.abs(attend(q, k, v, heads=1, kernel_size=3) - attend(0 * q, k, v, heads=1, kernel_size=3)).max() > 1e-2


def test_p12_a_window_of_one_pixel_copies_the_values(backend):
    q, k, v = qkv(2, 4, 5, 4)
    o, cache = local_attention.forward(q, k, v, position(2, (5, 4)), heads=2, kernel_size=1, stride=2)
    check.assert_close(o, v[..., ::2, ::2], "o", noise=1e-16)
    grads = local_attention.backward(normal(*o.shape), cache)
    for name in ("q", "k", "pe"):
        check.assert_close(getattr(grads, name), np.zeros_like(getattr(cache, name)), f"d{name}", noise=1e-16)


@given(cases.strategy("local_attention"))
def test_p13_the_output_lies_between_the_values_of_the_window(case):
    if not case.arrays["q"].size:
        return
    o = case.call(local_attention.forward)[0]
    v, config = case.arrays["v"], case.config
    sh, sw = naive.pair(config["stride"])
    slack = 1e-10 * np.abs(v).max()
    for n, c, i, j in naive.box(*o.shape):
        near = list(naive._neighbours(sh * i, sw * j, v.shape[2:], config["kernel_size"], config["border"]))
        values = [0.0 if place is None else v[(n, c, *place)] for place in near]
        assert min(values) - slack <= o[n, c, i, j] <= max(values) + slack


def test_p14_heads_are_alike(backend):
    """Permuting the heads of q, k and v permutes those of o, bit for bit; mixing channels between heads does not."""
    q, k, v = qkv(2, 6, 4, 5)
    pe, order = position(2, (4, 5)), [2, 0, 1]
    config = {"heads": 3, "kernel_size": 3}

    def permuted(x):
        return x.reshape(2, 3, 2, *x.shape[2:])[:, order].reshape(x.shape)

    o = attend(q, k, v, pe, **config)
    check.assert_close(attend(permuted(q), permuted(k), permuted(v), pe, **config), permuted(o), "o", exact=True)
    interleaved = np.arange(6).reshape(2, 3).T.ravel()
    mixed = attend(*(x[:, interleaved] for x in (q, k, v)), pe, **config)
    assert np.abs(mixed - o[:, interleaved]).max() > 1e-3


def test_one_window_over_the_whole_map_is_global_attention(backend):
    """Border "mask" alone: its softmax runs over the map however large the window."""
    q, k, v = qkv(2, 6, 3, 4)
    keys, values = (x.reshape(2, 2, 3, 12) for x in (k, v))
    a, _ = softmax.forward(np.einsum("nhei,nhej->nhij", q.reshape(2, 2, 3, 12), keys) / np.sqrt(3))
    wanted = np.einsum("nhij,nhej->nhei", a, values).reshape(q.shape)
    check.assert_close(attend(q, k, v, heads=2, kernel_size=7, border="mask"), wanted, "o")
    assert np.abs(attend(q, k, v, heads=2, kernel_size=7, border="zero") - wanted).max() > 1e-3


def test_lse_is_the_log_of_the_sum_of_exponentials(backend):
    q, k, v = qkv(1, 2, 1, 1)
    _, cache = local_attention.forward(q, k, v, heads=1, kernel_size=3, border="zero")
    score = (q * k).sum() / np.sqrt(2)
    check.assert_close(cache.lse, np.full((1, 1, 1, 1), np.log(8 + np.exp(score))), "lse")


def test_scale_replaces_the_root_of_the_head_width(backend):
    q, k, v = qkv(1, 4, 4, 4)
    default = attend(q, k, v, heads=1, kernel_size=3)
    check.assert_close(attend(q, k, v, heads=1, kernel_size=3, scale=0.5), default, "o")
    check.assert_close(attend(q * 0.5, k, v, heads=1, kernel_size=3, scale=1), default, "o")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("border", ["reflect", "zero", "mask"])
def test_logits_in_the_thousands_stay_finite(backend, dtype, border):
    q, k, v = (x.astype(dtype) for x in qkv(1, 2, 4, 5))
    o, cache = local_attention.forward(q * 60, k * 60, v, heads=1, kernel_size=3, border=border)
    assert np.abs(cache.lse).max() > 2000
    grads = local_attention.backward(v, cache)
    assert all(np.isfinite(a).all() for a in (o, cache.lse, *grads[:3]))
    check.assert_close(
        o.astype(np.float64),
        naive.local_attention(
            *(x.astype(np.float64) for x in (q * 60, k * 60, v)), heads=1, kernel_size=3, border=border
        ),
        "o",
        noise=2000 * np.finfo(dtype).eps,
    )


def test_a_nan_key_spoils_exactly_the_queries_that_see_it(backend):
    q, k, v = qkv(1, 2, 6, 6)
    k[0, 0, 3, 2] = np.nan
    o = attend(q, k, v, heads=2, kernel_size=3)  # heads of one channel: only the first sees it
    window = np.zeros(o.shape, bool)
    window[0, 0, 2:5, 1:4] = True
    assert (np.isnan(o) == window).all()


def test_a_nan_query_spoils_its_own_pixel(backend):
    q, k, v = qkv(1, 2, 5, 5)
    q[0, 1, 2, 2] = np.nan
    o = attend(q, k, v, heads=1, kernel_size=3)
    assert np.isnan(o[0, :, 2, 2]).all() and np.isnan(o).sum() == 2


def test_c1_three_maps_of_one_shape(refuses):
    x = np.zeros((1, 2, 4, 4))
    refuses(local_attention, "C1", "k", x, np.zeros((1, 2, 4, 5)), x, heads=1, kernel_size=3)
    refuses(local_attention, "C1", "v", x, x, np.zeros((2, 2, 4, 4)), heads=1, kernel_size=3)
    refuses(local_attention, "C1", "q", x[0], x[0], x[0], heads=1, kernel_size=3)


def test_c2_heads_divide_the_channels(refuses):
    x = np.zeros((1, 4, 4, 4))
    refuses(local_attention, "C2", "heads", x, x, x, heads=3, kernel_size=3)


def test_c3_pe_is_one_vector_of_head_width_per_pixel(refuses):
    x = np.zeros((1, 4, 4, 4))
    refuses(local_attention, "C3", "pe", x, x, x, np.zeros((4, 4, 4)), heads=2, kernel_size=3)
    refuses(local_attention, "C3", "pe", x, x, x, np.zeros((2, 4, 5)), heads=2, kernel_size=3)


def test_c4_kernel_size_is_odd(refuses):
    x = np.zeros((1, 4, 4, 4))
    refuses(local_attention, "C4", "kernel_size", x, x, x, heads=2, kernel_size=4)


def test_c5_border_is_known(refuses):
    x = np.zeros((1, 4, 4, 4))
    refuses(local_attention, "C5", "border", x, x, x, heads=2, kernel_size=3, border="wrap")


def test_c6_reflection_needs_a_map_larger_than_half_the_window(refuses):
    x = np.zeros((1, 4, 3, 9))
    refuses(local_attention, "C6", "q", x, x, x, heads=2)
    refuses(local_attention, "C6", "kernel_size", x, x, x, heads=2, kernel_size=7)


@pytest.mark.parametrize("scale", [np.inf, np.nan, "0.5", 1j])
def test_c7_scale_is_a_finite_number(refuses, scale):
    x = np.zeros((1, 4, 4, 4))
    refuses(local_attention, "C7", "scale", x, x, x, heads=2, kernel_size=3, scale=scale)
