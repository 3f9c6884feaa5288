"""Legal cases beyond the recorded ones are understood: other kernels, strides, sizes, offsets, float32.

The cases are written here from loops over the definitions, or from the project's own NumPy bodies where a loop would
only repeat what `tests/ops` checks; what is tested is that the replay builds the same from names and configuration.
"""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from pyhybrid import backend
from pyhybrid.conformance import replay
from pyhybrid.ops import conv2d, conv_path, local_attention, positional_term
from pyhybrid.papers.acmix import ACmix


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def grid(rng, *shape):
    """Random multiples of 2⁻⁸."""
    return np.round(rng.normal(size=shape) * 256) / 256


@pytest.fixture
def check(tmp_path):
    """check(operator, config, arrays) replays a case made of them on every backend."""

    def replayed(operator, config, arrays):
        meta = {"system": "acmix", "operator": operator, "case": "case", "config": config, "mode": "eval"}
        np.savez(tmp_path / "case.npz", meta=np.array(json.dumps(meta)), **arrays)
        report = replay(tmp_path / "case.npz")
        assert report.passed, str(report)
        assert len(report.rows) == 1 + backend.available()

    return replayed


@pytest.mark.parametrize("offsets", [[[0, 0]], [[2, -3], [-2, 0], [7, 7]], [[-40, 1], [1, 1], [1, 1]]])
def test_shift(check, rng, offsets):
    f, dg = grid(rng, 2, 1, 3, 5), grid(rng, len(offsets), 2, 1, 3, 5)
    g, df = np.zeros_like(dg), np.zeros_like(f)
    for (n, (s, t)), i, j in itertools.product(enumerate(offsets), range(3), range(5)):
        if 0 <= i + s < 3 and 0 <= j + t < 5:
            g[n, ..., i, j] = f[..., i + s, j + t]
            df[..., i + s, j + t] += dg[n, ..., i, j]
    arrays = {"input.f": f, "output.g": g, "cotangent.g": dg, "grad.input.f": df}
    check("shift", {"shape": [2, 1, 3, 5], "offsets": offsets, "boundary": "zero"}, arrays)


