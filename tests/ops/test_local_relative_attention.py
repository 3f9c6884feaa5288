"""Local relative attention: the standard laws; who is in a window, the limits of the radius (R5), borders, NaN."""

import naive
import numpy as np
import pytest
from drawn import normal, qkv
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import local_relative_attention, relative_attention

JUDGE = {"oracle": naive.local_relative_attention, "oracle_backward": naive.local_relative_attention_backward, "step": "complex"}


@given(cases.strategy("local_relative_attention"))
def test_standard(case):
    check.operator(local_relative_attention, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("local_relative_attention"))
def test_corners(case):
    check.operator(local_relative_attention, case, **JUDGE)


@given(cases.strategy("local_relative_attention"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    with np.errstate(invalid="ignore"):
        check.operator(local_relative_attention, case, only=["special values"])


def attend(*arrays, **config):
    return local_relative_attention.forward(*arrays, **config)[0]


FORM = pytest.mark.parametrize("form", ["pre", "post"])


@FORM
@pytest.mark.parametrize("size", [(3, 4), (1, 5), (4, 4)])
def test_r5_a_window_over_the_whole_grid_is_global_attention(backend, size, form):
    (H, W), radius = size, max(size) - 1
    q, k, v = qkv(2, 2, H * W, 3)
    table = normal(2, 2 * radius + 1, 2 * radius + 1)
    inner = np.ascontiguousarray(table[:, radius - H + 1 : radius + H, radius - W + 1 : radius + W])
    o, cache = local_relative_attention.forward(q, k, v, table, size=size, radius=radius, form=form)
    wanted, whole = relative_attention.forward(q, k, v, inner, size=size, form=form)
    check.assert_close(o, wanted, "o")
    do = normal(*o.shape, seed=4)
    grads, same = local_relative_attention.backward(do, cache), relative_attention.backward(do, whole)
    for name in ("q", "k", "v"):
        check.assert_close(getattr(grads, name), getattr(same, name), f"d{name}", kind="gradient", noise=1e-15)
    dinner = grads.table[:, radius - H + 1 : radius + H, radius - W + 1 : radius + W]
    check.assert_close(dinner, same.table, "dtable", kind="gradient", noise=1e-15)
    assert np.count_nonzero(grads.table) == np.count_nonzero(dinner)


def test_r5_a_window_of_the_token_alone_returns_the_value(backend):
    q, k, v = qkv(2, 2, 12, 3)
    table = normal(2, 1, 1)
    assert (attend(q, k, v, table, size=(3, 4), radius=0) == v).all()
    check.assert_close(attend(q, k, v, table, size=(3, 4), radius=0, form="post"), v * (1 + table[None]), "post")


@FORM
def test_only_keys_within_the_radius_are_seen(backend, form):
    """A value moves the outputs of the tokens around it, and no others."""
    H, W, radius = 5, 6, 1
    q, k, v = qkv(1, 1, H * W, 2)
    table = normal(1, 3, 3)
    changed = v.copy()
    changed[0, 0, 2 * W + 4] += 1
    config = {"size": (H, W), "radius": radius, "form": form}
    moved = attend(q, k, changed, table, **config) != attend(q, k, v, table, **config)
    seen = np.zeros((H, W), bool)
    seen[1:4, 3:6] = True
    assert (moved.any(-1)[0, 0].reshape(H, W) == seen).all()


def test_the_displacement_is_query_minus_key(backend):
    """Alike but for the bias: everyone looks at the key above it, so rows move down by one; the top row has none and takes its mean."""
    v = normal(1, 1, 12, 1)
    zero = np.zeros((1, 1, 12, 1))
    table = np.full((1, 3, 3), -1e3)
    table[0, 2, 1] = 0
    o = attend(zero, zero, v, table, size=(3, 4), radius=1).reshape(3, 4)
    assert (o[1:] == v.reshape(3, 4)[:2]).all()


@FORM
def test_far_from_the_border_it_commutes_with_shifts(backend, form):
    H, W = 6, 7
    q, k, v = qkv(1, 2, H * W, 3)
    table = normal(2, 3, 3)

    def moved(x):
        return np.roll(x.reshape(1, 2, H, W, 3), (1, 1), (2, 3)).reshape(x.shape)

    o = attend(q, k, v, table, size=(H, W), radius=1, form=form).reshape(1, 2, H, W, 3)
    same = attend(*map(moved, (q, k, v)), table, size=(H, W), radius=1, form=form).reshape(o.shape)
    check.assert_close(same[:, :, 2:-1, 2:-1], o[:, :, 1:-2, 1:-2], "o")


@given(cases.strategy("local_relative_attention"))
def test_a_constant_value_is_kept_by_pre(case):
    arguments = {**case.arguments, "v": np.full_like(case.arguments["v"], 2.5)}
    o, cache = local_relative_attention.forward(*arguments.values(), **{**case.config, "form": "pre"})
    check.assert_close(o, np.full_like(o, 2.5), "o", noise=1e-15 * float(np.abs(cache.lse).max(initial=1.0)))


@FORM
def test_nan_stays_in_its_neighbourhood(backend, form):
    H, W = 5, 6
    q, k, v = qkv(1, 1, H * W, 2)
    v[0, 0, 0] = np.nan
    o = attend(q, k, v, normal(1, 3, 3), size=(H, W), radius=1, form=form).reshape(H, W, 2)
    spoilt = np.zeros((H, W), bool)
    spoilt[:2, :2] = True
    assert (np.isnan(o).any(-1) == spoilt).all()


@FORM
def test_a_larger_grid(backend, form):
    """Rows longer than a vector, several blocks of tokens."""
    arrays = {name: normal(2, 2, 17 * 37, width, seed=width) for name, width in (("q", 5), ("k", 5), ("v", 3))}
    config = {"size": (17, 37), "radius": 2, "form": form, "scale": None}
    case = check.Case({**arrays, "table": normal(2, 5, 5)}, config, 3)
    check.operator(local_relative_attention, case, only=["parity", "adjoint", "batch"])


T = np.zeros((2, 3, 3))


def test_c1_queries_keys_and_values_belong_together(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(local_relative_attention, "C1", "q", x[0], x[0], x[0], T, size=(2, 3), radius=1)
    refuses(local_relative_attention, "C1", "k", x, x[..., :3], x, T, size=(2, 3), radius=1)
    refuses(local_relative_attention, "C1", "v", x, x, x[:, :1], T, size=(2, 3), radius=1)


def test_c2_the_grid_holds_the_tokens(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(local_relative_attention, "C2", "size", x, x, x, T, size=(2, 4), radius=1)


def test_c3_the_table_has_every_displacement_of_the_window(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(local_relative_attention, "C3", "table", x, x, x, T[:1], size=(2, 3), radius=1)
    refuses(local_relative_attention, "C3", "radius", x, x, x, T, size=(2, 3), radius=2)
    refuses(local_relative_attention, "C3", "table", x, x, x, T.reshape(2, 9), size=(2, 3), radius=1)


def test_c4_form_is_known(refuses):
    x = np.zeros((1, 2, 6, 4))
    refuses(local_relative_attention, "C4", "form", x, x, x, T, size=(2, 3), radius=1, form="both")


def test_c5_scale_is_a_finite_number(refuses):
    x = np.zeros((1, 2, 6, 4))
    for scale in (np.inf, np.nan, "1"):
        refuses(local_relative_attention, "C5", "scale", x, x, x, T, size=(2, 3), radius=1, scale=scale)
