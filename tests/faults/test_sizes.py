"""Rows 3, 4 and 27: sizes of zero, one and less than the window, every length of a vector's tail, and sums of a million terms."""

from itertools import product

import numpy as np
import pytest
from faults.harness import DTYPES, NAMES, SEED, compiled, operator, pinned, run, wide
from faults.tables import AXES, REFUSED

from pyhybrid import backend as seam
from pyhybrid import check
from pyhybrid.check.close import rounded
from pyhybrid.errors import ConstraintError

needs_core = pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
by_name = pytest.mark.parametrize("name", NAMES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)

FIXED = {"padding": 1, "kernel_size": 3, "kh": 1, "kw": 1, "groups": 1, "heads": 2, "weight": True, "bias": True, "pe": True,
         "kernel": 1, "statistics": True, "conv_p": True,
         "conv_p_bias": True, "fc_bias": True, "dep_conv_bias": True, "k": 3, "axis": -1, "dilation": 1}  # fmt: skip
EXPONENTIAL = ("softmax", "acmix")  # whole numbers there make logits so large that gradients are what cancellation leaves
BORDERS = ("reflect", "zero", "mask")


def zeroed(value):
    """The same with a zero: a number becomes 0, a tuple has a zero in each place in turn."""
    if isinstance(value, tuple):
        return [tuple(0 if m == n else v for m, v in enumerate(value)) for n in range(len(value))]
    return [0]


def positions(name):
    """Every choice of some of the sizes to be zero."""
    options = [[{axis: value}, *({axis: z} for z in zeroed(value))] for axis, value in AXES[name].items() if value != 0]
    for chosen in product(*options):
        pins = {axis: value for part in chosen for axis, value in part.items()}
        zeros = [axis for axis, value in pins.items() if 0 in (value if isinstance(value, tuple) else (value,))]
        if zeros:
            yield zeros, pins


@by_name
def test_row_03_zero_sizes_give_empty_results_or_a_clear_error(name, backend):
    ran = 0
    for n, (zeros, pins) in enumerate(positions(name)):
        borders = {"local_attention": BORDERS, "acmix": BORDERS[n % 3 :][:1]}.get(name, ("zero",))
        for border in borders:
            case = pinned(name, regime="ordinary", border=border, **{**FIXED, **AXES[name], **pins}).astype(DTYPES[n % 2])
            broken = [REFUSED.get(name, {}).get(axis) for axis in zeros]
            labels = [label for label in broken if label and (label != "C6" or border == "reflect")]
            if labels:
                with pytest.raises(ConstraintError) as raised:
                    case.call(operator(name).forward)
                assert any(f"({label}): " in str(raised.value) for label in labels), f"{case}: {raised.value}"
                continue
            got = run(name, case)
            assert got["y"].shape == case.call(operator(name).output_shape) and got["y"].dtype == DTYPES[n % 2]
            assert [key for key in got if key[0] == "d"] == [f"d{argument}" for argument in case.arrays]
            for argument, a in case.arrays.items():
                gradient = got[f"d{argument}"]
                assert gradient.shape == a.shape and gradient.dtype == a.dtype, f"d{argument} of {case}"
                assert got["y"].size or (gradient == 0).all(), f"d{argument} of {case} is not zero although y is empty"
            with seam.use("numpy"):
                wanted = run(name, case)
            # Without input channels some gradients vanish exactly: their rounding is that of the terms which cancel.
            noise = float(np.finfo(got["y"].dtype).eps) * max(float(np.abs(a).max(initial=0.0)) for a in wanted.values())
            for output, expected in wanted.items():
                check.assert_close(got[output], expected, f"{output} of {case}", kind="gradient", noise=noise)
            ran += 1
    assert ran


def test_row_03_no_input_channels_leave_the_bias(backend):
    """The sum over no channel is zero; some libraries return a wrong shape here."""
    bias = np.array([1.0, 2.0, 3.0, 4.0])
    for name, weight in (("conv2d", (4, 0, 1, 1)), ("pointwise_conv", (4, 0, 1, 1))):
        y, cache = operator(name).forward(np.empty((1, 0, 6, 6)), np.empty(weight), bias)
        assert y.shape == (1, 4, 6, 6) and (y == bias[:, None, None]).all()
        assert (operator(name).backward(y, cache).bias == 36 * bias).all()


def agree(name, case, exact):
    """The kernels against the NumPy bodies, forward and backward: ==, or within the judges' bound (noise: what a rounding of x does)."""
    with seam.use("rust"):
        got = run(name, case)
    with seam.use("numpy"):
        expected = run(name, case)
        eps = float(np.finfo(expected["y"].dtype).eps)
        near = [] if exact else [run(name, case.map(lambda a: rounded(a, case.random(n), eps))) for n in (1, 2, 3)]  # noqa: B023
    for output, e in expected.items():
        noise = max((float(np.abs(other[output] - e).max(initial=0.0)) for other in near), default=0.0)
        check.assert_close(got[output], e, f"{output} of {name}, {case}", kind="gradient", exact=exact, noise=noise)


