"""The DAS gate: gradients with every option and ablation, the statements that hold of it, its start, and what is refused."""

import numpy as np
import pytest
from nn.judge import judge, randomise

from pyhybrid import backend
from pyhybrid.errors import ConstraintError
from pyhybrid.nn import DeformConv2d, GroupNorm, InstanceNorm2d, ReLU6, StateDictError, summarize
from pyhybrid.ops import conv2d, deform_conv2d, depthwise_separable_conv, sigmoid
from pyhybrid.papers.das import DASGate
from pyhybrid.papers.das.gate import VARIANTS
from pyhybrid.papers.das.mixers import pixel_grid

BOTH = ["numpy", pytest.param("rust", marks=pytest.mark.skipif(not backend.available(), reason="no compiled core"))]


@pytest.fixture
def rng():
    return np.random.default_rng(41)


def gate(rng, channels=6, **options):
    return randomise(DASGate(channels, **{"alpha": 0.5, "seed": 1, **options}), rng)


def attention(layer, x):
    """A, the gate itself."""
    return layer.intermediates(layer.forward(x)[1])["gate"]


def scaled(layer, **factors):
    """The same layer with some parameters multiplied, by name with __ for dots."""
    state = layer.state_dict()
    for name, factor in factors.items():
        state[name.replace("__", ".")] *= factor
    layer.load_state_dict(state)
    return layer


# Gradients.


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 6, 4, 5)),
        ({"alpha": 0.1}, (1, 6, 3, 4)),
        ({"alpha": 1.0, "modulated": False}, (2, 6, 4, 3)),
        ({"kernel_size": 5}, (1, 6, 4, 6)),
        ({"kernel_size": 1}, (2, 6, 3, 3)),
        ({"dw_kernel": 1, "offset_kernel": 1}, (2, 6, 4, 4)),
        ({"dw_kernel": 5, "offset_kernel": 5}, (1, 6, 4, 4)),
        ({"dw_bias": True, "pw_bias": True, "deform_bias": True, "inst_affine": True, "ln": "global"}, (2, 6, 4, 5)),
        ({"gelu": "tanh", "kink": "zero_outside", "eps": 1e-3}, (2, 6, 4, 5)),
        *[({"norm1": norm1, "norm2": norm2}, (3, 6, 3, 4)) for norm1 in ("instance", "layer", "batch", "none")
          for norm2 in ("instance", "layer", "batch", "none") if (norm1, norm2) != ("instance", "layer")],
        ({"norm1": "layer", "norm2": "instance", "ln": "global", "inst_affine": True}, (2, 6, 3, 4)),
        *[({"variant": letter}, (2, 6, 4, 5)) for letter in VARIANTS],
        ({"variant": "d", "modulated": False, "deform_bias": True, "offset_kernel": 1, "norm2": "batch"}, (2, 6, 4, 5)),
        ({"variant": "f", "kernel_size": 5, "dw_kernel": 3, "pw_bias": True}, (1, 6, 4, 5)),
        ({"variant": "b", "norm1": "batch", "ln": "global"}, (2, 6, 3, 5)),
    ],
    ids=str,
)  # fmt: skip
def test_gradients(options, shape, training, rng):
    judge(gate(rng, **options), rng.standard_normal(shape), rng=rng, training=training)


