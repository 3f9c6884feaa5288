"""SMT's layers and models: gradients with every option, the published counts, strategies, names, starts, and what is refused."""

import copy
import json
import re

import numpy as np
import pytest
from nn.judge import judge, randomise

from pyhybrid import check, cli
from pyhybrid.errors import ConstraintError
from pyhybrid.nn import LayerNorm, StateDictError, summarize
from pyhybrid.ops import modulation
from pyhybrid.papers import VARIANTS, build, find
from pyhybrid.papers.smt import (
    CARD,
    DWMLP,
    SMT,
    STRATEGIES,
    Aggregation,
    ComposedAggregation,
    MixedConv,
    MultiHeadAttention,
    PatchEmbed,
    ScaleAwareModulation,
    SMTBlock,
    Stage,
    Stem,
    block_kinds,
    costs,
    official_names,
)
from pyhybrid.papers.smt.variants import CLASSES_22K


@pytest.fixture
def rng():
    return np.random.default_rng(31)


TINY = {"num_classes": 3, "embed_dims": (4, 4, 8, 8), "depths": (1, 1, 2, 1), "mlp_ratios": (2, 2, 1, 1), "ca_num_heads": (2, 1, 2, 4),
        "sa_num_heads": (2, 2, 2, 4)}  # fmt: skip


def tiny(**options):
    return SMT(**{**TINY, **options})


def two_stages(mix, **options):
    return SMT(**{"num_classes": 3, "embed_dims": (2, 4), "depths": (1, 2), "mlp_ratios": (2, 1), "ca_num_heads": (2, 2),
                  "sa_num_heads": (1, 2), "mix": mix, **options})  # fmt: skip


def sam(*arguments, **options):
    return ScaleAwareModulation(*arguments, **options)


HALF_KEPT = (np.array([0.0, 1.25, 1.25]), np.array([1.25, 0.0, 1.25]))
LAYERS = [
    (MixedConv(6, 2), (2, 6, 5, 4), ()),
    (MixedConv(6, 3, (1, 5, 3)), (2, 6, 2, 3), ()),
    (Aggregation(6, 2), (2, 6, 3, 4), ()),
    (Aggregation(4, 4, 3), (2, 4, 2, 3), ()),
    (ComposedAggregation(6, 2, 3, "grouped"), (2, 6, 3, 4), ()),
    (ComposedAggregation(6, 3, 2, "grouped", False, True), (2, 6, 3, 4), ()),
    (ComposedAggregation(4, 2, 1, shared=True), (3, 4, 2, 2), ()),
    (sam(4, 2), (2, 12, 4), ((3, 4),)),
    (sam(6, 3, False, 1), (2, 6, 6), ((2, 3),)),
    (sam(3, 1, True, 4), (2, 4, 3), ((4, 1),)),
    (sam(4, 4), (2, 6, 4), ((2, 3),)),
    (sam(4, 2, project_out=False, kernel_sizes=(1, 3)), (2, 12, 4), ((3, 4),)),
    (sam(4, 2, fusion="grouped"), (2, 6, 4), ((3, 2),)),
    (sam(4, 2, norm_act=False), (2, 6, 4), ((3, 2),)),
    (sam(4, 2, shared=True, fusion="grouped", norm_act=False), (2, 6, 4), ((3, 2),)),
    (MultiHeadAttention(4, 2), (2, 12, 4), ((4, 3),)),
    (MultiHeadAttention(6, 3, False, 0.7), (2, 5, 6), ((1, 5),)),
    (MultiHeadAttention(4, 1, qk_scale=0, local_conv=False), (2, 6, 4), ((3, 2),)),
    (DWMLP(3, 5), (2, 12, 3), ((3, 4),)),
    (DWMLP(3, 6, dwconv=False), (2, 4, 3), ((2, 2),)),
    (SMTBlock(4, "sam", 2, mlp_ratio=2, use_layerscale=True), (2, 12, 4), ((4, 3),)),
    (SMTBlock(4, "msa", sa_num_heads=2, mlp_ratio=1.5, qkv_bias=False), (2, 6, 4), ((2, 3),)),
    (SMTBlock(4, "sam", 4, mlp_ratio=1, drop_path=0.2, use_layerscale=True), (3, 6, 4), ((2, 3), HALF_KEPT)),
    (SMTBlock(4, "msa", sa_num_heads=4, drop_path=0.2, dwconv=False, local_conv=False), (3, 6, 4), ((2, 3), HALF_KEPT)),
    (Stem(4), (2, 3, 9, 7), ()),
    (Stem(3, 7, 2), (2, 2, 8, 11), ()),
    (Stem(3, 5, padding=1), (2, 3, 11, 8), ()),
    (PatchEmbed(3, 4), (2, 3, 5, 6), ()),
    (PatchEmbed(2, 3, 5, 3, padding=0), (2, 2, 9, 6), ()),
    (Stage(3, PatchEmbed(3, 4), 4, ("msa", "sam"), ca_num_heads=2, sa_num_heads=2, mlp_ratio=1), (2, 3, 6, 7), ()),
    (two_stages(("S", "MS"), use_layerscale=True, layerscale_value=0.3, head_conv=7, in_channels=2), (2, 2, 9, 13), ()),
]  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("layer", "shape", "arguments"), LAYERS, ids=[f"{n}-{type(row[0]).__name__}" for n, row in enumerate(LAYERS)])
def test_gradients(layer, shape, arguments, training, rng):
    judge(randomise(layer, rng), rng.standard_normal(shape), *arguments, rng=rng, training=training)