@needs_core
@by_dtype
@by_name
def test_row_04_every_tail_of_a_vector_equals_the_reference(name, dtype):
    """Widths from 1 to 33: whole numbers where the operator is polynomial, so that one wrong entry shows as such."""
    for width in range(1, 34):
        heads = {"heads": 1, "d": 1 + width % 3} if width > 9 else {}
        case = wide(name, width, SEED + width, regime="ordinary" if name in EXPONENTIAL else "whole", **heads).astype(dtype)
        agree(name, case, case.exact)
        if name == "softmax":
            agree(name, pinned(name, SEED + width, regime="ordinary", shape=(3, width), axis=0).astype(dtype), False)


@needs_core
@by_dtype
@pytest.mark.parametrize("name", ["conv2d", "conv_decomposition", "linear", "pointwise_conv", "tap_projection", "shift_conv"])
def test_row_04_every_tail_of_a_tile_of_channels_equals_the_reference(name, dtype):
    for count in range(1, 34):
        channels = {"C": 34 - count, "O": count, "inner": 34 - count, "outer": count, "groups": 1 + count % 2, "d": 1 + count % 2}
        agree(
            name,
            pinned(name, SEED + count, regime="whole", N=1, H=2, W=3, kh=2, kw=1, padding=1, dilation=1, **channels).astype(dtype),
            True,
        )


@needs_core
@pytest.mark.parametrize("name", ["local_attention", "acmix", "conv_path"])
def test_row_04_every_width_of_a_head_equals_the_reference(name):
    for d in range(1, 18):
        case = pinned(name, SEED + d, regime="ordinary", N=1, heads=1 + d % 2, d=d, H=4, W=3, kernel_size=3, pe=True, conv_p=True, k=3)
        agree(name, case, False)


@needs_core
@by_name
def test_row_04_maps_smaller_than_the_window_equal_the_reference(name):
    """Extents from 1 to 4 with windows of 5 and 7; where the border forbids it, the constraint says so."""
    ran = 0
    for n, (H, W) in enumerate(product(range(1, 5), repeat=2)):
        size = 7 if n % 2 else 5
        window = {"kernel_size": size, "kh": min(H + 2, 4), "kw": min(W + 2, 4), "padding": 2, "dilation": 1, "k": 3}
        window |= {"ph": H - 1, "pw": W - 1, "offset": (n - 8, 8 - n)} | ({"kh": H, "kw": W} if name == "unfold" else {})
        pins = {
            "N": 2,
            "H": H,
            "W": W,
            "d": 2,
            "heads": 1,
            "border": "mask" if n % 3 else "zero",
            "size": (H, W),
            "shape": (H, W),
            "axis": 0,
        }
        case = pinned(name, SEED + n, regime="ordinary" if name in EXPONENTIAL else "whole", **pins, **window)
        agree(name, case, case.exact)
        ran += 1
        if "border" in case.config and size // 2 >= min(H, W):
            with pytest.raises(ConstraintError, match=r"local_attention \(C6\)"):
                case.call(lambda *arrays, **config: operator(name).forward(*arrays, **{**config, "border": "reflect"}))
    assert ran == 16


# Rounding.

ROUNDINGS = 4.0  # |error| <= ROUNDINGS · eps · √K · (largest partial sum): errors of K additions that do not all go one way


def growth(terms):
    """The bound for the sum over the last axis of `terms` (float64)."""
    K = terms.shape[-1]
    return ROUNDINGS * np.finfo(np.float32).eps * np.sqrt(K) * np.abs(np.cumsum(terms, -1)).max(-1)