@pytest.mark.parametrize("options", [{}, {"modulated": False}])
def test_the_first_offset_gradient_is_the_derivative_to_the_right(options, rng):
    """At the start every coordinate is whole: a step up follows the gradient, the mean of a step up and a step down does not."""
    layer = scaled(gate(rng, **options), offset__weight=0, offset__bias=0)
    x, dy = rng.standard_normal((2, 6, 5, 4)), rng.standard_normal((2, 6, 5, 4))
    start = layer.state_dict()
    _, cache = layer.forward(x)
    by_hand = layer.backward(dy, cache)[1]["offset.bias"][:18]

    def along(n, h):
        state = layer.state_dict() | {"offset.bias": start["offset.bias"] + h * (np.arange(len(start["offset.bias"])) == n)}
        layer.load_state_dict(state)
        value = float((layer.forward(x)[0] * dy).sum())
        layer.load_state_dict(start)
        return value

    # Smooth on the right, so two steps to the right, extrapolated, give the derivative.
    h = 2.0**-16
    right = np.array([(4 * along(n, h) - along(n, 2 * h) - 3 * along(n, 0)) / (2 * h) for n in range(18)])
    both = np.array([(along(n, h) - along(n, -h)) / (2 * h) for n in range(18)])
    scale = np.abs(by_hand).max()
    assert np.abs(right - by_hand).max() < 1e-5 * scale and np.abs(both - by_hand).max() > 0.05 * scale


def test_the_two_rules_at_minus_one_differ_only_there(rng):
    x, dy = rng.standard_normal((2, 6, 5, 4)), rng.standard_normal((2, 6, 5, 4))
    grads = {}
    for kink in ("right", "zero_outside"):
        for start in (0.0, 1.0):
            layer = gate(np.random.default_rng(2), kink=kink)
            layer = scaled(layer, offset__weight=start, offset__bias=start)
            y, cache = layer.forward(x)
            grads[kink, start] = y, layer.backward(dy, cache)[1]["offset.bias"]
    assert np.array_equal(grads["right", 0.0][0], grads["zero_outside", 0.0][0])
    assert not np.allclose(grads["right", 0.0][1], grads["zero_outside", 0.0][1])
    np.testing.assert_allclose(grads["right", 1.0][1], grads["zero_outside", 1.0][1], rtol=1e-12)


# The equations.