@pytest.mark.parametrize("training", [False, True])
def test_gradient_of_a_whole_network(training, rng):
    """Four stages, all parameters and the image moved at once along random directions."""
    model = randomise(tiny(use_layerscale=True, head_conv=7), rng).train(training)
    x, dy, start = rng.standard_normal((2, 3, 24, 17)), rng.standard_normal((2, 3)), model.state_dict()
    dx, grads = model.backward(dy, model.forward(x)[1])
    assert set(grads) == set(model.named_params())
    for _ in range(3):
        u, moves = rng.standard_normal(x.shape), {name: rng.standard_normal(grad.shape) for name, grad in grads.items()}

        def along(t, u=u, moves=moves):
            model.load_state_dict(start | {name: start[name] + t * move for name, move in moves.items()})
            return float((model.forward(x + t * u)[0] * dy).sum())

        h = 2.0**-20
        slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        products = [dx * u, *(grads[name] * move for name, move in moves.items())]
        assert abs(slope - sum(p.sum() for p in products)) <= 1e-7 * sum(np.abs(p).sum() for p in products)


# Parameters, entries of the state, numbers in buffers; multiply-adds (billions) with weights and in all, by image size.

COUNTED = {
    "smt_t": (11_506_536, 386, 5_769, {224: ("2.3801", "2.4613"), 384: ("6.9937", "7.6944")}),
    "smt_s": (22_550_952, 758, 12_177, {224: ("4.6569", "4.8388"), 384: ("13.6846", "15.2559")}),
    "smt_b": (32_037_352, 1_112, 18_585, {224: ("7.6856", "7.9659"), 384: ("22.5853", "25.0060")}),
    "smt_l": (80_620_264, 1_232, 27_865, {224: ("17.4793", "17.9071"), 384: ("51.3663", "55.0610")}),
    "smt_l_384": (80_620_264, 1_232, 27_865, {384: ("51.3663", "55.0610")}),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_counts(name):
    params, entries, buffers, macs = COUNTED[name]
    model = build(name, seed=None)
    state = model.state_dict()
    assert (model.parameter_count(), len(state), sum(value.size for value in state.values()) - params) == (params, entries, buffers)
    for size, (weights, total) in macs.items():
        found = summarize(model, (1, 3, size, size))
        assert (f"{found.macs.weights / 1e9:.4f}", f"{found.macs.total / 1e9:.4f}", found.shape) == (weights, total, (1, 1000))


def test_every_model_is_counted():
    assert set(COUNTED) == {name for name in VARIANTS if name.startswith("smt_")}


def test_published_figures_agree_to_rounding_but_those_of_s_and_l():
    for name in COUNTED:
        paper = VARIANTS[name].published
        found = summarize(build(name, seed=None), (1, 3, paper.image_size, paper.image_size))
        if name == "smt_s":
            assert round(found.params / 1e6, 2) == 22.55 and paper.params == 21
        else:
            assert abs(found.params / 1e6 - paper.params) <= 0.5
        slack = 0.005 if name.startswith("smt_l") else 0
        assert abs(found.macs.weights / 1e9 - paper.macs) <= 0.05 + slack * paper.macs


def test_large_model_without_layer_scale_and_with_22k_classes():
    plain = build("smt_l", seed=None, use_layerscale=False)
    assert (plain.parameter_count(), len(plain.state_dict())) == (80_589_544, 1_148)
    wide = build("smt_l", seed=None, imagenet_22k=True)
    assert wide.parameter_count() == 96_646_993 and wide.named_params()["head.weight"].shape == (CLASSES_22K, 768)
    assert wide.drop_path_rate == 0.1 and build("smt_l", seed=None, imagenet_22k=True, drop_path_rate=0.2).drop_path_rate == 0.2


def test_multiply_adds_of_the_stages():
    rows = summarize(build("smt_t", seed=None), (1, 3, 224, 224)).rows
    found = [sum(row.macs.weights for row in rows if row.name.startswith(f"block{s}.")) for s in range(1, 5)]
    assert [f"{macs / 1e9:.3f}" for macs in found] == ["0.368", "0.351", "1.311", "0.103"]


@pytest.mark.parametrize("mix", STRATEGIES)
@pytest.mark.parametrize(("name", "size"), [("smt_t", (224, 224)), ("smt_l", (33, 45)), ("smt_b", (384, 200))])
def test_closed_forms_are_the_counts(name, size, mix):
    model = build(name, seed=None, mix=mix)
    found = summarize(model, (1, 3, *size))
    assert costs.network(model, size) == (found.params, *found.macs)


@pytest.mark.parametrize("options", [
    {"expand_ratio": 3}, {"qkv_bias": False}, {"use_layerscale": True, "in_channels": 5}, {"head_conv": 5, "stem_padding": 1},
    {"mlp_ratios": (1.5, 2, 1, 1), "ca_num_heads": (1, 4, 8, 2)},
])  # fmt: skip
def test_closed_forms_of_other_configurations(options):
    model = tiny(**options)
    found = summarize(model, (1, model.in_channels, 40, 28))
    assert costs.network(model, (40, 28)) == (found.params, *found.macs)


def test_p4_closed_forms_of_the_parts():
    for C in (64, 96, 256):
        found = summarize_tokens(ScaleAwareModulation(C, seed=None), C, (3, 4))
        assert (found.params, found.macs.weights) == (5 * C * C + 60 * C, 12 * (5 * C * C + C * (41 + 8)))
        assert costs.modulation(C) == (found.params, found.macs.weights // 12, 0)
        found = summarize_tokens(MultiHeadAttention(C, 2, seed=None), C, (3, 4))
        assert (found.params, found.macs.weights, found.macs.products) == (4 * C * C + 14 * C, 12 * (4 * C * C + 9 * C), 12 * 2 * 12 * C)
        found = summarize_tokens(DWMLP(C, 4 * C, seed=None), C, (3, 4))
        assert (found.params, found.macs.weights) == (8 * C * C + 45 * C, 12 * (8 * C * C + 36 * C))
        assert costs.perceptron(C, 4) == (found.params, found.macs.weights // 12, 0)


def summarize_tokens(layer, channels, size):
    """`summarize` gives a layer its input alone: here with the size of the map as well."""
    whole = layer.forward
    layer.forward = lambda x: whole(x, size)
    return summarize(layer, (1, size[0] * size[1], channels))


@pytest.mark.parametrize(("C", "tokens", "cheaper"), [
    (64, 3136, True), (128, 784, True), (256, 196, True), (512, 49, False), (384, 196, False),
])  # fmt: skip
def test_p4_the_crossover_lies_where_the_models_switch(C, tokens, cheaper):
    assert costs.crossover(C) == (C + 40) / 2
    modulated, attended = costs.modulation(C), costs.attention(C, tokens)
    assert (modulated.weights < attended.weights + attended.products) is cheaper is (tokens > costs.crossover(C))


@pytest.mark.parametrize(("heads", "expand"), [(1, 1), (2, 3), (6, 2), (4, 4)])
def test_p4_the_crossover_of_other_shapes(heads, expand):
    C = 48
    edge = costs.crossover(C, heads, expand)
    for tokens in range(max(1, int(edge) - 2), int(edge) + 4):
        attended = costs.attention(C, tokens)
        assert (costs.modulation(C, heads, expand).weights < attended.weights + attended.products) is (tokens > edge)


def test_closed_forms_refuse_other_modules():
    for options in ({"sam": {"shared": True}}, {"local_conv": False}, {"dwconv": False}):
        with pytest.raises(ConstraintError, match=r"costs\.network"):
            costs.network(tiny(**options), (32, 32))


def test_the_configurations():
    """Heads of 32 channels in T, S and B, of 48 in L; four heads of modulation; expansion 2; biases; strides 4, 8, 16, 32."""
    for name in ("smt_t", "smt_s", "smt_b", "smt_l"):
        model = build(name, seed=None)
        wide = name == "smt_l"
        assert {C // heads for C, heads in zip(model.embed_dims, model.sa_num_heads, strict=True)} == {48 if wide else 32}
        assert (set(model.ca_num_heads), model.expand_ratio, model.qkv_bias, model.qk_scale) == ({4}, 2, True, None)
        assert (model.use_layerscale, model.layerscale_value, model.mix) == (wide, 1e-4, "alternate")
        size = (224, 224)
        assert [size := stage.grid(size) for stage in model.stages] == [(224 // s,) * 2 for s in (4, 8, 16, 32)]


def test_epsilon_of_the_norms():
    """1e-6 in blocks and after stages, 1e-5 in stem, patch embeddings and batch norms."""
    for model in (tiny(), tiny(norm_eps=1e-3, embed_norm_eps=1e-4)):
        for name, layer in model.named_modules():
            if isinstance(layer, LayerNorm):
                assert layer.eps == (model.embed_norm_eps if name.startswith("patch_embed") else model.norm_eps)
    assert (tiny().norm_eps, tiny().embed_norm_eps) == (SMTBlock(4).norm_eps, Stem(4).norm_eps) == (1e-6, 1e-5)
    assert PatchEmbed(3, 4).norm_eps == tiny().stages[0].embed.children["conv.1"].eps == Aggregation(4, 2).bn_eps == 1e-5


def test_attention_in_the_first_stage_has_a_quadratic_cost():
    assert costs.attention(64, 3136).products == 401_408 and costs.modulation(64).weights == 23_616


def test_counts_are_those_of_a_real_forward(rng):
    model = tiny()
    y, _ = model.forward(rng.standard_normal((2, 3, 40, 24)))
    found = summarize(model, (2, 3, 40, 24))
    assert found.shape == y.shape and found.macs.total == 2 * summarize(model, (1, 3, 40, 24)).macs.total
    assert sum(row.params for row in found.rows) == found.params == model.parameter_count()


# Strategies.


def test_strategies():
    depths = (2, 1, 5, 1)
    rows = {mix: ["".join(kind[0] for kind in stage) for stage in block_kinds(mix, depths)] for mix in STRATEGIES}
    assert rows == {
        "alternate": ["ss", "s", "smsms", "m"], "half": ["ss", "s", "sssmm", "m"], "half_reversed": ["ss", "s", "mmmss", "m"],
        "sam": ["ss", "s", "sssss", "s"], "msa": ["ss", "s", "mmmmm", "m"], "msa_everywhere": ["mm", "m", "mmmmm", "m"],
    }  # fmt: skip
    assert block_kinds(("SM", "M"), (2, 1)) == (("sam", "msa"), ("msa",))


@pytest.mark.parametrize("name", ["smt_t", "smt_s", "smt_b", "smt_l"])
def test_p17_the_order_in_stage_3_costs_nothing(name):
    """Even depths: alternating and half by half have the same blocks in another order."""
    found = [summarize(build(name, seed=None, mix=mix), (1, 3, 224, 224)) for mix in ("alternate", "half", "half_reversed")]
    assert {row[2:] for row in found} == {(found[0].params, found[0].macs)}
    other = summarize(build(name, seed=None, mix="msa"), (1, 3, 224, 224))
    assert (other.params, other.macs) != (found[0].params, found[0].macs)


def test_p17_an_odd_depth_ends_on_modulation():
    counts = [summarize(tiny(depths=(1, 1, 3, 1), mix=mix), (1, 3, 32, 32)).params for mix in ("alternate", "half", "half_reversed")]
    assert counts[0] == counts[1] != counts[2]


def test_which_blocks_attend():
    model = build("smt_t", seed=None)
    assert [type(model.stages[2].blocks[f"block3.{n}"].children["attn"]).__name__[0] for n in range(8)] == ["S", "M"] * 4


# Names and loading.

OFFICIAL = {
    "patch_embed1.conv.0.weight": (64, 3, 3, 3), "patch_embed1.conv.1.running_var": (64,), "patch_embed1.conv.3.weight": (64, 64, 2, 2),
    "patch_embed1.conv.3.bias": (64,), "patch_embed1.norm.weight": (64,), "patch_embed3.proj.weight": (256, 128, 3, 3),
    "patch_embed3.norm.bias": (256,), "block1.0.norm1.weight": (64,), "block2.1.attn.v.weight": (128, 128), "block2.1.attn.s.bias": (128,),
    "block2.1.attn.proj.weight": (128, 128), "block2.1.attn.local_conv_1.weight": (32, 1, 3, 3),
    "block2.1.attn.local_conv_4.weight": (32, 1, 9, 9), "block2.1.attn.local_conv_4.bias": (32,),
    "block2.1.attn.proj0.weight": (256, 4, 1, 1), "block2.1.attn.bn.num_batches_tracked": (),
    "block2.1.attn.proj1.weight": (128, 256, 1, 1), "block3.1.attn.q.weight": (256, 256), "block3.1.attn.kv.weight": (512, 256),
    "block3.1.attn.local_conv.weight": (256, 1, 3, 3), "block3.1.mlp.fc1.weight": (1024, 256),
    "block3.1.mlp.dwconv.dwconv.weight": (1024, 1, 3, 3), "block4.0.mlp.fc2.weight": (512, 1024), "norm4.bias": (512,),
    "head.weight": (1000, 512), "head.bias": (1000,),
}  # fmt: skip


def test_official_names_and_shapes():
    state = build("smt_t", seed=None).state_dict()
    assert {name: state[name].shape for name in OFFICIAL} == OFFICIAL
    assert not any(name.startswith("stage") or ".mhmc" in name or ".saa" in name for name in state)
    large = build("smt_l", seed=None).state_dict()
    assert large["patch_embed1.conv.0.weight"].shape == (96, 3, 7, 7) and large["block3.27.gamma_2"].shape == (384,)
    assert "block1.0.gamma_1" not in state


def test_dw_conv_is_another_name_of_local_conv(rng):
    model = randomise(tiny(), rng)
    state = model.state_dict()
    old = {name.replace("attn.local_conv.", "attn.dw_conv."): value for name, value in state.items()}
    assert sum(".dw_conv." in name for name in old) == 4, "two attention blocks, and no local_conv_1 of modulation"
    other = tiny()
    other.load_state_dict(old)
    assert all(np.array_equal(other.state_dict()[name], value) for name, value in state.items())
    assert official_names(state) == state
    with pytest.raises(StateDictError, match=r"unknown keys: block3\.1\.attn\.dw_conv\.weight"):
        other.load_state_dict(state | {"block3.1.attn.dw_conv.weight": state["block3.1.attn.local_conv.weight"]})


@pytest.mark.parametrize(("layer", "prefix"), [(lambda: SMTBlock(4, "msa", 2, 2), "attn."), (lambda: MultiHeadAttention(4, 2), "")])
def test_dw_conv_is_understood_by_parts_of_the_network_too(rng, layer, prefix):
    made, other = randomise(layer(), rng), layer()
    old = {name.replace(f"{prefix}local_conv.", f"{prefix}dw_conv."): value for name, value in made.state_dict().items()}
    assert f"{prefix}dw_conv.bias" in old
    other.load_state_dict(old)
    assert (other.params | other.state_dict())[f"{prefix}local_conv.bias"].tolist() == old[f"{prefix}dw_conv.bias"].tolist()


def test_mixers_lead_from_the_cache_of_a_network_to_its_modulators(rng):
    model = randomise(tiny(), rng)
    _, cache = model.forward(rng.standard_normal((1, 3, 17, 19)))
    mixers = model.mixers(cache)
    kinds = [kind for stage in model.stages for kind in stage.kinds]
    assert list(mixers) == [f"block{s}.{n}.attn" for s, stage in enumerate(model.stages, 1) for n in range(len(stage.kinds))]
    for (name, (layer, own)), kind in zip(mixers.items(), kinds, strict=True):
        assert ("modulator" in layer.intermediates(own)) == (kind == "sam"), name
    layer, own = mixers["block1.0.attn"]
    found = layer.intermediates(own)
    z, _ = modulation.forward(found["v"], found["modulator"])
    assert layer is model.stages[0].blocks["block1.0"].children["attn"] and (z == found["z"]).all()


def test_partial_and_foreign_states_are_refused(rng):
    model, scaled = tiny(), tiny(use_layerscale=True)
    before = {name: value.copy() for name, value in model.state_dict().items()}
    state = {name: value for name, value in before.items() if not name.startswith("head.")}
    with pytest.raises(StateDictError, match=r"missing keys: head\.weight, head\.bias"):
        model.load_state_dict(state)
    with pytest.raises(StateDictError, match=r"unknown keys: block1\.0\.gamma_1, block1\.0\.gamma_2"):
        model.load_state_dict(scaled.state_dict())
    with pytest.raises(StateDictError, match=r"block3\.0\.attn\.proj0\.weight has shape"):
        model.load_state_dict(tiny(expand_ratio=3).state_dict())
    with pytest.raises(StateDictError, match="missing keys"):
        model.load_state_dict(tiny(mix="half_reversed").state_dict())
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())


def test_the_official_start():
    """Measured on the official SMT-B: kernels by their fan-out, matrices 0.02, everything else 0 or 1."""
    params = build("smt_b", num_classes=10).named_params()

    def std(pattern):
        return np.concatenate([value.ravel() for name, value in params.items() if pattern in name and name.endswith("weight")]).std()

    for h, expected in enumerate((0.471, 0.283, 0.202, 0.157), 1):
        assert abs(std(f"local_conv_{h}.") - expected) < 0.02 * expected
    assert abs(std("proj0.") - 0.5) < 0.01 and abs(std("block3.0.attn.proj1.") - (2 / 256) ** 0.5) < 0.002
    assert abs(std("dwconv.dwconv.") - 0.471) < 0.01 and abs(std("block3.1.attn.local_conv.") - 0.471) < 0.02
    for pattern in ("attn.kv.", "attn.v.", "mlp.fc1.", "head."):
        assert abs(std(pattern) - 0.02) < 0.001
    assert abs(std("patch_embed1.conv.0.") - (2 / (49 * 64)) ** 0.5) < 0.001
    for name, value in params.items():
        if name.endswith("bias"):
            assert not value.any(), name
        elif value.ndim == 1:
            assert (value == 1).all(), name
    assert all((value == 1e-4).all() for name, value in tiny(use_layerscale=True).named_params().items() if "gamma" in name)


def test_seed_makes_the_weights():
    one, same, other = (tiny(seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["block3.0.attn.v.weight"], other["block3.0.attn.v.weight"])
    assert not np.array_equal(one["block3.0.attn.v.weight"], one["block3.0.attn.s.weight"])


# Modes, sizes, stochastic depth.


def test_composed_and_compiled_aggregation_agree(rng, backend):
    for training in (False, True):
        whole = randomise(Aggregation(6, 2, 3), rng).train(training)
        parts = ComposedAggregation(6, 2, 3).train(training)
        parts.load_state_dict(whole.state_dict())
        x, dy = rng.standard_normal((2, 2, 6, 3, 5))
        (y, cache), (y2, cache2) = whole.forward(x), parts.forward(x)
        (dx, grads), (dx2, grads2) = whole.backward(dy, cache), parts.backward(dy, cache2)
        check.assert_close(y2, y, "modulator")
        check.assert_close(dx2, dx, "dx", kind="gradient")
        for name in grads:
            check.assert_close(grads2[name], grads[name], name, kind="gradient", noise=1e-13)
        for name, value in whole.intermediates(cache).items():
            check.assert_close(parts.intermediates(cache2)[name], value, name)
        for name, value in whole.state_dict().items():
            check.assert_close(parts.state_dict()[name].astype(float), value.astype(float), name)


def test_scale_of_the_scores(rng):
    """qk_scale = s is the default with queries multiplied by s·√d; 0 is the default."""
    x, layers = rng.standard_normal((2, 6, 6)), [MultiHeadAttention(6, 2, qk_scale=scale) for scale in (None, 0.4, 0)]
    state = randomise(layers[0], rng).state_dict()
    for layer in layers[1:]:
        layer.load_state_dict(state)
    plain, scaled, zero = (layer.forward(x, (2, 3))[0] for layer in layers)
    layers[0].load_state_dict({name: value * (0.4 * 3**0.5 if name.startswith("q.") else 1) for name, value in state.items()})
    check.assert_close(scaled, layers[0].forward(x, (2, 3))[0], "qk_scale")
    assert np.array_equal(zero, plain) and not np.allclose(scaled, plain)


def test_running_statistics_move_in_training_only(rng):
    layer, slow = randomise(sam(4, 2), rng), sam(4, 2, bn_momentum=0.01)
    slow.load_state_dict(layer.state_dict())
    x, start = rng.standard_normal((2, 12, 4)), layer.state_dict()
    layer.forward(x, (3, 4))
    assert all(np.array_equal(start[name], value) for name, value in layer.state_dict().items())
    _, cache = layer.train().forward(x, (3, 4))
    e = layer.intermediates(cache)["proj0"].transpose(1, 0, 2, 3).reshape(8, -1)
    after = layer.state_dict()
    np.testing.assert_allclose(after["bn.running_mean"], 0.9 * start["bn.running_mean"] + 0.1 * e.mean(1), rtol=1e-12)
    np.testing.assert_allclose(after["bn.running_var"], 0.9 * start["bn.running_var"] + 0.1 * e.var(1, ddof=1), rtol=1e-12)
    assert after["bn.num_batches_tracked"] == start["bn.num_batches_tracked"] + 1
    slow.train().forward(x, (3, 4))
    np.testing.assert_allclose(slow.state_dict()["bn.running_mean"], 0.99 * start["bn.running_mean"] + 0.01 * e.mean(1), rtol=1e-12)
    with pytest.raises(ConstraintError, match="C6"):
        layer.forward(x[:1, :1], (1, 1))


def test_nothing_is_kept_on_the_layers(rng):
    """A model that has been trained can be copied, and layers used twice have two caches."""
    model = randomise(tiny(), rng).train()
    xs = rng.standard_normal((2, 2, 3, 24, 24))
    (y0, cache0), (_, cache1) = model.forward(xs[0]), model.forward(xs[1])
    twin = copy.deepcopy(model)
    dx, _ = model.backward(np.ones_like(y0), cache0)
    model.backward(np.ones_like(y0), cache1)
    assert np.array_equal(model.backward(np.ones_like(y0), cache0)[0], dx)
    assert np.array_equal(twin.eval().forward(xs[0])[0], model.eval().forward(xs[0])[0])


@pytest.mark.parametrize(("head_conv", "size", "grids"), [
    (3, (33, 45), [(8, 11), (4, 6), (2, 3), (1, 2)]), (7, (33, 45), [(8, 11), (4, 6), (2, 3), (1, 2)]),
    (3, (224, 224), [(56, 56), (28, 28), (14, 14), (7, 7)]), (7, (5, 9), [(1, 2), (1, 1), (1, 1), (1, 1)]),
])  # fmt: skip
def test_sizes_of_the_maps(head_conv, size, grids):
    model, found = SMT(head_conv=head_conv, seed=None), []
    for stage in model.stages:
        size = stage.grid(size)
        found.append(size)
    assert found == grids


@pytest.mark.parametrize("size", [(33, 45), (17, 40), (5, 9)])
def test_odd_images(size, rng):
    model = tiny()
    y, cache = model.forward(rng.standard_normal((2, 3, *size)))
    dx, _ = model.backward(np.ones_like(y), cache)
    assert y.shape == (2, 3) and dx.shape == (2, 3, *size)
    found = model.intermediates(cache)
    assert list(found) == [f"stage{s}_tokens" for s in range(1, 5)] and found["stage1_tokens"].shape[1] == (size[0] + 1) // 2 // 2 * (
        (size[1] + 1) // 2 // 2)


def test_padding_of_the_stem():
    """Kernel 5 with the official padding of 1 loses a row and a column of its map."""
    assert Stem(4, 5, padding=1).grid((224, 224)) == (55, 55) and Stem(4, 5).grid((224, 224)) == (56, 56)


def test_height_and_width_exchanged_raise_nothing_and_change_the_result(rng):
    x = rng.standard_normal((1, 12, 4))
    for layer in (sam(4, 2), MultiHeadAttention(4, 2), DWMLP(4, 8)):
        randomise(layer, rng)
        assert not np.allclose(layer.forward(x, (3, 4))[0], layer.forward(x, (4, 3))[0])


def test_stochastic_depth_grows_over_all_blocks():
    model = build("smt_t", seed=None)
    rates = [block.drop_path for stage in model.stages for block in stage.blocks.values()]
    np.testing.assert_allclose(rates, np.linspace(0, 0.1, 13), rtol=1e-14)
    assert [build(f"smt_{n}", seed=None).drop_path_rate for n in ("t", "s", "b", "l", "l_384")] == [0.1, 0.2, 0.3, 0.4, 0.1]


def test_stochastic_depth_draws_twice_per_sample(rng):
    """Of 400 samples a fair share loses each branch, independently; what is kept is divided by the chance to stay."""
    block = randomise(SMTBlock(4, "msa", sa_num_heads=2, mlp_ratio=1, drop_path=0.25), rng)
    x = rng.standard_normal((400, 4, 4))
    size, ones, zeros = (2, 2), np.ones(400), np.zeros(400)
    attended = block.forward(x, size, (ones, zeros))[0] - x
    y, cache = block.train().forward(x, size)
    first, second = (c[3].mask for c in cache)
    assert set(first) | set(second) == {0.0, 1.0}
    counts = np.array([[np.sum((first == a) & (second == b)) for b in (0, 1)] for a in (0, 1)]) / 400
    np.testing.assert_allclose(counts, [[1 / 16, 3 / 16], [3 / 16, 9 / 16]], rtol=0, atol=0.06)
    np.testing.assert_array_equal(y, block.forward(x, size, (first / 0.75, second / 0.75))[0])
    gone = (first == 0) & (second == 0)
    np.testing.assert_array_equal(y[gone], x[gone])
    only = (first == 1) & (second == 0)
    np.testing.assert_allclose(y[only], (x + attended / 0.75)[only], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(block.eval().forward(x, size)[0], block.forward(x, size, (ones, ones))[0])


def test_factors_for_the_whole_network(rng):
    model = randomise(tiny(drop_path_rate=0.5), rng).train()
    x, scales = rng.standard_normal((2, 3, 24, 24)), [(np.array([0.0, 2.0]), np.array([2.0, 0.0]))] * 5
    drawn = [model.forward(x)[0] for _ in range(4)]
    assert not all(np.array_equal(drawn[0], y) for y in drawn)
    given = [model.forward(x, scales)[0] for _ in range(2)]
    assert np.array_equal(*given)
    with pytest.raises(ConstraintError, match="one factor per sample"):
        model.forward(x, [(np.ones(3), None)] * 5)


def test_p18_float32(rng):
    model = build("smt_t", num_classes=10, dtype=np.float64)
    single = build("smt_t", num_classes=10, dtype=np.float32)
    x, dy = rng.standard_normal((2, 3, 64, 64)), rng.standard_normal((2, 10))
    for training in (False, True):
        single.load_state_dict({name: value.astype(np.float32) if value.dtype == np.float64 else value
                                for name, value in model.state_dict().items()})
        wide = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in single.state_dict().items()}
        model.load_state_dict(wide)
        scales = [(np.ones(2), np.ones(2))] * 13
        (y, cache), (y32, cache32) = (net.train(training).forward(x.astype(net.dtype), scales) for net in (model, single))
        (dx, grads), (dx32, grads32) = model.backward(dy, cache), single.backward(dy.astype(np.float32), cache32)
        assert {value.dtype for value in (y32, dx32, *grads32.values())} == {np.dtype(np.float32)}
        largest = max(np.abs(grad).max() for grad in grads.values())
        for got, expected in ((y32, y), (dx32, dx), *((grads32[name], grads[name]) for name in grads)):
            scale = max(np.abs(expected).max(), 1e-3 * largest if expected is not y and expected is not dx else 0)
            assert np.abs(got - expected).max() <= 1e-4 * scale


# Errors, options, command line.


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sam(6, 4), "ca_num_heads must be at least 1 and divide the 6 channels; got 4"),
        (lambda: sam(6, -1), "ca_num_heads must be at least 1"),
        (lambda: sam(4, 2, fusion="other"), "fusion must be one of"),
        (lambda: sam(4, 2, kernel_sizes=(3, 4)), "mixed_conv"),
        (lambda: sam(4, 2, kernel_sizes=(3, 5, 7)), "kernel_sizes"),
        (lambda: sam(4, 2, dtype=np.float16), "dtype must be float32 or float64"),
        (lambda: MixedConv(5, 2), "num_heads must be at least 1 and divide the 5 channels"),
        (lambda: Aggregation(5, 2), "num_heads"),
        (lambda: ComposedAggregation(4, 2, fusion="up"), "fusion must be one of"),
        (lambda: MultiHeadAttention(6, 4), "sa_num_heads must be at least 1 and divide"),
        (lambda: SMTBlock(4, "conv"), "kind must be one of"),
        (lambda: SMTBlock(4, "msa", sa_num_heads=-1), "sa_num_heads"),
        (lambda: SMTBlock(4, drop_path=1.0), "rate must be at least 0"),
        (lambda: sam(4, 2).forward(np.zeros((1, 12, 4)), (3, 5)), r"x must be \(B, 3\*5, 4\), the tokens of a map of 3 x 5"),
        (lambda: MultiHeadAttention(4, 2).forward(np.zeros((1, 12, 3)), (3, 4)), r"x must be \(B, 3\*4, 4\)"),
        (lambda: DWMLP(4, 2).forward(np.zeros((1, 4, 3, 4)), (3, 4)), "got shape"),
        (lambda: SMTBlock(4).forward(np.zeros((1, 12, 4)), (4, 4)), "SMTBlock: x must be"),
        (lambda: SMTBlock(4).forward(np.zeros((2, 4, 4)), (2, 2), (np.ones(3), None)), "one factor per sample"),
        (lambda: SMTBlock(4).forward(np.zeros((2, 4, 4)), (2, 2), (None,)), "SMTBlock: path_scales must be a tuple or list of 2"),
        (lambda: SMTBlock(4).forward(np.zeros((2, 4, 4)), (2, 2), np.ones((2, 2))), "path_scales must be a tuple or list of 2"),
        (lambda: tiny().forward(np.zeros((1, 3, 32, 32)), [(None, None)] * 4), "SMT: path_scales must be .* of 5, a pair for every block"),
        (lambda: tiny().stages[2].forward(np.zeros((1, 4, 8, 8)), []), "Stage: path_scales must be .* of 2"),
        (lambda: tiny().forward(np.zeros((1, 4, 32, 32))), r"x must be \(B, 3, H, W\)"),
        (lambda: tiny(depths=(1, 1, 2)), "must name as many stages"),
        (lambda: tiny(mix="none"), "mix must be one of"),
        (lambda: tiny(mix=("S", "S", "S", "M")), "a row of S and M for each stage"),
        (lambda: tiny(mix=("S", "S", "SX", "M")), "a row of S and M for each stage"),
        (lambda: tiny(ca_num_heads=(2, 4, -1, 4)), "ca_num_heads must be at least 1"),
        (lambda: block_kinds("half", (1, 2)), "is for four stages"),
    ],
)  # fmt: skip
def test_refusals_name_the_argument(make, text):
    with pytest.raises(ConstraintError, match=text):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sam(0), "ScaleAwareModulation: dim must be a whole number from 1"),
        (lambda: sam(4, 2, True, 0), "ScaleAwareModulation: expand_ratio"),
        (lambda: sam(4, 2, True, 1.5), "ScaleAwareModulation: expand_ratio"),
        (lambda: MixedConv(-2, 1), "MixedConv: channels"),
        (lambda: Aggregation(4, 2, 0), "Aggregation: expand_ratio"),
        (lambda: ComposedAggregation(0, 2), "ComposedAggregation: channels"),
        (lambda: MultiHeadAttention(0, 1), "MultiHeadAttention: dim"),
        (lambda: DWMLP(4, 0), "DWMLP: hidden_features"),
        (lambda: SMTBlock(4, mlp_ratio=0.1), "DWMLP: hidden_features"),
        (lambda: SMTBlock(2.0), "SMTBlock: dim"),
        (lambda: Stem(4, 0), "Stem: head_conv"),
        (lambda: PatchEmbed(3, 4, 3, 0), "PatchEmbed: stride"),
        (lambda: tiny(num_classes=0), "SMT: num_classes"),
        (lambda: tiny(in_channels=0), "Stem: in_channels"),
        (lambda: sam(4, 2).forward(np.zeros((1, 12, 4)), (3, 4, 1)), "ScaleAwareModulation: size"),
    ],
)  # fmt: skip
def test_sizes_are_whole_numbers(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_an_image_smaller_than_the_network_is_refused():
    with pytest.raises(ConstraintError, match="SMT: x must be large enough to leave the stem a token; got 2 x 32 pixels"):
        tiny().forward(np.zeros((1, 3, 2, 32)))
    assert tiny().forward(np.zeros((1, 3, 3, 32)))[0].shape == (1, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SMTBlock(4, "sam", 2, mlp_ratio="3"), "SMTBlock: mlp_ratio must be a finite number; got '3'"),
        (lambda: tiny(mlp_ratios="1111"), "SMT: mlp_ratios must be a tuple or list of finite numbers; got '1111'"),
        (lambda: SMTBlock(4, "sam", 2, qkv_bias="False"), "SMTBlock: qkv_bias must be True or False; got 'False'"),
        (lambda: ScaleAwareModulation(64, 4, 8), "ScaleAwareModulation: qkv_bias must be True or False; got 8"),
        (lambda: SMTBlock(4, "sam", 2, use_layerscale=True, layerscale_value=None), "layerscale_value must be a finite number; got None"),
        (lambda: MultiHeadAttention(4, 2, True, float("nan")), "qk_scale must be a finite number or None; got nan"),
        (lambda: MixedConv(8, 4, (3, 5)), "MixedConv: kernel_sizes must be one for each of 4 heads; got (3, 5)"),
        (lambda: ScaleAwareModulation(8, 4, kernel_sizes=(3, 5)), "MixedConv: kernel_sizes must be one for each of 4 heads; got (3, 5)"),
        (lambda: Stem(4, padding=-1), "Stem: padding must be a whole number from 0"),
        (lambda: PatchEmbed(4, 4, padding=1.5), "PatchEmbed: padding must be a whole number"),
        (lambda: tiny(depths=(1.0, 1, 2, 1)), "SMT: depths must be a tuple or list of whole numbers; got (1.0, 1, 2, 1)"),
    ],
)  # fmt: skip
def test_options_of_another_kind_are_refused_by_name(make, message):
    with pytest.raises((ConstraintError, TypeError, ValueError), match=re.escape(message)):
        make()