@pytest.mark.parametrize(("k", "stride", "H", "W"), [(3, 3, 7, 4), (5, 1, 2, 3), (7, 2, 9, 1), (1, 2, 5, 5)])
def test_conv_decomposition_is_conv2d(check, rng, k, stride, H, W):
    x, weight = grid(rng, 2, 3, H, W), grid(rng, 4, 3, k, k)
    with backend.use("numpy"):
        y, cache = conv2d.forward(x, weight, stride=stride, padding=k // 2)
        dy = grid(rng, *y.shape)
        grads = conv2d.backward(dy, cache)
    config = {"in_channels": 3, "out_channels": 4, "kernel": k, "stride": stride, "padding": k // 2}
    config["shape"] = [2, 3, H, W]
    arrays = {"input.x": x, "param.weight": weight, "output.y": y, "cotangent.y": dy}
    check("conv_decomposition", config, arrays | {"grad.input.x": grads.x, "grad.param.weight": grads.weight})


@pytest.mark.parametrize(("k", "stride", "padding"), [(3, 3, 1), (4, 2, 0), (5, 1, 3), (1, 2, 0)])
def test_reflect_unfold(check, rng, k, stride, padding):
    H, W = 5, 7
    x = grid(rng, 2, 3, H, W)
    Ho, Wo = (H + 2 * padding - k) // stride + 1, (W + 2 * padding - k) // stride + 1
    dU, U, dx = grid(rng, 2, 3, k * k, Ho, Wo), np.zeros((2, 3, k * k, Ho, Wo)), np.zeros_like(x)

    def mirror(t, n):
        return -t if t < 0 else 2 * (n - 1) - t if t >= n else t

    for u, v, i, j in itertools.product(range(k), range(k), range(Ho), range(Wo)):
        a, b = mirror(i * stride + u - padding, H), mirror(j * stride + v - padding, W)
        U[:, :, u * k + v, i, j] = x[:, :, a, b]
        dx[:, :, a, b] += dU[:, :, u * k + v, i, j]
    config = {"shape": [2, 3, H, W], "kernel": k, "stride": stride, "padding": padding}
    check("reflect_unfold", config, {"input.x": x, "output.U": U, "cotangent.U": dU, "grad.input.x": dx})


def test_position(check):
    sizes = [[4, 1], [5, 2], [6, 9], [1, 1]]
    arrays = {}
    for h, w in sizes:
        rows, columns = (np.linspace(-1, 1, n) if n > 1 else np.array([-1.0]) for n in (h, w))
        arrays[f"output.p_{h}x{w}"] = np.stack(np.broadcast_arrays(columns, rows[:, None]))[None]
    check("position", {"sizes": sizes}, arrays)


@pytest.mark.parametrize(("k", "stride", "heads"), [(5, 1, 2), (5, 3, 6), (1, 2, 1), (3, 3, 3)])
def test_conv_path(check, rng, k, stride, heads):
    C, H, W = 6, 5, 7
    q, k_, v = (grid(rng, 2, C, H, W) for _ in range(3))
    fc, dep = grid(rng, k * k, 3 * heads, 1, 1), grid(rng, C, k * k, k, k)
    with backend.use("numpy"):
        y, cache = conv_path.forward(q, k_, v, fc, dep, heads=heads, stride=stride)
        dy = grid(rng, *y.shape)
        grads = conv_path.backward(dy, cache)
    config = {"channels": C, "heads": heads, "kernel_conv": k, "stride": stride, "shape": [2, C, H, W]}
    arrays = {"input.q": q, "input.k": k_, "input.v": v, "param.fc.weight": fc, "param.dep_conv.weight": dep}
    arrays |= {"output.y": y, "cotangent.y": dy}
    arrays |= {"grad.input.q": grads.q, "grad.input.k": grads.k, "grad.input.v": grads.v}
    arrays |= {"grad.param.fc.weight": grads.fc_weight, "grad.param.dep_conv.weight": grads.dep_conv_weight}
    check("conv_path", config, arrays)


@pytest.mark.parametrize(("window", "stride", "positional"), [(1, 2, True), (5, 3, False), (9, 1, True)])
def test_local_attention(check, rng, window, stride, positional):
    C, heads, H, W = 6, 2, 5, 7
    q, k, v = (grid(rng, 1, C, H, W) for _ in range(3))
    arrays = {"input.q": q, "input.k": k, "input.v": v}
    with backend.use("numpy"):
        pe, term = None, None
        if positional:
            weight, bias = grid(rng, C // heads, 2, 1, 1), grid(rng, C // heads)
            arrays |= {"param.conv_p.weight": weight, "param.conv_p.bias": bias}
            pe, term = positional_term.forward(weight, bias, size=(H, W))
        o, cache = local_attention.forward(q, k, v, pe, heads=heads, kernel_size=window, stride=stride)
        do = grid(rng, *o.shape)
        grads = local_attention.backward(do, cache)
        arrays |= {"output.o": o, "cotangent.o": do, "aux.attn": local_attention.weights(cache)}
        arrays |= {"grad.input.q": grads.q, "grad.input.k": grads.k, "grad.input.v": grads.v}
        if positional:
            dweight, dbias = positional_term.backward(grads.pe, term)
            arrays |= {"grad.param.conv_p.weight": dweight, "grad.param.conv_p.bias": dbias}
    config = {"channels": C, "heads": heads, "kernel_att": window, "stride": stride, "shape": [1, C, H, W],
              "positional": positional, "border": "reflect", "scale": "head_dim**-0.5"}
    check("local_attention", config, arrays)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("window", "size", "stride", "heads"), [(3, 5, 3, 1), (1, 1, 1, 3), (7, 3, 2, 2)])
def test_acmix(check, rng, window, size, stride, heads, dtype):
    config = {"in_planes": 5, "out_planes": 6, "kernel_att": window, "head": heads}
    config |= {"kernel_conv": size, "stride": stride}
    layer = ACmix(**config, dtype=dtype, seed=rng)
    x = grid(rng, 2, 5, 5, 7).astype(dtype)
    with backend.use("numpy"):
        y, cache = layer.forward(x)
        dy = grid(rng, *y.shape).astype(dtype)
        dx, grads = layer.backward(dy, cache)
    arrays = {"input.x": x, "output.y": y, "cotangent.y": dy, "grad.input.x": dx}
    arrays |= {f"param.{name}": value for name, value in layer.state_dict().items()}
    arrays |= {f"grad.param.{name}": value for name, value in grads.items()}
    precision = {"dtype": dtype} if dtype == "float32" else {}
    check("acmix", config | {"dilation": 1, "shape": [2, 5, 5, 7]} | precision, arrays)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_acmix_init(check, size):
    shifts = np.zeros((6, size**2, size, size))
    for m in range(size**2):
        shifts[:, m, m // size, m % size] = 1
    config = {"in_planes": 3, "out_planes": 6, "kernel_att": 5, "head": 3, "kernel_conv": size, "stride": 2}
    half = np.array([0.5])
    check("acmix_init", config, {"output.rate1": half, "output.rate2": half, "output.dep_conv.weight": shifts})