def test_the_gate_is_its_four_equations(rng):
    layer = gate(rng)
    x, p = rng.standard_normal((2, 6, 5, 4)), layer.named_params()
    y, cache = layer.forward(x)
    found = layer.intermediates(cache)
    v, _ = depthwise_separable_conv.forward(x, p["depthwise.weight"], p["pointwise.weight"])
    np.testing.assert_allclose(found["bottleneck"], v, rtol=1e-12, atol=1e-14)
    o, _ = conv2d.forward(found["xc"], p["offset.weight"], p["offset.bias"], padding=1)
    np.testing.assert_allclose(found["offset"], o[:, :18], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found["mask"], sigmoid.forward(o[:, 18:])[0], rtol=1e-12, atol=1e-14)
    d, _ = deform_conv2d.forward(found["xc"], found["offset"], p["deform.weight"], found["mask"], padding=1)
    np.testing.assert_allclose(found["deform"], d, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(y, x * found["gate"])


@pytest.mark.parametrize(("channels", "alpha", "mid"), [(64, 0.2, 12), (128, 0.2, 25), (2048, 0.2, 409), (4, 0.2, 1), (10, 0.3, 3),
                                                        (100, 0.29, 28), (5, 1.0, 5), (3, 0.01, 1)])  # fmt: skip
def test_the_width_of_the_bottleneck_is_truncated(channels, alpha, mid):
    layer = DASGate(channels, alpha, seed=None)
    assert layer.mid == mid and layer.named_params()["pointwise.weight"].shape == (mid, channels, 1, 1)


def test_names_and_shapes():
    full = DASGate(10, 0.3, dw_bias=True, pw_bias=True, inst_affine=True, deform_bias=True)
    shapes = {name: value.shape for name, value in full.named_params().items()}
    assert shapes == {
        "depthwise.weight": (10, 1, 3, 3), "depthwise.bias": (10,), "pointwise.weight": (3, 10, 1, 1), "pointwise.bias": (3,),
        "inst_norm.weight": (3,), "inst_norm.bias": (3,), "offset.weight": (27, 3, 3, 3), "offset.bias": (27,),
        "deform.weight": (10, 3, 3, 3), "deform.bias": (10,), "layer_norm.weight": (10,), "layer_norm.bias": (10,)}  # fmt: skip
    assert list(DASGate(10).named_params()) == ["depthwise.weight", "pointwise.weight", "offset.weight", "offset.bias", "deform.weight",
                                                "layer_norm.weight", "layer_norm.bias"]  # fmt: skip
    assert DASGate(10, modulated=False).named_params()["offset.weight"].shape == (18, 2, 3, 3)
    assert DASGate(10, offset_kernel=1).named_params()["offset.weight"].shape == (27, 2, 1, 1)
    assert {name for name in DASGate(4, norm1="batch", norm2="batch").state_dict() if name.startswith("norm1")} == {
        "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var", "norm1.num_batches_tracked"}


def test_the_start():
    """Offsets 0 and masks one half; biases 0; norms the identity; kernels uniform within ±1/√fan_in."""
    p = DASGate(64, dw_bias=True, pw_bias=True, deform_bias=True, inst_affine=True, seed=3).named_params()
    for name in ("offset.weight", "offset.bias", "depthwise.bias", "pointwise.bias", "deform.bias", "layer_norm.bias", "inst_norm.bias"):
        assert not p[name].any(), name
    assert (p["layer_norm.weight"] == 1).all() and (p["inst_norm.weight"] == 1).all()
    for name, fan_in in (("depthwise.weight", 9), ("pointwise.weight", 64), ("deform.weight", 9 * 12)):
        largest = np.abs(p[name]).max() * fan_in**0.5
        assert 0.97 < largest <= 1, name
    assert not np.array_equal(p["deform.weight"], DASGate(64, seed=4).named_params()["deform.weight"])


def test_at_the_start_the_gates_have_mean_one_half():
    """Mean 0.5 with a spread of about 0.2, so four of them scale a trained network by about 1/16."""
    A = attention(DASGate(64, seed=0), np.random.default_rng(0).standard_normal((2, 64, 14, 14)))
    assert abs(A.mean() - 0.5) < 0.01 and 0.15 < A.std() < 0.25


# Statements about the gate.


@pytest.mark.parametrize("name", BOTH)
def test_bounds(name, rng):
    """0 < A < 1, |y| <= |x| with the same sign; zero stays zero; with weight 1 and bias 0, A >= sigmoid(-√(c-1))."""
    with backend.use(name):
        layer, x = gate(rng), rng.standard_normal((2, 6, 5, 4))
        y, A = layer.forward(x)[0], attention(layer, x)
        assert (A > 0).all() and (A < 1).all() and (np.abs(y) <= np.abs(x)).all() and (y * x >= 0).all()
        assert not layer.forward(np.zeros_like(x))[0].any()
        plain = layer.state_dict() | {"layer_norm.weight": np.ones(6), "layer_norm.bias": np.zeros(6)}
        layer.load_state_dict(plain)
        assert attention(layer, 100 * x).min() >= 1 / (1 + np.exp(np.sqrt(5)))


@pytest.mark.parametrize("name", BOTH)
def test_without_weight_and_bias_the_gate_is_exactly_one_half(name, rng):
    with backend.use(name):
        layer, x = scaled(gate(rng), layer_norm__weight=0, layer_norm__bias=0), rng.standard_normal((2, 6, 5, 4))
        assert np.array_equal(layer.forward(x)[0], x / 2)


def test_instance_norm_cancels_both_biases(rng):
    x, dy = rng.standard_normal((2, 6, 5, 4)), rng.standard_normal((2, 6, 5, 4))
    layer = gate(rng, dw_bias=True, pw_bias=True)
    y, cache = layer.forward(x)
    grads = layer.backward(dy, cache)[1]
    largest = max(np.abs(grad).max() for grad in grads.values())
    assert max(np.abs(grads[f"{name}.bias"]).max() for name in ("depthwise", "pointwise")) < 1e-14 * largest
    np.testing.assert_allclose(scaled(layer, depthwise__bias=0, pointwise__bias=0).forward(x)[0], y, rtol=1e-12)
    other = gate(np.random.default_rng(41), dw_bias=True, norm1="none")
    moved = scaled(other, depthwise__bias=0).forward(x)[0]
    assert not np.allclose(moved, gate(np.random.default_rng(41), dw_bias=True, norm1="none").forward(x)[0], rtol=1e-6)


def test_scales_of_two_weights_do_not_matter_but_for_eps(rng):
    x, dy = rng.standard_normal((2, 6, 5, 4)), rng.standard_normal((2, 6, 5, 4))
    for eps, bound in ((1e-5, 1e-2), (1e-12, 1e-8)):       # so the weight's gradient is at a right angle to the weight
        layer = gate(np.random.default_rng(5), eps=eps)
        weight, grad = layer.named_params()["deform.weight"], layer.backward(dy, layer.forward(x)[1])[1]["deform.weight"]
        assert abs(float((weight * grad).sum())) < bound * np.linalg.norm(weight) * np.linalg.norm(grad)
    for name in ("pointwise__weight", "deform__weight"):
        gaps = []
        for eps in (1e-5, 1e-12):
            before = gate(np.random.default_rng(5), eps=eps).forward(x)[0]
            after = scaled(gate(np.random.default_rng(5), eps=eps), **{name: 3.0}).forward(x)[0]
            gaps.append(np.abs(after - before).max())
        assert 1e-12 < gaps[0] < 0.05 and gaps[1] < 1e-6 * max(gaps[0], 1e-4), name
    assert not np.allclose(scaled(gate(np.random.default_rng(5), norm2="none"), deform__weight=3.0).forward(x)[0],
                           gate(np.random.default_rng(5), norm2="none").forward(x)[0])  # fmt: skip


def test_at_the_start_modulation_changes_nothing_but_by_eps(rng):
    x = rng.standard_normal((2, 6, 5, 4))
    state = gate(rng).state_dict()
    both = []
    for modulated, points in ((True, 27), (False, 18)):
        layer = DASGate(6, 0.5, modulated=modulated)
        layer.load_state_dict({**state, "offset.weight": np.zeros((points, 3, 3, 3)), "offset.bias": np.zeros(points)})
        both.append(layer.forward(x)[0])
    assert 0 < np.abs(both[0] - both[1]).max() < 1e-3


def test_a_channel_norm_cannot_damp_a_whole_pixel(rng):
    """Over the channels of a pixel the normalised map sums to 0, whatever the map; over the whole sample it does not."""
    x = rng.standard_normal((2, 6, 5, 4))
    for ln, holds in (("channel", True), ("global", False)):
        layer = gate(rng, ln=ln)
        layer.load_state_dict(layer.state_dict() | {"layer_norm.weight": np.ones(6), "layer_norm.bias": np.zeros(6)})
        z = layer.forward(x)[1].z
        assert bool(np.abs(z.sum(1)).max() < 1e-12) is holds


@pytest.mark.parametrize("name", BOTH)
def test_samples_do_not_see_each_other(name, rng):
    x = rng.standard_normal((3, 6, 5, 4))
    with backend.use(name):
        for layer in (gate(rng), gate(rng, ln="global", inst_affine=True)):
            one_by_one = np.concatenate([layer.forward(x[n : n + 1])[0] for n in range(3)])
            np.testing.assert_allclose(layer.train().forward(x)[0], one_by_one, rtol=1e-12)
        batch = gate(rng, norm1="batch").train()
        assert not np.allclose(batch.forward(x)[0][:1], batch.forward(x[:1])[0])


def test_permuting_the_channels_permutes_the_output(rng):
    layer, x, order = gate(rng), rng.standard_normal((2, 6, 5, 4)), rng.permutation(6)
    state = layer.state_dict()
    moved = gate(rng)
    moved.load_state_dict(state | {name: state[name][order] for name in ("depthwise.weight", "deform.weight", "layer_norm.weight",
                                                                         "layer_norm.bias")}
                          | {"pointwise.weight": state["pointwise.weight"][:, order]})  # fmt: skip
    np.testing.assert_allclose(moved.forward(x[:, order])[0], layer.forward(x)[0][:, order], rtol=1e-11)


@pytest.mark.parametrize("name", BOTH)
def test_on_one_pixel_the_gate_is_the_sigmoid_of_its_bias(name, rng):
    """Instance norm of a single pixel is 0, and so is everything after it up to the layer norm's bias."""
    with backend.use(name):
        layer = gate(rng)
        A = attention(layer, rng.standard_normal((2, 6, 1, 1)))
    expected = 1 / (1 + np.exp(-layer.named_params()["layer_norm.bias"]))
    np.testing.assert_allclose(A, np.broadcast_to(expected[:, None, None], A.shape), rtol=1e-12)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("letter", VARIANTS)
def test_every_variant_keeps_the_precision_and_its_input(letter, name, rng):
    layer, x = DASGate(6, 0.5, variant=letter, dtype="float32"), rng.standard_normal((5, 4, 6, 2)).astype("f4").transpose(3, 2, 0, 1)
    before = x.copy()
    x.flags.writeable = False
    with backend.use(name):
        y, cache = layer.forward(x)
        dx, grads = layer.backward(np.ones_like(y), cache)
    assert y.dtype == dx.dtype == np.float32 and y.shape == dx.shape == x.shape and np.array_equal(x, before)
    assert all(grad.dtype == np.float32 for grad in grads.values())
    found = summarize(DASGate(6, 0.5, variant=letter, seed=None), (2, 6, 5, 4))
    assert found.shape == (2, 6, 5, 4) and found.params == layer.parameter_count() and found.macs.total > 0


def test_an_image_of_nothing_and_a_batch_of_nothing(rng):
    layer = gate(rng)
    y, cache = layer.forward(np.empty((0, 6, 3, 4)))
    dx, grads = layer.backward(np.empty((0, 6, 3, 4)), cache)
    assert y.shape == dx.shape == (0, 6, 3, 4) and not any(grad.any() for grad in grads.values())


def test_the_grid_of_the_ablations_is_the_identity():
    from pyhybrid.ops import grid_sample

    x = np.random.default_rng(0).standard_normal((1, 2, 3, 5))
    np.testing.assert_allclose(grid_sample.forward(x, pixel_grid((3, 5), np.float64)[None])[0], x, rtol=1e-12, atol=1e-14)


def test_ablations_have_the_parts_of_the_figure():
    parts = {letter: {name.split(".")[0] for name in DASGate(6, variant=letter).named_params()} for letter in VARIANTS}
    bottleneck, deform, norm = {"depthwise", "pointwise"}, {"offset", "deform"}, {"layer_norm"}
    assert parts == {
        "a": {"grid", "fuse"}, "b": bottleneck | {"grid", "fuse"} | norm, "c": bottleneck | deform | norm, "d": deform | norm,
        "e": bottleneck | norm, "f": bottleneck | {"depthwise2", "pointwise2"} | norm, "g": deform,
        "h": bottleneck | deform | norm}  # fmt: skip
    assert "fuse.bias" in DASGate(6, variant="a").named_params() and "fuse.bias" not in DASGate(6, variant="b").named_params()


# Refusals.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"variant": "z"}, "variant must be one of"),
        ({"norm1": "group"}, "norm1 must be one of"),
        ({"norm2": ""}, "norm2 must be one of"),
        ({"ln": "pixel"}, "ln must be one of"),
        ({"gelu": "relu"}, "gelu must be one of"),
        ({"kink": "left"}, "kink must be one of"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"dw_kernel": 2}, "dw_kernel must be odd"),
        ({"offset_kernel": 2}, "offset_kernel must be odd"),
        ({"alpha": 0}, "alpha must be a finite number greater than 0; got 0"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"alpha": True}, "alpha must be"),
        ({"dtype": int}, "dtype must be float32 or float64"),
        ({"variant": "g", "norm2": "batch"}, "variant 'g', as it is asked for, has no place for norm2 = 'batch'"),
        ({"variant": "a", "dw_bias": True}, "variant 'a', as it is asked for, has no place for dw_bias = True"),
        ({"variant": "e", "modulated": False}, "variant 'e', as it is asked for, has no place for modulated = False"),
        ({"variant": "g", "inst_affine": True}, "no place for inst_affine"),
    ],
)
def test_refusals(options, text):
    with pytest.raises(ConstraintError, match=text):
        DASGate(6, **options)


