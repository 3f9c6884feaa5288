"""Relative attention: the standard laws; between convolution and attention (R1-R4), symmetries (R6-R8), zeros (Z1, Z2, Z4), NaN."""

import naive
import numpy as np
import pytest
from drawn import normal, qkv
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import attention, conv2d, local_relative_attention, relative_attention, relative_bias

JUDGE = {"oracle": naive.relative_attention, "oracle_backward": naive.relative_attention_backward, "step": "complex"}


@given(cases.strategy("relative_attention"))
def test_standard(case):
    check.operator(relative_attention, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("relative_attention"))
def test_corners(case):
    check.operator(relative_attention, case, **JUDGE)


@given(cases.strategy("relative_attention"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    with np.errstate(invalid="ignore"):
        check.operator(relative_attention, case, only=["special values"])


def attend(*arrays, **config):
    return relative_attention.forward(*arrays, **config)[0]


def gradients(*arrays, **config):
    o, cache = relative_attention.forward(*arrays, **config)
    return relative_attention.backward(normal(*o.shape, seed=9).astype(o.dtype), cache)


FORM = pytest.mark.parametrize("form", ["pre", "post"])
GRIDS = [(3, 5), (1, 6), (4, 1)]


def table_for(heads, size):
    return normal(heads, 2 * size[0] - 1, 2 * size[1] - 1)


def convolve(v, kernel, size):
    """The zero-padded depthwise convolution of tokens v (B, heads, N, e) by the kernel of each head, (heads, 2H-1, 2W-1)."""
    (B, heads, N, e), (H, W) = v.shape, size
    maps = v.swapaxes(2, 3).reshape(B, heads * e, H, W)
    weight = np.repeat(kernel[:, ::-1, ::-1], e, axis=0)[:, None]     # a convolution reads its kernel backwards
    y, _ = conv2d.forward(*map(np.ascontiguousarray, (maps, weight)), padding=(H - 1, W - 1), groups=heads * e)
    return y.reshape(B, heads, e, N).swapaxes(2, 3)


# Where it lies between convolution and attention.


@pytest.mark.parametrize("constant", [0.0, 1.5])
def test_r1_a_constant_bias_is_plain_attention(backend, constant):
    q, k, v = qkv(2, 3, 15, 4)
    plain, _ = attention.forward(q, k, v)
    table = np.full((3, 5, 9), constant)
    check.assert_close(attend(q, k, v, table, size=(3, 5)), plain, "pre")
    added = attend(q, k, v, table, size=(3, 5), form="post")
    check.assert_close(added, plain + constant * v.sum(2, keepdims=True), "post")


@given(cases.strategy("relative_attention"))
def test_the_form_pre_is_attention_with_a_relative_bias(case):
    q, k, v, table = case.arguments.values()
    size, sign, scale = (case.config[name] for name in ("size", "sign", "scale"))
    rows = table if sign == "query - key" else table[:, ::-1, ::-1]
    flat = np.ascontiguousarray(rows.reshape(len(table), table.shape[1] * table.shape[2]).T)
    bias, _ = relative_bias.forward(flat, size=size)
    plain, cache = attention.forward(q, k, v, bias[None] if len(table) else None, scale=scale)
    o = attend(q, k, v, table, **{**case.config, "form": "pre"})
    check.assert_close(o, plain, "o", noise=1e-16 * float(np.abs(cache.lse).max(initial=0.0) * np.abs(v).max(initial=0.0)))


@pytest.mark.parametrize("size", GRIDS)
def test_r2_constant_content_is_a_normalised_convolution(backend, size):
    N = size[0] * size[1]
    _, _, v = qkv(2, 3, N, 4)
    table, zero = table_for(3, size), np.zeros((2, 3, N, 4))
    static = convolve(v, np.exp(table), size) / convolve(np.ones((2, 3, N, 1)), np.exp(table), size)
    check.assert_close(attend(zero, zero, v, table, size=size), static, "o", noise=1e-15)


def test_r2_fails_for_the_kernel_the_other_way_round(backend):
    _, _, v = qkv(1, 1, 15, 2)
    table, zero = table_for(1, (3, 5)), np.zeros((1, 1, 15, 2))
    flipped = np.exp(table[:, ::-1, ::-1])
    static = convolve(v, flipped, (3, 5)) / convolve(np.ones((1, 1, 15, 1)), flipped, (3, 5))
    assert np.abs(attend(zero, zero, v, table, size=(3, 5)) - static).max() > 1e-2


@pytest.mark.parametrize("size", GRIDS)
def test_r4_the_form_post_is_attention_plus_convolution(backend, size):
    q, k, v = qkv(2, 3, size[0] * size[1], 4)
    table = table_for(3, size)
    plain, _ = attention.forward(q, k, v)
    check.assert_close(attend(q, k, v, table, size=size, form="post"), plain + convolve(v, table, size), "o", noise=1e-15)


def test_r4_a_depthwise_convolution_is_post_attention_with_one_channel_per_head(backend):
    """Any 3x3 kernel, signs free: the mean that content without meaning takes is subtracted from the table."""
    (H, W), C = (4, 5), 3
    kernel = np.zeros((C, 2 * H - 1, 2 * W - 1))
    kernel[:, H - 2 : H + 1, W - 2 : W + 1] = normal(C, 3, 3)
    x = normal(2, C, H, W)
    tokens, zero = x.reshape(2, C, H * W, 1), np.zeros((2, C, H * W, 1))
    o = attend(zero, zero, tokens, kernel - 1 / (H * W), size=(H, W), form="post")
    weight = np.ascontiguousarray(kernel[:, H - 2 : H + 1, W - 2 : W + 1][:, None, ::-1, ::-1])
    wanted, _ = conv2d.forward(x, weight, padding=1, groups=C)
    check.assert_close(o.reshape(x.shape), wanted, "o", noise=1e-15)


@FORM
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_r5_hiding_far_keys_is_local_attention(backend, radius, form):
    """By -∞ for "pre"; the table of "post" has no say in who is seen, so there the window must hold the grid."""
    size = (4, 5)
    q, k, v = qkv(2, 2, 20, 3)
    radius = radius if form == "pre" else 4
    table = normal(2, 2 * radius + 1, 2 * radius + 1)
    wide = np.pad(table, [(0, 0), (4, 4), (4, 4)], constant_values=-np.inf)
    i, j = radius + 4, radius + 4
    whole = np.ascontiguousarray(wide[:, i - 3 : i + 4, j - 4 : j + 5])
    near, _ = local_relative_attention.forward(q, k, v, table, size=size, radius=radius, form=form)
    check.assert_close(attend(q, k, v, whole, size=size, form=form), near, "o")
    if form == "pre" and radius == 0:
        check.assert_close(near, v, "only itself")


# Symmetries.


@FORM
def test_r6_on_a_torus_it_commutes_with_circular_shifts(backend, form):
    H, W = 3, 4
    period = normal(2, H, W)
    table = np.stack([[period[:, a % H, b % W] for b in range(1 - W, W)] for a in range(1 - H, H)]).transpose(2, 0, 1)
    q, k, v = qkv(1, 2, H * W, 3)

    def rolled(x):
        return np.roll(x.reshape(1, 2, H, W, 3), (1, 2), (2, 3)).reshape(x.shape)

    table = np.ascontiguousarray(table)
    o = attend(q, k, v, table, size=(H, W), form=form)
    check.assert_close(attend(*map(rolled, (q, k, v)), table, size=(H, W), form=form), rolled(o), "o", noise=1e-15)
    generic = table_for(2, (H, W))
    apart = attend(*map(rolled, (q, k, v)), generic, size=(H, W), form=form) - rolled(attend(q, k, v, generic, size=(H, W), form=form))
    assert np.abs(apart).max() > 1e-2


@FORM
def test_r6_it_commutes_with_flips_and_the_transpose_of_grid_and_table(backend, form):
    H, W = 3, 4
    arrays, table = qkv(1, 2, H * W, 3), table_for(2, (H, W))

    def flipped(x):
        return np.ascontiguousarray(x.reshape(1, 2, H, W, 3)[:, :, ::-1]).reshape(x.shape)

    def turned(x):
        return np.ascontiguousarray(x.reshape(1, 2, H, W, 3).swapaxes(2, 3)).reshape(x.shape)

    o = attend(*arrays, table, size=(H, W), form=form)
    over = attend(*map(flipped, arrays), np.ascontiguousarray(table[:, ::-1]), size=(H, W), form=form)
    check.assert_close(over, flipped(o), "flipped", noise=1e-15)
    across = attend(*map(turned, arrays), np.ascontiguousarray(table.swapaxes(1, 2)), size=(W, H), form=form)
    check.assert_close(across, turned(o), "transposed", noise=1e-15)


@FORM
def test_i1_the_other_sign_is_the_table_from_its_end(backend, form):
    q, k, v = qkv(2, 3, 15, 4)
    table = table_for(3, (3, 5))
    flipped = np.ascontiguousarray(table[:, ::-1, ::-1])
    o = attend(q, k, v, table, size=(3, 5), form=form, sign="key - query")
    assert (o == attend(q, k, v, flipped, size=(3, 5), form=form)).all()
    assert (relative_attention.index((3, 5), "key - query") == relative_attention.index((3, 5), "query - key").T).all()


@FORM
@given(case=cases.strategy("relative_attention"))
def test_r7_rows_of_the_weights(form, case):
    _, cache = case.call(relative_attention.forward)
    cache = cache._replace(form="post")
    m, b = relative_attention.weights(cache), relative_attention.bias(cache.table, cache.size, cache.sign)
    sums = 1 + b.sum(-1) if form == "post" else np.ones(b.shape[:2])
    if form == "pre":
        m = m - b
    noise = 1e-15 * float(np.abs(cache.lse).max(initial=1.0) + np.abs(b).max(initial=0.0) * b.shape[-1])
    check.assert_close(m.sum(-1), np.broadcast_to(sums, m.shape[:3]), "sum", noise=noise)


def test_r8_a_constant_added_to_the_table_of_a_head_changes_nothing(backend):
    q, k, v = qkv(2, 3, 12, 4)
    table = table_for(3, (3, 4))
    moved = table + np.array([1.0, -2.0, 0.5])[:, None, None]
    check.assert_close(attend(q, k, v, moved, size=(3, 4)), attend(q, k, v, table, size=(3, 4)), "o", noise=1e-15)


@pytest.mark.parametrize("form", ["pre", "post"])
def test_the_raw_form_of_the_paper(backend, form):
    """Eq. (3) on x itself: one head, scale 1, and the gradient of x is the sum of the three."""
    x, w = normal(2, 15, 3), normal(5, 9)
    offsets = relative_attention.index((3, 5), "query - key")
    S = x @ x.swapaxes(1, 2)
    e = np.exp(S + (w.reshape(-1)[offsets] if form == "pre" else 0))
    A = e / e.sum(-1, keepdims=True)
    M = A + w.reshape(-1)[offsets] if form == "post" else A
    tokens = x[:, None]
    o, cache = relative_attention.forward(tokens, tokens, tokens, w[None], size=(3, 5), form=form, scale=1)
    check.assert_close(o[:, 0], M @ x, "Y", noise=1e-15)
    dY = normal(2, 15, 3, seed=4)
    dM = dY @ x.swapaxes(1, 2)
    dS = A * (dM - (dM * A).sum(-1, keepdims=True))
    grads = relative_attention.backward(dY[:, None], cache)
    dX = M.swapaxes(1, 2) @ dY + dS @ x + dS.swapaxes(1, 2) @ x
    check.assert_close((grads.q + grads.k + grads.v)[:, 0], dX, "dX", kind="gradient", noise=1e-15)


# Gradients that are zero.


@FORM
def test_z1_z2_what_a_softmax_does_not_see_has_no_gradient(backend, form):
    q, k, v = qkv(2, 3, 12, 4)
    grads = gradients(q, k, v, table_for(3, (3, 4)), size=(3, 4), form=form)
    if form == "pre":
        check.assert_close(grads.table.sum((1, 2)), np.zeros(3), "sum of dtable", noise=1e-14)
    check.assert_close(grads.k.sum(2), np.zeros((2, 3, 4)), "gradient of a bias of the keys", noise=1e-14)


@FORM
def test_z4_on_a_grid_of_one_token_there_is_nothing_to_choose(backend, form):
    q, k, v = qkv(2, 3, 1, 4)
    table = normal(3, 1, 1)
    grads = gradients(q, k, v, table, size=1, form=form)
    assert not grads.q.any() and not grads.k.any()
    assert grads.table.any() == (form == "post")
    check.assert_close(attend(q, k, v, table, size=1, form=form), v * (1 + (table[None] if form == "post" else 0)), "o")


# Extreme scores, NaN, sizes.


@FORM
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_in_the_thousands_stay_finite(backend, dtype, form):
    q, k, v = qkv(1, 2, 40, 3)
    q, k, v, table = (x.astype(dtype) for x in (60 * q, 60 * k, v, table_for(2, (5, 8))))
    o, cache = relative_attention.forward(q, k, v, table, size=(5, 8), form=form)
    assert np.abs(cache.lse).max() > 2000
    assert all(np.isfinite(a).all() for a in (o, cache.lse, *relative_attention.backward(o, cache)))
    wanted = naive.relative_attention(*(x.astype(np.float64) for x in (q, k, v, table)), size=(5, 8), form=form)
    check.assert_close(o.astype(np.float64), wanted, "o", noise=4000 * np.finfo(dtype).eps)


@FORM
def test_a_nan_key_spoils_its_head_and_a_nan_query_its_row(backend, form):
    q, k, v = qkv(2, 2, 6, 3)
    q[0, 1, 2, 0] = k[1, 0, 4, 1] = np.nan
    bad = np.zeros((2, 2, 6), bool)
    bad[0, 1, 2] = bad[1, 0] = True
    assert (np.isnan(attend(q, k, v, table_for(2, (2, 3)), size=(2, 3), form=form)) == bad[..., None]).all()


@FORM
@pytest.mark.parametrize("size", [(17, 19), (1, 300), (130, 2)])
def test_many_tokens(backend, size, form):
    """More than any tile holds, in rows shorter and longer than a vector."""
    q, k, v = (normal(1, 2, size[0] * size[1], d, seed=d) for d in (5, 5, 3))
    config = {"size": size, "form": form, "sign": "key - query", "scale": None}
    case = check.Case({"q": q, "k": k, "v": v, "table": table_for(2, size)}, config, 3)
    check.operator(relative_attention, case, only=["parity", "adjoint"])


# Constraints.

T = np.zeros((2, 3, 5))


def test_c1_queries_keys_and_values_belong_together(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(relative_attention, "C1", "q", x[0], x[0], x[0], T, size=(2, 3))
    refuses(relative_attention, "C1", "k", x, x[..., :3], x, T, size=(2, 3))
    refuses(relative_attention, "C1", "v", x, x, x[:, :1], T, size=(2, 3))


def test_c2_the_grid_holds_the_tokens(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(relative_attention, "C2", "size", x, x, x, T, size=(2, 4))


def test_c3_the_table_has_every_displacement(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(relative_attention, "C3", "table", x, x, x, T[:1], size=(2, 3))
    refuses(relative_attention, "C3", "table", x, x, x, T.swapaxes(1, 2), size=(2, 3))
    refuses(relative_attention, "C3", "table", x, x, x, T.reshape(2, 15), size=(2, 3))


def test_c4_form_and_sign_are_known(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(relative_attention, "C4", "form", x, x, x, T, size=(2, 3), form="both")
    refuses(relative_attention, "C4", "sign", x, x, x, T, size=(2, 3), sign="key-query")
    refuses(relative_attention, "C4", "form", x, x, x, T, size=(2, 3), form=None)


def test_c5_scale_is_a_finite_number(refuses):
    x = np.zeros((1, 2, 6, 4))
    for scale in (np.inf, np.nan, "1"):
        refuses(relative_attention, "C5", "scale", x, x, x, T, size=(2, 3), scale=scale)
