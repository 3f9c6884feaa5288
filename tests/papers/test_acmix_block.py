"""The ACmix layer: official names, start values, gradients, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyhybrid import backend
from pyhybrid.nn import StateDictError
from pyhybrid.papers.acmix import ACmix

GOLDEN = Path(__file__).parents[1] / "golden" / "acmix"
SMALL = dict(in_planes=3, out_planes=4, kernel_att=3, head=2)
OFFICIAL = {
    "rate1": (1,), "rate2": (1,), "conv1.weight": (8, 6, 1, 1), "conv1.bias": (8,), "conv2.weight": (8, 6, 1, 1),
    "conv2.bias": (8,), "conv3.weight": (8, 6, 1, 1), "conv3.bias": (8,), "conv_p.weight": (4, 2, 1, 1),
    "conv_p.bias": (4,), "fc.weight": (9, 6, 1, 1), "dep_conv.weight": (8, 9, 3, 3),
}  # fmt: skip


@pytest.fixture(params=["numpy", "rust"])
def on_backend(request):
    if request.param == "rust" and not backend.available():
        pytest.skip("no compiled core")
    with backend.use(request.param):
        yield


def random_layer(rng, **options):
    """A layer without zeros and ones among its parameters, which would hide errors."""
    layer = ACmix(**{**SMALL, **options})
    layer.load_state_dict({name: rng.normal(size=value.shape) for name, value in layer.state_dict().items()})
    return layer


def test_official_names_and_shapes():
    layer = ACmix(6, 8, 7, 2)
    assert {name: value.shape for name, value in layer.state_dict().items()} == OFFICIAL
    assert not layer.buffers


@pytest.mark.parametrize(("C_in", "C", "heads", "k"), [(64, 64, 4, 3), (5, 6, 3, 3), (3, 8, 1, 5), (1, 2, 2, 1)])
def test_parameter_count(C_in, C, heads, k):
    expected = 3 * C * (C_in + 1) + 3 * (C // heads) + 3 * heads * k**2 + k**4 * C + 2
    assert ACmix(C_in, C, 7, heads, k).parameter_count() == expected


def test_parameter_count_of_the_official_default():
    assert ACmix(64, 64).parameter_count() == 17_822


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("acmix_k*.npz")), ids=lambda file: file.stem)
def test_recorded_block(file, on_backend):
    with np.load(file) as case:
        config = json.loads(str(case["meta"]))["config"]
        arguments = {name: config[name] for name in ("in_planes", "out_planes", "kernel_att", "head", "stride")}
        layer = ACmix(**arguments, dtype=config.get("dtype", "float64"))
        layer.load_state_dict({name[6:]: case[name] for name in case.files if name.startswith("param.")})
        y, cache = layer.forward(case["input.x"])
        dx, grads = layer.backward(case["cotangent.y"], cache)
        single = y.dtype == np.float32
        near = {"rtol": 0, "atol": 2e-4 * 60 if single else 1e-10 * 60}
        np.testing.assert_allclose(y, case["output.y"], **near)
        np.testing.assert_allclose(dx, case["grad.input.x"], **near)
        assert set(grads) == {name[11:] for name in case.files if name.startswith("grad.param.")}
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, case[f"grad.param.{name}"], err_msg=name, **near)
            assert grad.dtype == y.dtype


def test_start_values():
    layer = ACmix(6, 8, 7, 2, seed=3)
    assert layer.params["rate1"] == layer.params["rate2"] == 0.5
    for o in range(8):
        for m in range(9):
            kernel = layer.params["dep_conv.weight"][o, m]
            assert kernel.sum() == 1 and kernel[m // 3, m % 3] == 1
    for name, fan_in in {"conv1": 6, "conv2": 6, "conv3": 6, "conv_p": 2, "fc": 6}.items():
        for leaf in ("weight", "bias"):
            values = layer.params.get(f"{name}.{leaf}", np.zeros(1))
            assert np.abs(values).max() <= fan_in**-0.5
        assert np.abs(layer.params[f"{name}.weight"]).max() > 0.6 * fan_in**-0.5
        assert len(np.unique(layer.params[f"{name}.weight"])) == layer.params[f"{name}.weight"].size


def test_seed_makes_the_weights():
    def weight(seed):
        return ACmix(**SMALL, seed=seed).params["conv1.weight"]

    assert (weight(1) == weight(1)).all() and (weight(1) != weight(2)).all()
    rng = np.random.default_rng(1)
    assert (weight(rng) == weight(1)).all() and (weight(rng) != weight(1)).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"positional": False, "border": "zero"},
        {"conv_channel_order": "head_major", "border": "mask"},
        {"dep_conv_bias": True, "kernel_conv": 5},
    ],
    ids=str,
)
def test_gradients_by_central_differences(options, on_backend):
    """<dy, (y(p + h u) - y(p - h u)) / 2h> must be <dp, u> for x and every parameter, u a random direction."""
    rng = np.random.default_rng(5)
    layer = random_layer(rng, **options)
    x = rng.normal(size=(2, 3, 5, 4))
    y, cache = layer.forward(x)
    dy = rng.normal(size=y.shape)
    dx, grads = layer.backward(dy, cache)
    assert list(grads) == list(layer.params)
    h, state = 1e-6, layer.state_dict()

    def along(name, u, step):
        layer.load_state_dict(state if name == "x" else state | {name: state[name] + step * u})
        return layer.forward(x + step * u if name == "x" else x)[0]

    largest = max(np.abs(g).max() for g in (dx, *grads.values()))
    for name, grad in {"x": dx, **grads}.items():
        u = rng.normal(size=grad.shape)
        slope = (dy * (along(name, u, h) - along(name, u, -h))).sum() / (2 * h)
        assert abs(slope - (grad * u).sum()) <= 1e-7 * largest * grad.size, name


def test_a_layer_used_twice_keeps_two_caches(on_backend):
    rng = np.random.default_rng(6)
    layer = random_layer(rng)
    xs = rng.normal(size=(2, 1, 3, 5, 4))
    (y0, cache0), (_, cache1) = layer.forward(xs[0]), layer.forward(xs[1])
    dy = rng.normal(size=y0.shape)
    alone = layer.backward(dy, layer.forward(xs[0])[1])
    layer.backward(dy, cache1)
    assert (layer.backward(dy, cache0)[0] == alone[0]).all()


def test_loading_does_not_reach_a_cache_made_before(on_backend):
    rng = np.random.default_rng(8)
    layer = random_layer(rng)
    y, cache = layer.forward(rng.normal(size=(1, 3, 5, 4)))
    before = layer.backward(y, cache)[0]
    layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()})
    assert (layer.backward(y, cache)[0] == before).all()


def test_stride_is_subsampling(on_backend):
    rng = np.random.default_rng(9)
    layer = random_layer(rng)
    strided = ACmix(**SMALL, stride=3)
    strided.load_state_dict(layer.state_dict())
    x = rng.normal(size=(2, 3, 5, 7))
    np.testing.assert_allclose(strided.forward(x)[0], layer.forward(x)[0][..., ::3, ::3], rtol=0, atol=1e-13)


def test_rates_choose_the_path(on_backend):
    rng = np.random.default_rng(10)
    layer = random_layer(rng)
    state, x = layer.state_dict(), rng.normal(size=(1, 3, 5, 4))

    def with_rates(attention, convolution):
        layer.load_state_dict(state | {"rate1": np.array([attention]), "rate2": np.array([convolution])})
        return layer.forward(x)[0]

    mixed = 2 * with_rates(1.0, 0.0) - 3 * with_rates(0.0, 1.0)
    np.testing.assert_allclose(with_rates(2.0, -3.0), mixed, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dilation": 2}, ValueError, "dilation must be 1"),
        ({"kernel_att": 4}, ValueError, "kernel_att must be odd"),
        ({"kernel_conv": 2}, ValueError, "kernel_conv must be odd"),
        ({"head": 3}, ValueError, "out_planes must be divisible by head = 3; got 4"),
        ({"head": 0}, ValueError, "head"),
        ({"in_planes": 0}, ValueError, "in_planes"),
        ({"kernel_att": 3.0}, TypeError, "kernel_att"),
        ({"stride": 0}, ValueError, "stride"),
        ({"border": "wrap"}, ValueError, "border must be one of"),
        ({"conv_channel_order": "paper"}, ValueError, "conv_channel_order must be one of"),
        ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64"),
        ({"dtype": int}, ValueError, "dtype must be float32 or float64"),
    ],
    ids=str,
)
def test_refused(options, error, words):
    with pytest.raises(error, match=words):
        ACmix(**{**SMALL, **options})


def test_map_smaller_than_the_reflection_needs_another_border():
    x = np.ones((1, 3, 3, 9))
    with pytest.raises(ValueError, match="reflect"):
        ACmix(3, 4, 7, 2).forward(x)
    assert ACmix(3, 4, 7, 2, border="mask").forward(x)[0].shape == (1, 4, 3, 9)


def test_state_of_another_block_is_refused():
    words = r"unknown keys: dep_conv\.bias; missing keys: conv_p\.weight, conv_p\.bias"
    with pytest.raises(StateDictError, match=words):
        ACmix(**SMALL).load_state_dict(ACmix(**SMALL, positional=False, dep_conv_bias=True).state_dict())