def test_state_dicts_must_fit():
    layer = DASGate(6)
    state = layer.state_dict()
    with pytest.raises(StateDictError, match=r"unknown keys: deform\.bias"):
        layer.load_state_dict({**state, "deform.bias": np.zeros(6)})
    with pytest.raises(StateDictError, match=r"offset\.weight has shape \(27, 1, 3, 3\), expected \(18, 1, 3, 3\)"):
        DASGate(6, modulated=False).load_state_dict(state)
    with pytest.raises(ValueError, match="channels must be a whole number"):
        DASGate(0)
    with pytest.raises(ValueError, match="x"):
        layer.forward(np.zeros((1, 5, 4, 4)))


# The layers of `nn` that the gate needs.


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(InstanceNorm2d(3), (2, 3, 3, 4)), (InstanceNorm2d(3, 1e-3, True), (2, 3, 3, 4)), (GroupNorm(1, 4), (2, 4, 3, 2)),
     (GroupNorm(2, 4, 1e-3), (2, 4, 3, 2)), (ReLU6(), (2, 3, 4))],
    ids=str,
)  # fmt: skip
def test_layers(layer, shape, rng):
    judge(randomise(layer, rng), 4 * rng.standard_normal(shape), rng=rng)


def test_deformable_layer(rng):
    layer = randomise(DeformConv2d(4, 6, (3, 1), (2, 1), (1, 0), (1, 2), 2, 2), rng)
    offset, mask = rng.standard_normal((2, 12, 3, 4)), rng.uniform(size=(2, 6, 3, 4))
    x = rng.standard_normal((2, 4, 5, 4))

    class Bound(DeformConv2d):
        """The layer with offsets and mask held fixed, so that the judge of one input can try it."""

        def forward(self, x):
            return super().forward(x, offset, mask)

        def backward(self, dy, cache):
            (dx, doffset, dmask), grads = super().backward(dy, cache)
            assert doffset.shape == offset.shape and dmask.shape == mask.shape
            return dx, grads

    bound = Bound(4, 6, (3, 1), (2, 1), (1, 0), (1, 2), 2, 2)
    bound.load_state_dict(layer.state_dict())
    judge(bound, x, rng=rng)
    assert layer.backward(np.ones((2, 6, 3, 4)), layer.forward(x, offset)[1])[0][2] is None


def test_relu6_at_its_corners():
    x = np.array([-1.0, -0.0, 0.0, 3.0, 6.0, 7.0, np.nan, np.inf])
    y, cache = ReLU6().forward(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 3, 6, 6, np.nan, 6])
    np.testing.assert_array_equal(ReLU6().backward(np.ones(8), cache)[0], [0, 0, 0, 1, 0, 0, 1, 0])


@pytest.mark.parametrize(
    ("make", "text"),
    [(lambda: GroupNorm(3, 4), "groups must divide"), (lambda: DeformConv2d(4, 6, 3, groups=4), "groups must divide 4 and 6"),
     (lambda: DeformConv2d(4, 6, 3, offset_groups=3), "offset_groups must divide 4"),
     (lambda: DeformConv2d(4, 6, 3, kink="left"), "kink must be one of")],
)  # fmt: skip
def test_layer_refusals(make, text):
    with pytest.raises(ConstraintError, match=text):
        make()
