"""What SMT's layers must do whatever their weights are: locality, dead biases, homogeneity, symmetries, limits."""

import numpy as np
import pytest
from nn.judge import randomise

from pyhybrid.check import assert_close
from pyhybrid.nn import to_map, to_tokens
from pyhybrid.ops import batch_norm, conv2d, gelu, linear, pointwise_conv
from pyhybrid.papers.smt import DWMLP, Aggregation, MixedConv, MultiHeadAttention, ScaleAwareModulation, SMTBlock

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def sam(rng, *arguments, **options):
    return randomise(ScaleAwareModulation(*arguments, **options), rng)


def far(found, expected):
    """The largest difference, as a share of the largest expected value."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def changed(layer, **values):
    """The layer with these parameters; double underscores stand for dots."""
    state = layer.state_dict()
    layer.load_state_dict(state | {name.replace("__", "."): value for name, value in values.items()})
    return layer


def on_map(layer, x):
    """A layer of tokens applied to a map."""
    size = x.shape[2:]
    return to_map(layer.forward(to_tokens(x), size)[0], size)


# What a pixel can see, shifts, mirrors.


@pytest.mark.parametrize(("channels", "heads"), [(8, 4), (4, 2), (3, 1)])
def test_p5_a_pixel_reaches_as_far_as_there_are_heads(rng, channels, heads):
    layer, x = sam(rng, channels, heads), rng.standard_normal((2, channels, 20, 20))
    moved = x.copy()
    moved[1, :, 10, 10] += 1
    changes = (on_map(layer, moved) != on_map(layer, x)).any(1)
    expected = np.zeros((2, 20, 20), bool)
    expected[1, 10 - heads : 11 + heads, 10 - heads : 11 + heads] = True
    assert (changes == expected).all()
    layer.train()
    assert (on_map(layer, moved) != on_map(layer, x)).any(1).all(), "batch statistics couple all pixels and images"


def test_p9_shifts_are_followed_where_the_border_is_out_of_reach(rng):
    layer, big = sam(rng, 8, 4), rng.standard_normal((1, 8, 20, 21))
    one, other = on_map(layer, big[:, :, :18, :18]), on_map(layer, big[:, :, 2:, 3:])
    assert_close(np.ascontiguousarray(one[:, :, 6:14, 7:14]), np.ascontiguousarray(other[:, :, 4:12, 4:11]), "inside")
    assert far(one[:, :, 2:, 3:], other[:, :, :16, :15]) > 1e-2, "at the border the padding with zeros shows"


def test_p10_mirrored_maps_and_kernels(rng):
    layer, x = sam(rng, 8, 4), rng.standard_normal((2, 8, 6, 9))
    y, state = on_map(layer, x), layer.state_dict()
    for axis in (2, 3):
        flipped = {name: np.flip(value, axis) if "local_conv" in name and value.ndim == 4 else value for name, value in state.items()}
        layer.load_state_dict(flipped)
        assert_close(on_map(layer, np.flip(x, axis)), np.ascontiguousarray(np.flip(y, axis)), f"mirrored along axis {axis}")
        layer.load_state_dict(state)
        assert far(on_map(layer, np.flip(x, axis)), np.flip(y, axis)) > 1e-2, "the map alone is not enough"


# Biases without effect.


def test_p6_biases_before_batch_norm_are_dead_in_training(rng):
    layer, x = sam(rng, 6, 2), rng.standard_normal((2, 20, 6))
    names = [name for name in layer.named_params() if name == "proj0.bias" or (name.startswith("local_conv") and name.endswith("bias"))]
    assert len(names) == 3
    y, cache = layer.train().forward(x, (4, 5))
    _, grads = layer.backward(rng.standard_normal(y.shape), cache)
    largest = max(np.abs(grad).max() for grad in grads.values())
    state = layer.state_dict()
    for name in names:
        assert np.abs(grads[name]).max() < 1e-13 * largest
        assert_close(changed(layer, **{name: state[name] + 3}).forward(x, (4, 5))[0], y, name, noise=1e-15)
        layer.load_state_dict(state)
    assert np.abs(grads["s.bias"]).max() > 1e-3 * largest, "not this one: at the border its share depends on the place"
    y, cache = layer.eval().forward(x, (4, 5))
    _, grads = layer.backward(rng.standard_normal(y.shape), cache)
    assert min(np.abs(grads[name]).max() for name in (*names, "s.bias")) > 1e-3 * max(np.abs(grad).max() for grad in grads.values())


def test_p11_a_bias_of_the_keys_is_dead(rng):
    layer, x = randomise(MultiHeadAttention(6, 2), rng), rng.standard_normal((2, 12, 6))
    y, cache = layer.forward(x, (3, 4))
    _, grads = layer.backward(rng.standard_normal(y.shape), cache)
    assert np.abs(grads["kv.bias"][:6]).max() < 1e-13 * np.abs(grads["kv.bias"][6:]).max()
    shift = np.concatenate([rng.standard_normal(6), np.zeros(6)])
    bias = layer.state_dict()["kv.bias"]
    assert_close(changed(layer, kv__bias=bias + shift).forward(x, (3, 4))[0], y, "keys", noise=1e-15)
    assert far(changed(layer, kv__bias=bias + shift[::-1]).forward(x, (3, 4))[0], y) > 0.1


# Scaling, and linearity in the value.


def test_p7_homogeneous_of_degree_one_in_training(rng):
    layer = changed(sam(rng, 6, 3, False, bn_eps=1e-30), proj__bias=np.zeros(6)).train()
    x = rng.standard_normal((2, 20, 6))
    y = layer.forward(x, (4, 5))[0]
    for a in (0.01, 3.0):
        assert_close(layer.forward(a * x, (4, 5))[0], a * y, f"a = {a}")
    assert far(layer.forward(-x, (4, 5))[0], -y) > 0.1, "GELU knows the sign"
    layer.eval()
    assert far(layer.forward(3 * x, (4, 5))[0], 3 * layer.forward(x, (4, 5))[0]) > 0.1, "running statistics know the scale"


def test_p8_linear_in_the_value_and_pixel_by_pixel(rng):
    layer = changed(sam(rng, 6, 2, False), proj__bias=np.zeros(6))
    x, (A, B) = rng.standard_normal((1, 20, 6)), rng.standard_normal((2, 6, 6))
    a, b, both = (changed(layer, v__weight=weight).forward(x, (4, 5))[0] for weight in (A, B, 2 * A - B))
    assert_close(both, 2 * a - b, "linear in v")
    _, cache = layer.forward(x, (4, 5))
    found = layer.intermediates(cache)
    assert_close(found["z"], to_tokens(found["modulator"]) * found["v"], "Z = Mod * V")


def test_the_paper_ends_where_the_projection_begins(rng):
    """project_out=False gives Z; the projection of Z is the official result."""
    layer, x = sam(rng, 6, 2), rng.standard_normal((2, 12, 6))
    short = ScaleAwareModulation(6, 2, project_out=False)
    short.load_state_dict({name: value for name, value in layer.state_dict().items() if not name.startswith("proj.")})
    z, _ = short.forward(x, (3, 4))
    y, cache = layer.forward(x, (3, 4))
    assert_close(z, layer.intermediates(cache)["z"], "Z")
    assert_close(layer.children["proj"].forward(z)[0], y, "proj(Z)")


# Attention without its convolution.


def test_p12_only_the_convolution_knows_where_a_token_lies(rng):
    layer, x = randomise(MultiHeadAttention(6, 3), rng), rng.standard_normal((2, 12, 6))
    order = rng.permutation(12)
    assert far(layer.forward(x[:, order], (3, 4))[0], layer.forward(x, (3, 4))[0][:, order]) > 0.1
    changed(layer, local_conv__weight=np.zeros((6, 1, 3, 3)))
    assert_close(layer.forward(x[:, order], (3, 4))[0], layer.forward(x, (3, 4))[0][:, order], "permuted")


def test_p13_without_queries_attention_is_the_mean(rng):
    layer, x = randomise(MultiHeadAttention(6, 2), rng), rng.standard_normal((2, 12, 6))
    changed(layer, local_conv__weight=np.zeros((6, 1, 3, 3)), q__weight=np.zeros((6, 6)), q__bias=np.zeros(6))
    p = layer.named_params()
    values = x @ p["kv.weight"][6:].T + p["kv.bias"][6:]
    token = (values.mean(1, keepdims=True) + p["local_conv.bias"]) @ p["proj.weight"].T + p["proj.bias"]
    assert_close(layer.forward(x, (3, 4))[0], np.broadcast_to(token, x.shape), "mean of the values")


# Perceptron and block.


def test_p14_the_skip_is_a_centre_tap(rng):
    layer, x = randomise(DWMLP(4, 6), rng), rng.standard_normal((2, 15, 4))
    p, centre = layer.named_params(), np.zeros((6, 1, 3, 3))
    centre[:, :, 1, 1] = 1
    h = to_map(linear.forward(x, p["fc1.weight"], p["fc1.bias"])[0], (3, 5))
    t = conv2d.forward(h, p["dwconv.dwconv.weight"] + centre, p["dwconv.dwconv.bias"], padding=1, groups=6)[0]
    folded = linear.forward(gelu.forward(to_tokens(t))[0], p["fc2.weight"], p["fc2.bias"])[0]
    assert_close(layer.forward(x, (3, 5))[0], folded, "folded")


def test_p14_without_the_convolution_it_is_the_plain_perceptron(rng):
    layer, x = randomise(DWMLP(4, 6), rng), rng.standard_normal((2, 15, 4))
    changed(layer, dwconv__dwconv__weight=np.zeros((6, 1, 3, 3)), dwconv__dwconv__bias=np.zeros(6))
    plain = DWMLP(4, 6, dwconv=False)
    plain.load_state_dict({name: value for name, value in layer.state_dict().items() if "dwconv" not in name})
    assert_close(plain.forward(x, (3, 5))[0], layer.forward(x, (3, 5))[0], "plain")


@pytest.mark.parametrize("kind", ["sam", "msa"])
def test_p15_a_block_with_layer_scale_zero_is_the_identity(kind, rng):
    block = randomise(SMTBlock(4, kind, 2, 2, mlp_ratio=2, use_layerscale=True), rng)
    changed(block, gamma_1=np.zeros(4), gamma_2=np.zeros(4)).train()
    x = rng.standard_normal((2, 12, 4))
    y, cache = block.forward(x, (3, 4))
    assert (y == x).all()
    dx, grads = block.backward(x, cache)
    assert (dx == x).all() and (grads["gamma_1"] != 0).all() and (grads["gamma_2"] != 0).all()
    assert not any(grad.any() for name, grad in grads.items() if "gamma" not in name)


# Kernels in one, and the two ends of the number of heads.


@pytest.mark.parametrize("size", [(9, 7), (1, 1), (3, 2)])
def test_p2_p3_up_to_batch_norm_the_branch_is_one_grouped_convolution(size, rng):
    N, M, e = 3, 2, 2
    layer, x = sam(rng, N * M, N), rng.standard_normal((2, N * M, *size))
    p, k = layer.named_params(), 2 * N + 1
    kernel, bias = np.zeros((e * N * M, N, k, k)), p["proj0.bias"].copy()
    for t in range(N):
        reach, own = t + 1, p[f"local_conv_{t + 1}.weight"][:, 0]
        for i in range(M):
            rows = slice(i * e * N, (i + 1) * e * N)
            w0 = p["proj0.weight"][rows, t, 0, 0]
            kernel[rows, t, N - reach : N + reach + 1, N - reach : N + reach + 1] = w0[:, None, None] * own[i]
            bias[rows] += w0 * p[f"local_conv_{t + 1}.bias"][i]
    state = layer.state_dict()
    scale = p["bn.weight"] / np.sqrt(state["bn.running_var"] + 1e-5)
    grouped = x.reshape(2, N, M, *size).swapaxes(1, 2).reshape(x.shape)
    u, _ = conv2d.forward(grouped, kernel * scale[:, None, None, None], (bias - state["bn.running_mean"]) * scale + p["bn.bias"],
                          padding=N, groups=M)
    mixed, _ = layer.children["mhmc"].forward(x)
    modulator, cache = layer.children["saa"].forward(mixed)
    assert_close(layer.aggregation.intermediates(cache)["bn"], u, "collapsed")
    a, _ = gelu.forward(u)
    assert_close(modulator, pointwise_conv.forward(a, p["proj1.weight"], p["proj1.bias"])[0], "modulator")


def test_p16_one_head_mixes_nothing_before_the_last_projection(rng):
    x = rng.standard_normal((2, 4, 3, 5))
    conv, layer = randomise(MixedConv(4, 1), rng), randomise(Aggregation(4, 1, 3), rng)
    p = conv.named_params()
    assert_close(conv.forward(x)[0], conv2d.forward(x, p["local_conv_1.weight"], p["local_conv_1.bias"], padding=1, groups=4)[0], "MHMC")
    p = layer.named_params()
    found = layer.intermediates(layer.forward(x)[1])
    assert_close(found["proj0"], conv2d.forward(x, p["proj0.weight"], p["proj0.bias"], groups=4)[0], "depthwise expansion")


def test_p16_as_many_heads_as_channels_make_one_dense_group(rng):
    x = rng.standard_normal((2, 4, 3, 5))
    conv, layer = randomise(MixedConv(4, 4), rng), randomise(Aggregation(4, 4), rng)
    assert [conv.named_params()[f"local_conv_{h}.weight"].shape for h in range(1, 5)] == [(1, 1, 2 * h + 1, 2 * h + 1) for h in range(1, 5)]
    p, state = layer.named_params(), layer.state_dict()
    e, _ = pointwise_conv.forward(x, p["proj0.weight"], p["proj0.bias"])
    u, _ = batch_norm.forward(e, p["bn.weight"], p["bn.bias"], state["bn.running_mean"], state["bn.running_var"])
    y, _ = pointwise_conv.forward(gelu.forward(u)[0], p["proj1.weight"], p["proj1.bias"])
    assert_close(layer.forward(x)[0], y, "dense")


def test_images_of_a_batch_are_independent_in_evaluation(rng):
    for layer in (sam(rng, 6, 2), randomise(MultiHeadAttention(6, 2), rng), randomise(SMTBlock(6, "sam", 3), rng)):
        x = rng.standard_normal((3, 12, 6))
        alone = np.concatenate([layer.forward(x[n : n + 1], (3, 4))[0] for n in range(3)])
        assert_close(layer.forward(x, (3, 4))[0], alone, type(layer).__name__)
