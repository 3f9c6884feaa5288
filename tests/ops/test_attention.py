"""Attention: the standard laws; windows as masked global attention, hidden keys, shared biases, extreme logits and NaN."""

import naive
import numpy as np
import pytest
from drawn import normal, qkv
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import attention, local_attention, relative_bias, softmax, window_partition, window_reverse

JUDGE = {"oracle": naive.attention, "oracle_backward": naive.attention_backward, "step": "complex"}


@given(cases.strategy("attention"))
def test_standard(case):
    check.operator(attention, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("attention"))
def test_corners(case):
    check.operator(attention, case, **JUDGE)


@given(cases.strategy("attention"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    with np.errstate(invalid="ignore"):
        check.operator(attention, case, only=["special values"])


def attend(q, k, v, bias=None, **config):
    return attention.forward(q, k, v, bias, **config)[0]


def gradients(q, k, v, bias=None, **config):
    o, cache = attention.forward(q, k, v, bias, **config)
    return attention.backward(normal(*o.shape, seed=9).astype(o.dtype), cache)


# Attention in windows is attention over the whole map in which a token sees its own window only.


def in_windows(x, size, window):
    """(B, heads, H·W, d) -> (B·nH·nW, heads, wh·ww, d)."""
    B, heads, _, d = x.shape
    tokens = x.transpose(0, 2, 1, 3).reshape(B, *size, heads * d)
    windows, _ = window_partition.forward(tokens, window=window)
    return np.ascontiguousarray(windows.reshape(*windows.shape[:2], heads, d).transpose(0, 2, 1, 3))


def whole(windows, size, window):
    """The inverse of `in_windows`."""
    _, heads, tokens, d = windows.shape
    flat = np.ascontiguousarray(windows.transpose(0, 2, 1, 3)).reshape(len(windows), tokens, heads * d)
    x, _ = window_reverse.forward(flat, window=window, size=size)
    return np.ascontiguousarray(x.reshape(len(x), -1, heads, d).transpose(0, 2, 1, 3))


def mask_of_windows(size, window):
    """0 where two tokens of the map share a window, else -inf."""
    i, j = np.divmod(np.arange(size[0] * size[1]), size[1])
    number = i // window[0] * size[1] + j // window[1]
    return np.where(number[:, None] == number, 0.0, -np.inf)


@pytest.mark.parametrize(("size", "window"), [((4, 6), (2, 3)), ((4, 4), (4, 2)), ((3, 3), (1, 1)), ((2, 5), (2, 5))])
def test_p16_windows_are_masked_global_attention(backend, size, window):
    q, k, v = qkv(2, 3, size[0] * size[1], 2)
    mask = mask_of_windows(size, window)[None, None]
    o, cache = attention.forward(q, k, v, mask)
    parts, part_cache = attention.forward(*(in_windows(x, size, window) for x in (q, k, v)))
    check.assert_close(o, whole(parts, size, window), "o")
    do = normal(*o.shape, seed=4)
    grads, part_grads = attention.backward(do, cache), attention.backward(in_windows(do, size, window), part_cache)
    for name in ("q", "k", "v"):
        check.assert_close(getattr(grads, name), whole(getattr(part_grads, name), size, window), f"d{name}", kind="gradient")


def test_p16_with_a_relative_bias(backend):
    """The bias of displacements inside the window is the bias of the same displacements on the whole map."""
    size, w, heads = (4, 6), 2, 2
    table = normal(7 * 11, heads).reshape(7, 11, heads)
    q, k, v = qkv(1, heads, 24, 3)
    everywhere, _ = relative_bias.forward(table.reshape(-1, heads), size=size)
    inside, _ = relative_bias.forward(np.ascontiguousarray(table[2:5, 4:7]).reshape(-1, heads), size=w)
    o = attend(q, k, v, (everywhere + mask_of_windows(size, (w, w)))[None])
    parts = attend(*(in_windows(x, size, (w, w)) for x in (q, k, v)), inside[None])
    check.assert_close(o, whole(parts, size, (w, w)), "o")


def test_p16_fails_if_a_token_sees_the_next_window(backend):
    q, k, v = qkv(1, 1, 8, 2)
    mask = mask_of_windows((2, 4), (2, 2))
    mask[0, 2] = 0
    parts = attend(*(in_windows(x, (2, 4), (2, 2)) for x in (q, k, v)))
    assert np.abs(attend(q, k, v, mask[None, None]) - whole(parts, (2, 4), (2, 2))).max() > 1e-3


def test_p16_fails_with_the_finite_score_of_the_official_mask(backend):
    """-100 hides a key only while the other scores are far above: not where they are low too."""
    q, k, v = qkv(1, 1, 2, 1)
    q[:], k[:] = 20.0, [[[[-6.0], [1.0]]]]
    hidden, low = np.array([[[[0.0, -np.inf], [-np.inf, 0.0]]]]), np.array([[[[0.0, -100.0], [-100.0, 0.0]]]])
    check.assert_close(attend(q, k, v, hidden), v, "o")
    assert np.abs(attend(q, k, v, low) - v).max() > 1e-3


# Meaning.


def test_it_is_a_softmax_between_two_products(backend):
    q, k, v = normal(2, 3, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 6)
    bias = normal(2, 3, 5, 7)
    a, _ = softmax.forward(np.einsum("bntc,bnuc->bntu", q, k) / 2 + bias)
    check.assert_close(attend(q, k, v, bias), np.einsum("bntu,bnuc->bntc", a, v), "o")


def test_one_window_over_the_whole_map_is_local_attention_without_a_border(backend):
    q, k, v = qkv(2, 6, 3, 4)
    tokens = [np.ascontiguousarray(x.reshape(2, 2, 3, 12).swapaxes(2, 3)) for x in (q, k, v)]
    o, _ = local_attention.forward(q, k, v, heads=2, kernel_size=7, border="mask")
    check.assert_close(attend(*tokens).swapaxes(2, 3).reshape(o.shape), o, "o")


@given(cases.strategy("attention"))
def test_weights_are_positive_and_sum_to_one(case):
    o, cache = case.call(attention.forward)
    a = attention.weights(cache)
    assert (a >= 0).all() and a.shape == (*o.shape[:3], case.arrays["k"].shape[2])
    noise = 1e-16 * float(np.abs(cache.lse).max(initial=0.0))
    check.assert_close(a.sum(-1), np.ones(a.shape[:3]), "sum", noise=noise)
    check.assert_close(a @ case.arrays["v"], o, "o", noise=noise * float(np.abs(case.arrays["v"]).max(initial=0.0)))


@given(cases.strategy("attention"))
def test_the_order_of_the_keys_does_not_matter(case):
    q, k, v, bias = case.arguments.values()
    order = case.random(1).permutation(k.shape[2])
    moved = attend(q, k[:, :, order], v[:, :, order], None if bias is None else bias[..., order], **case.config)
    o, cache = case.call(attention.forward)
    check.assert_close(moved, o, "o", noise=1e-16 * float(np.abs(cache.lse).max(initial=0.0) * np.abs(v).max(initial=0.0)))


def test_entry_b_reads_bias_b_mod_p(backend):
    q, k, v = qkv(6, 2, 3, 4)
    bias = normal(3, 2, 3, 3)
    o = attend(q, k, v, bias)
    for b in range(6):
        alone = attend(q[b : b + 1], k[b : b + 1], v[b : b + 1], bias[b % 3 : b % 3 + 1])
        check.assert_close(o[b : b + 1], alone, f"entry {b}")


@pytest.mark.parametrize(("period", "own"), [(1, False), (1, True), (2, False), (2, True), (4, True)])
def test_the_gradient_of_a_shared_bias_is_the_sum_over_those_who_read_it(backend, period, own):
    q, k, v = qkv(4, 3, 5, 2)
    bias = normal(period, 3 if own else 1, 5, 5)
    separate = np.ascontiguousarray(np.broadcast_to(np.tile(bias, (4 // period, 1, 1, 1)), (4, 3, 5, 5)))
    each = gradients(q, k, v, separate)
    shared = gradients(q, k, v, bias)
    wanted = each.bias.reshape(4 // period, period, 3, 5, 5).sum(0)
    check.assert_close(shared.bias, wanted if own else wanted.sum(1, keepdims=True), "dbias", kind="gradient", noise=1e-15)
    for name in ("q", "k", "v"):
        check.assert_close(getattr(shared, name), getattr(each, name), f"d{name}", kind="gradient")


def test_a_number_added_to_all_scores_of_a_query_changes_nothing(backend):
    q, k, v = qkv(2, 2, 5, 3)
    bias = normal(1, 2, 5, 5)
    constant = normal(1, 2, 5, 1, seed=5)
    check.assert_close(attend(q, k, v, bias + constant), attend(q, k, v, bias), "o", noise=1e-15)
    dbias = gradients(q, k, v, bias).bias
    check.assert_close(dbias.sum(-1), np.zeros((1, 2, 5)), "sum of dbias", noise=1e-15)


def test_scale_replaces_the_root_of_the_width(backend):
    q, k, v = qkv(1, 2, 5, 4)
    check.assert_close(attend(q, k, v, scale=0.5), attend(q, k, v), "o")
    check.assert_close(attend(q * 0.5, k, v, scale=1), attend(q, k, v), "o")


def test_lse_is_the_log_of_the_sum_of_exponentials(backend):
    q, k, v = np.zeros((1, 1, 2, 3)), np.ones((1, 1, 5, 3)), np.ones((1, 1, 5, 1))
    _, cache = attention.forward(q, k, v, np.full((1, 1, 2, 5), 1000.0))
    check.assert_close(cache.lse, np.full((1, 1, 2), 1000 + np.log(5)), "lse")


# Hidden keys, extreme scores, NaN.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_hidden_key_is_a_key_that_is_not_there(backend, dtype):
    q, k, v = (x.astype(dtype) for x in qkv(2, 3, 6, 4))
    seen, bias = [0, 2, 5], np.full((1, 1, 6, 6), -np.inf, dtype)
    bias[..., seen] = 0
    fewer = [np.ascontiguousarray(x[:, :, seen]) for x in (k, v)]
    check.assert_close(attend(q, k, v, bias), attend(q, *fewer), "o")
    grads, wanted = gradients(q, k, v, bias), gradients(q, *fewer)
    assert all(np.isfinite(g).all() for g in grads) and not grads.bias[..., [1, 3, 4]].any()
    assert not grads.k[:, :, [1, 3, 4]].any() and not grads.v[:, :, [1, 3, 4]].any()
    for name in ("k", "v"):
        check.assert_close(getattr(grads, name)[:, :, seen], getattr(wanted, name), f"d{name}", kind="gradient")
    check.assert_close(grads.q, wanted.q, "dq", kind="gradient")


@pytest.mark.parametrize("keys", [1, 7, 40])
def test_a_query_whose_keys_are_all_hidden_is_nan_and_alone_so(backend, keys):
    q, k, v = normal(1, 2, 3, 4), normal(1, 2, keys, 4), normal(1, 2, keys, 5)
    bias = np.zeros((1, 1, 3, keys))
    bias[:, :, 1] = -np.inf
    with np.errstate(invalid="ignore"):
        o, cache = attention.forward(q, k, v, bias)
    assert np.isnan(o[:, :, 1]).all() and np.isfinite(o[:, :, [0, 2]]).all()
    assert np.isnan(cache.lse[:, :, 1]).all() and np.isfinite(cache.lse[:, :, [0, 2]]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("keys", [5, 70])
def test_scores_in_the_thousands_stay_finite(backend, dtype, keys):
    q, k, v = (x.astype(dtype) for x in (60 * normal(1, 2, 6, 3), 60 * normal(1, 2, keys, 3), normal(1, 2, keys, 3)))
    o, cache = attention.forward(q, k, v)
    assert np.abs(cache.lse).max() > 2000
    assert all(np.isfinite(a).all() for a in (o, cache.lse, *attention.backward(o, cache)[:3]))
    wanted = naive.attention(*(x.astype(np.float64) for x in (q, k, v)))
    check.assert_close(o.astype(np.float64), wanted, "o", noise=2000 * np.finfo(dtype).eps)


def test_a_nan_key_spoils_its_head_and_a_nan_query_its_row(backend):
    q, k, v = qkv(2, 2, 5, 3)
    q[0, 1, 2, 0] = k[1, 0, 4, 1] = np.nan
    bad = np.zeros((2, 2, 5), bool)
    bad[0, 1, 2] = bad[1, 0] = True
    assert (np.isnan(attend(q, k, v)) == bad[..., None]).all()


def test_many_keys_and_queries(backend):
    """More than any tile holds."""
    q, k, v = normal(1, 1, 70, 3), normal(1, 1, 1300, 3), normal(1, 1, 1300, 2)
    bias = normal(1, 1, 70, 1300)
    case = check.Case({"q": q, "k": k, "v": v, "bias": bias}, {"scale": None}, 3)
    check.operator(attention, case, only=["parity", "adjoint"])
    a, _ = softmax.forward(q[0, 0] @ k[0, 0].T / np.sqrt(3) + bias[0, 0])
    check.assert_close(attend(q, k, v, bias)[0, 0], a @ v[0, 0], "o")


# Constraints.


def test_c1_queries_keys_and_values_belong_together(refuses):
    x = np.zeros((2, 3, 4, 5))
    refuses(attention, "C1", "q", x[0], x[0], x[0])
    refuses(attention, "C1", "k", x, np.zeros((2, 3, 4, 6)), x)
    refuses(attention, "C1", "k", x, np.zeros((2, 1, 4, 5)), x)
    refuses(attention, "C1", "v", x, x, np.zeros((2, 3, 5, 5)))
    refuses(attention, "C1", "v", x, x, np.zeros((1, 3, 4, 5)))


def test_c2_there_is_a_key(refuses):
    refuses(attention, "C2", "k", np.zeros((2, 3, 4, 5)), np.zeros((2, 3, 0, 5)), np.zeros((2, 3, 0, 5)))


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (0, 2, 3, 3), (4, 3, 3, 3), (4, 2, 3, 4), (4, 2, 1, 3), (2, 3, 3)])
def test_c3_the_bias_fits_the_scores(refuses, shape):
    x = np.zeros((4, 2, 3, 5))
    refuses(attention, "C3", "bias", x, x, x, np.zeros(shape))


@pytest.mark.parametrize("scale", [np.inf, np.nan, "0.5", 1j])
def test_c4_scale_is_a_finite_number(refuses, scale):
    x = np.zeros((4, 2, 3, 5))
    refuses(attention, "C4", "scale", x, x, x, scale=scale)