@needs_core
@pytest.mark.parametrize("positive", [False, True], ids=["signed", "positive"])
@pytest.mark.parametrize("K", [16, 1000, 30_000, 1_000_000])
def test_row_27_sums_of_k_products_round_like_the_root_of_k(K, positive):
    """Forward over K channels, gradients over K pixels, in float32 against float64 on the same numbers."""
    random = np.random.default_rng(K)
    a, b = (random.standard_normal((2, K)) if not positive else random.uniform(0.5, 1.5, (2, K))).astype(np.float32)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    side = int(np.sqrt(K))
    plane = (1, 1, side, side)
    with seam.use("rust"):
        for name in ("pointwise_conv", "conv2d", "conv_decomposition"):
            y, _ = operator(name).forward(a.reshape(1, K, 1, 1), b.reshape(1, K, 1, 1))
            assert abs(float(y[0, 0, 0, 0]) - wide_a @ wide_b) <= growth(wide_a * wide_b), f"{name}: y, K = {K}"
        used = side * side
        products, alone = (wide_a * wide_b)[:used], wide_a[:used]
        for name in ("pointwise_conv", "conv2d", "tap_projection"):
            x, dy, bias = b[:used].reshape(plane), a[:used], np.zeros(1, np.float32)
            arguments = (x, np.ones((1, 1, 1, 1), np.float32), bias.reshape(1, 1) if name == "tap_projection" else bias)
            y, cache = operator(name).forward(*arguments)
            grads = operator(name).backward(dy.reshape(y.shape), cache)
            assert abs(float(grads.weight[0, 0, 0, 0]) - products.sum()) <= growth(products), f"{name}: dweight, K = {used}"
            assert abs(float(grads.bias.flat[0]) - alone.sum()) <= growth(alone), f"{name}: dbias, K = {used}"
        pe = operator("positional_term").Cache(np.ones((1, 2, 1, 1), np.float32), np.ones(1, np.float32), (side, side))
        grads = operator("positional_term").backward(a[:used].reshape(1, side, side), pe)
        L = -1 + 2 * np.arange(side) / max(side - 1, 1)
        terms = (alone.reshape(side, side) * L).reshape(-1)
        coordinates = 2 * np.finfo(np.float32).eps * np.abs(terms).sum()  # the coordinates themselves are rounded to float32
        assert abs(float(grads.weight[0, 0, 0, 0]) - terms.sum()) <= growth(terms) + coordinates, f"positional_term: dweight, K = {used}"
        assert abs(float(grads.bias[0]) - alone.sum()) <= growth(alone), f"positional_term: dbias, K = {used}"


@needs_core
@pytest.mark.parametrize("K", [16, 1000, 30_000, 1_000_000])
def test_row_27_softmax_of_long_rows_sums_to_one(K):
    """Weights err by a few eps of themselves, plus the rounding of one sum of K positive terms; the gradient by that of its sum."""
    random = np.random.default_rng(K)
    x, da = (random.standard_normal((1, K)) * 3).astype(np.float32), random.standard_normal((1, K)).astype(np.float32)
    eps = np.finfo(np.float32).eps
    with seam.use("rust"):
        a, cache = operator("softmax").forward(x)
        (dx,) = operator("softmax").backward(da, cache)
    exact, _ = operator("softmax").forward.reference(x.astype(np.float64))
    spread = float(x.max() - x.min())
    relative = np.abs(a - exact).max() / exact.max()
    assert relative <= eps * (4 + spread + ROUNDINGS * np.sqrt(K)), f"K = {K}: {relative / eps} eps"
    (expected,) = operator("softmax").backward.reference(da.astype(np.float64), operator("softmax").Cache(-1, a.astype(np.float64)))
    inner = growth((a.astype(np.float64) * da)[0])
    assert (np.abs(dx - expected) <= a * (inner + 4 * eps * (np.abs(da) + 1))).all(), f"K = {K}"
    assert abs(float(a.astype(np.float64).sum()) - 1) <= ROUNDINGS * eps * np.sqrt(K)


@pytest.mark.skipif(not compiled("local_attention"), reason="local_attention has no compiled kernel")
@pytest.mark.parametrize("window", [3, 11, 31])
def test_row_27_attention_over_large_windows(window):
    """A window of K pixels and d channels: values between the extremes of v, errors of K and of d terms."""
    random = np.random.default_rng(window)
    d = 24
    q, k, v = random.standard_normal((3, 1, d, 17, 18)).astype(np.float32)
    config = {"heads": 1, "kernel_size": window, "border": "reflect"}
    o, cache = operator("local_attention").forward(q, k, v, **config)
    dy = random.standard_normal(o.shape).astype(np.float32)
    grads = operator("local_attention").backward(dy, cache)
    double = [a.astype(np.float64) for a in (q, k, v)]
    expected, exact = operator("local_attention").forward.reference(*double, **config)
    truth = operator("local_attention").backward.reference(dy.astype(np.float64), exact)
    limit = ROUNDINGS * np.finfo(np.float32).eps * (window + np.sqrt(d) * 2)
    for name, got, e in (
        ("o", o, expected),
        ("lse", cache.lse, exact.lse),
        *((f"d{n}", getattr(grads, n), getattr(truth, n)) for n in "qkv"),
    ):
        assert np.abs(got - e).max() <= limit * np.abs(e).max(), (
            f"{name}: {np.abs(got - e).max() / np.abs(e).max()} of the largest, bound {limit}"
        )