def test_factors_that_are_no_array_are_refused(rng):
    block = SMTBlock(4, "sam", 2)
    with pytest.raises(ConstraintError, match=r"scale must be an array of one factor per sample, \(2,\); got \[1.0, 0.0\]"):
        block.forward(rng.standard_normal((2, 9, 4)), (3, 3), ([1.0, 0.0], None))


def test_a_training_forward_that_fails_leaves_the_statistics(rng):
    """Stage 4 has one value per channel left, and refuses; by then the stem's statistics had moved."""
    model = tiny(mix="sam").train()
    before = model.state_dict()
    with pytest.raises(ConstraintError, match="batch_norm"):
        model.forward(rng.standard_normal((1, 3, 32, 32)))
    assert all((model.state_dict()[name] == value).all() for name, value in before.items())
    model.forward(rng.standard_normal((2, 3, 32, 32)))
    moved = {name for name, value in before.items() if not (model.state_dict()[name] == value).all()}
    assert moved == {name for name in before if "running" in name or name.endswith("tracked")}


def test_options_of_the_card_change_what_is_built_or_computed(rng):
    image, x = rng.standard_normal((1, 3, 17, 17)), rng.standard_normal((1, 6, 4))
    widths = {"embed_dims": (4, 4, 4, 4), "sa_num_heads": (2, 2, 2, 2)}
    for difference in CARD.differences:
        for name, value in difference.options:
            make, arguments, base = find(difference.layer or CARD.layer), (x, (2, 3)), {"dim": 4}
            if make is SMT:
                arguments, base = (image,), {"num_classes": 2, **widths, "head_conv": 5 if name == "stem_padding" else 3}
            if make is SMTBlock and name != "dwconv":
                base |= {"kind": "msa", "sa_num_heads": 2}
            if name == "in_channels":
                assert make(**base, in_channels=value).forward(rng.standard_normal((1, value, 17, 17)))[0].shape == (1, 2)
                continue
            plain, other = (randomise(make(**given), np.random.default_rng(1)) for given in (base, {**base, name: value}))
            shapes = [{key: array.shape for key, array in layer.named_params().items()} for layer in (plain, other)]
            assert shapes[0] != shapes[1] or not np.array_equal(plain.forward(*arguments)[0], other.forward(*arguments)[0]), name


def test_names_of_the_card_are_parameters():
    known = set()
    for layer in (sam(4, 2), MultiHeadAttention(4, 2), SMTBlock(4, "sam", use_layerscale=True), tiny()):
        known |= set(layer.named_params())
    assert {name for name, _, _ in CARD.names} <= known


def test_the_card_is_printed(capsys):
    assert cli.main(["card", "smt", "--plain"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(difference.default.split()) in printed for difference in CARD.differences)
    assert "ScaleAwareModulation(..., project_out=False)" in printed and "SMT(..., mix='half')" in printed


def test_summary_counts_and_quotes_the_paper(capsys):
    assert cli.main(["summary", "smt_t"]) == 0
    printed = capsys.readouterr().out
    assert "11,506,536" in printed and "2.380 G with weights + 0.081 G between computed values = 2.461 G" in printed
    assert "published       11.5 M" in printed and "block1.0.attn.mhmc" in printed
    assert cli.main(["summary", "smt_l_384", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image_size"] == 384 and found["params"] == 80_620_264 and found["published"]["macs"] == 51.6
    assert cli.main(["models", "--json"]) == 0
    assert set(COUNTED) <= set(json.loads(capsys.readouterr().out))
