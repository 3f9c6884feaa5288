"""Legal cases of SMT beyond the recorded ones are understood: other heads, kernels, strategies, switches; and what is not is refused.

The cases are written from layers built here by hand, on the NumPy bodies; what is tested is that the replay builds the same from names
and configuration, and that damage to what the recorded cases hold is found.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nn.judge import randomise

from pyhybrid import backend
from pyhybrid.conformance import replay
from pyhybrid.ops import regroup
from pyhybrid.papers.smt import DWMLP, SMT, Aggregation, MixedConv, MultiHeadAttention, PatchEmbed, ScaleAwareModulation, SMTBlock, Stem

GOLDEN = Path(__file__).parents[1] / "golden" / "smt"
SIZE = {"B": 2, "H": 4, "W": 3}
SAM = {"dim": 6, "ca_num_heads": 3, "qkv_bias": True, "ca_attention": 1, "expand_ratio": 3, **SIZE}
MSA = {"dim": 6, "sa_num_heads": 3, "qkv_bias": True, "qk_scale": None, "ca_attention": 0, **SIZE}
BLOCK = {"dim": 6, "kind": "sam", "ca_num_heads": 2, "sa_num_heads": None, "mlp_ratio": 2, "qkv_bias": True, "use_layerscale": False,
         "expand_ratio": 2, "norm_eps": 1e-6, "drop_path": 0.0, **SIZE}  # fmt: skip
NET = {"embed_dims": [4, 4, 8, 8], "ca_num_heads": [2, 4, 2, -1], "sa_num_heads": [-1, -1, 2, 4], "mlp_ratios": [2, 2, 1, 1],
       "qkv_bias": True, "use_layerscale": False, "depths": [1, 1, 2, 1], "ca_attentions": [1, 1, 1, 0], "head_conv": 3, "expand_ratio": 2,
       "num_classes": 3, "B": 2, "H": 24, "W": 17}  # fmt: skip


def net(mix=("S", "S", "SM", "M"), **options):
    given = {"num_classes": 3, "embed_dims": (4, 4, 8, 8), "depths": (1, 1, 2, 1), "mlp_ratios": (2, 2, 1, 1), "ca_num_heads": (2, 4, 2, 2),
             "sa_num_heads": (2, 2, 2, 4)}  # fmt: skip
    return SMT(**{**given, "mix": mix, **options})


def write(tmp_path, operator, config, arrays, mode="eval"):
    meta = {"system": "smt", "operator": operator, "case": "case", "config": config, "mode": mode}
    np.savez(tmp_path / "case.npz", meta=np.array(json.dumps(meta)), **arrays)
    return tmp_path / "case.npz"


def recorded(layer, x, *arguments, rng, entry="x", output="y", inter=(), **inputs):
    """The arrays of a case; `layer` is as it was before."""
    before = layer.state_dict()
    with backend.use("numpy"):
        y, cache = layer.forward(x, *arguments)
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy, cache)
        found = layer.intermediates(cache) if inter else {}
    arrays = {f"input.{entry}": x, f"output.{output}": y, f"cotangent.{output}": dy, f"grad.input.{entry}": dx}
    arrays |= {f"input.{name}": value for name, value in inputs.items()} | {f"inter.{name}": found[name] for name in inter}
    arrays |= {f"param.{name}": value for name, value in before.items()} | {f"grad.param.{name}": value for name, value in grads.items()}
    arrays |= {f"after.{name}": value for name, value in layer.state_dict().items() if not np.array_equal(value, before[name])}
    layer.load_state_dict(before)
    return arrays


def check(path):
    report = replay(path)
    assert report.passed, str(report)
    assert len(report.rows) == 1 + backend.available()


TOKENS, MAPS = (2, 12, 6), (2, 6, 4, 3)
UNDERSTOOD = [
    ("mhmc", {"channels": 6, "num_heads": 3, "kernel_sizes": [3, 5, 7], **SIZE}, MixedConv(6, 3), MAPS, ()),
    ("mhmc", {"channels": 6, "num_heads": 2, "kernel_sizes": [1, 5], "input_layout": "B,C,H,W", **SIZE}, MixedConv(6, 2, (1, 5)), MAPS, ()),
    ("sam_attention", SAM, ScaleAwareModulation(6, 3, True, 3), TOKENS, ((4, 3),)),
    ("sam_attention", {**SAM, "ca_num_heads": 6, "qkv_bias": False}, ScaleAwareModulation(6, 6, False, 3), TOKENS, ((4, 3),)),
    ("sam_attention", {**SAM, "ca_num_heads": 1, "expand_ratio": 1}, ScaleAwareModulation(6, 1, True, 1), TOKENS, ((4, 3),)),
    ("msa_attention", {**MSA, "qk_scale": 0.3}, MultiHeadAttention(6, 3, True, 0.3), TOKENS, ((4, 3),)),
    ("msa_attention", {**MSA, "ca_attention": -1}, MultiHeadAttention(6, 3), TOKENS, ((4, 3),)),
    ("msa_attention", {**MSA, "qk_scale": 0.0, "sa_num_heads": 1}, MultiHeadAttention(6, 1), TOKENS, ((4, 3),)),
    ("mlp", {"in_features": 6, "hidden_features": 5, **SIZE}, DWMLP(6, 5), TOKENS, ((4, 3),)),
    ("block", BLOCK, SMTBlock(6, "sam", 2, mlp_ratio=2), TOKENS, ((4, 3),)),
    ("block", {**BLOCK, "use_layerscale": True, "expand_ratio": 1, "norm_eps": 1e-3, "qkv_bias": False, "sa_num_heads": -1},
     SMTBlock(6, "sam", 2, mlp_ratio=2, qkv_bias=False, use_layerscale=True, expand_ratio=1, norm_eps=1e-3), TOKENS, ((4, 3),)),
    ("block", {**BLOCK, "kind": "msa", "ca_num_heads": 0, "sa_num_heads": 2}, SMTBlock(6, "msa", sa_num_heads=2, mlp_ratio=2), TOKENS,
     ((4, 3),)),
    ("block", {**BLOCK, "kind": "msa", "ca_num_heads": None, "sa_num_heads": 2, "mlp_ratio": 1.5},
     SMTBlock(6, "msa", sa_num_heads=2, mlp_ratio=1.5), TOKENS, ((4, 3),)),
    ("stem", {"head_conv": 5, "dim": 4, "norm_eps": 1e-5, "B": 2, "H": 11, "W": 8, "H_out": 2, "W_out": 1}, Stem(4, 5, padding=1),
     (2, 3, 11, 8), ()),
    ("stem", {"head_conv": 7, "dim": 4, "norm_eps": 1e-3, "B": 2, "H": 9, "W": 6}, Stem(4, 7, norm_eps=1e-3), (2, 3, 9, 6), ()),
    ("patch_embed", {"in_chans": 2, "embed_dim": 4, "patch_size": 5, "stride": 3, "padding": 0, "norm_eps": 1e-5, "B": 2, "H": 9, "W": 6,
                     "H_out": 2, "W_out": 1}, PatchEmbed(2, 4, 5, 3, padding=0), (2, 2, 9, 6), ()),
    ("smt_model", NET, net(), (2, 3, 24, 17), ()),
    ("smt_model", {**NET, "use_layerscale": True, "qkv_bias": False, "head_conv": 7, "expand_ratio": 1},
     net(use_layerscale=True, qkv_bias=False, head_conv=7, expand_ratio=1), (2, 3, 24, 17), ()),
    ("smt_model", {**NET, "ca_attentions": [0, 1, -1, 1], "ca_num_heads": [None, 4, -1, 2], "sa_num_heads": [2, -1, 2, None],
                   "head_conv": 5},
     net(("M", "S", "MM", "S"), head_conv=5, stem_padding=1), (2, 3, 24, 17), ()),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("operator", "config", "layer", "shape", "arguments"), UNDERSTOOD)
def test_understood(tmp_path, operator, config, layer, shape, arguments, mode):
    rng = np.random.default_rng(3)
    layer = randomise(layer, rng).train(mode == "train")
    output = "logits" if operator == "smt_model" else "y"
    inter = {"smt_model": ("stage1_tokens", "stage4_tokens"), "sam_attention": ("v", "s", "local_conv_1", "act", "modulator"),
             "msa_attention": ("q", "kv", "local_conv")}.get(operator, ())  # fmt: skip
    arrays = recorded(layer, rng.standard_normal(shape), *arguments, rng=rng, output=output, inter=inter)
    check(write(tmp_path, operator, config, arrays, mode))


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("heads", "expand"), [(1, 2), (2, 1), (6, 3)])
def test_aggregation(tmp_path, heads, expand, mode):
    rng = np.random.default_rng(4)
    layer = randomise(Aggregation(6, heads, expand), rng).train(mode == "train")
    config = {"channels": 6, "num_heads": heads, "groups": 6 // heads, "expand_ratio": expand, **SIZE}
    arrays = recorded(layer, rng.standard_normal(MAPS), rng=rng, entry="y", output="modulator", inter=("proj0", "bn", "act"))
    check(write(tmp_path, "saa", config, arrays, mode))


@pytest.mark.parametrize("kind", ["sam", "msa"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_given_factors_of_stochastic_depth(tmp_path, kind, mode):
    rng = np.random.default_rng(5)
    scales = (np.array([0.0, 1.25]), np.array([1.25, 1.25]))
    layer = randomise(SMTBlock(6, kind, 2, 2, mlp_ratio=2, drop_path=0.2), rng).train(mode == "train")
    arrays = recorded(layer, rng.standard_normal(TOKENS), (4, 3), scales, rng=rng, path_scale_attn=scales[0], path_scale_mlp=scales[1])
    config = {**BLOCK, "kind": kind, "sa_num_heads": 2, "drop_path": 0.2}
    check(write(tmp_path, "block", config, arrays, mode))
    words = "stochastic depth in training needs the factors"
    for names in (["path_scale_attn"], ["path_scale_attn", "path_scale_mlp"] if mode == "train" else ["path_scale_mlp"]):
        kept = {name: value for name, value in arrays.items() if name.removeprefix("input.") not in names}
        report = replay(write(tmp_path, "block", config, kept, mode), backend="numpy")
        assert not report.passed and words in "; ".join(report.rows[0].failures)


@pytest.mark.parametrize(("channels", "heads"), [(1, 1), (12, 3), (12, 12), (10, 5)])
def test_regroup(tmp_path, channels, heads):
    rng = np.random.default_rng(6)
    x, dy = rng.integers(-9, 10, (2, 2, channels, 2, 3)).astype(float)
    order = [t * (channels // heads) + i for i in range(channels // heads) for t in range(heads)]
    config = {"channels": channels, "num_heads": heads, "B": 2, "H": 2, "W": 3, "forward_index": order,
              "inverse_index": np.argsort(order).tolist()}  # fmt: skip
    dx = np.empty_like(dy)
    dx[:, order] = dy
    arrays = {"input.x": x, "output.y": x[:, order], "cotangent.y": dy, "grad.input.x": dx}
    check(write(tmp_path, "regroup", config, arrays))
    assert (regroup.forward(x, heads=heads)[0] == x[:, order]).all()
    if channels > 1 and heads not in (1, channels):
        report = replay(write(tmp_path, "regroup", {**config, "inverse_index": order}, arrays), backend="numpy")
        assert not report.passed and "config inverse_index" in "; ".join(report.rows[0].failures)


def damaged(tmp_path, name, change):
    """The failures, some at least, of a recorded case after `change(meta, arrays)`."""
    failures = changed(tmp_path, name, change)
    assert failures
    return failures


def changed(tmp_path, name, change):
    """The failures of a recorded case after `change(meta, arrays)`."""
    with np.load(GOLDEN / f"{name}.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    meta = json.loads(str(arrays.pop("meta")))
    change(meta, arrays)
    path = tmp_path / "damaged.npz"
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
    return "; ".join(replay(path, backend="numpy").rows[0].failures)


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("sam_c8_n2_e2_nobias_train", "colour", 1, "config key 'colour'"),
        ("sam_c8_n2_e2_nobias_train", "ca_attention", 0, "config ca_attention"),
        ("sam_c8_n2_e2_nobias_train", "ca_num_heads", 3, "ca_num_heads must be at least 1 and divide"),
        ("sam_c8_n2_e2_nobias_train", "ca_num_heads", 4, "missing keys: local_conv_3.weight"),
        ("sam_c8_n2_e2_nobias_train", "qkv_bias", True, "missing keys: v.bias"),
        ("sam_c8_n2_e2_nobias_train", "qkv_bias", 0, "config qkv_bias = 0"),
        ("sam_c8_n2_e2_nobias_train", "H", 5, "the configuration says"),
        ("msa_c12_h2_nobias_b1_3x3", "ca_attention", 1, "config ca_attention"),
        ("msa_c12_h2_nobias_b1_3x3", "qk_scale", "2", "config qk_scale"),
        ("mhmc_c6_n2_b1_5x4", "input_layout", "B,H,W,C", "config input_layout"),
        ("mhmc_c6_n2_b1_5x4", "kernel_sizes", [3, 5, 7], "config kernel_sizes has 3 entries"),
        ("mhmc_c6_n2_b1_5x4", "kernel_sizes", [5, 3], "unfit values: local_conv_1.weight"),
        ("mhmc_c6_n2_b1_5x4", "kernel_sizes", [3, 4], "kernel_sizes"),
        ("regroup_c12_n4_b2_2x3", "forward_index", [0, 1], "config forward_index"),
        ("regroup_c12_n4_b2_2x3", "num_heads", 5, "heads divides"),
        ("saa_c16_n4_e2_eval", "groups", 2, "config groups = 2"),
        ("saa_c16_n4_e2_eval", "input", 3, "config input"),
        ("block_msa_c16_h4_ls", "kind", "conv", "config kind"),
        ("block_msa_c16_h4_ls", "sa_num_heads", None, "config sa_num_heads = null"),
        ("block_msa_c16_h4_ls", "use_layerscale", False, "unknown keys: gamma_1, gamma_2"),
        ("stem_k3_c8_train", "H_out", 5, "config H_out = 5"),
        ("stem_k7_c8_odd_eval", "head_conv", 5, "config W_out = 4"),
        ("stem_k7_c8_odd_eval", "head_conv", 3, "unfit values: conv.0.weight"),
        ("patch_embed_c8_c12_b2_6x5", "padding", 0, "config H_out"),
        ("smt_tiny_train", "ca_attentions", [1, 1, "1", 0], "config ca_attentions"),
        ("smt_tiny_train", "ca_attentions", [1, 1, 2, 0], "missing keys: block3.0.attn.q.weight"),
        ("smt_tiny_train", "ca_attentions", [1, 1, 1], "config ca_attentions"),
        ("smt_tiny_train", "ca_attentions", [1, 1, 0, 0], "missing keys: block3.0.attn.q.weight"),
        ("smt_tiny_train", "mlp_ratios", [2, 2, "1", 1], "config mlp_ratios"),
        ("smt_tiny_train", "depths", [1, 1, 3, 1], "missing keys: block3.2.norm1.weight"),
        ("smt_tiny_train", "embed_dims", [4, 8, 8], "must name as many stages"),
    ],
)  # fmt: skip
def test_configuration_that_is_not_understood(tmp_path, name, key, value, words):
    failures = damaged(tmp_path, name, lambda meta, _: meta["config"].update({key: value}))
    assert failures.startswith("not understood: ") and words in failures


@pytest.mark.parametrize("name", ["sam_c8_n2_e2_nobias_train", "msa_c12_h2_nobias_b1_3x3", "block_sam_c8_droppath_train", "smt_tiny_train"])
def test_every_perturbed_array_is_found(tmp_path, name):
    """Outputs, gradients, intermediate results and buffers afterwards; gradients that are zero in theory as well."""
    with np.load(GOLDEN / f"{name}.npz") as archive:
        names = [key for key in archive.files if key.startswith(("output.", "grad.", "inter.", "after."))]
        largest = max(np.abs(archive[key]).max() for key in archive.files if key.startswith("grad."))
    kinds = names if name != "smt_tiny_train" else [key for key in names if "block3" in key or "inter" in key or "after" in key][::3]
    for key in kinds:
        def change(_, arrays, key=key):
            arrays[key] = arrays[key].copy()
            flat = arrays[key].reshape(-1)
            if arrays[key].dtype.kind == "i":
                flat[-1] += 1
            else:
                flat[-1] += 1e-8 * max(largest if key.startswith("grad.") else 0, np.abs(flat).max())
        assert f"{key.replace('after.', 'state_after.', 1) if key.startswith('after.') else key}: " in damaged(tmp_path, name, change)


@pytest.mark.parametrize("name", ["sam_c8_n2_e2_nobias_train", "block_sam_c8_droppath_train"])
def test_renamed_missing_and_extra_arrays(tmp_path, name):
    with np.load(GOLDEN / f"{name}.npz") as archive:
        names = [key for key in archive.files if key != "meta"]
    for key in names:
        assert "not understood: " in damaged(tmp_path, name, lambda _, a, key=key: a.update({f"{key}x": a.pop(key)})), key
        if not key.startswith(("inter.", "after.")):
            assert "not understood: " in damaged(tmp_path, name, lambda _, a, key=key: a.pop(key)), key
    for key in ("input.z", "param.extra", "output.z", "grad.input.z", "inter.nothing", "after.attn.nothing"):
        assert key.removeprefix("param.") in damaged(tmp_path, name, lambda _, a, key=key: a.update({key: np.ones(2)}))


@pytest.mark.parametrize("name", ["smt_tiny_train", "block_msa_c16_h4_ls", "msa_c12_h2_nobias_b1_3x3"])
def test_attention_recorded_under_its_other_name(tmp_path, name):
    """Loaded, and its gradients compared under the recorded name."""
    def rename(_, arrays):
        for key in [key for key in arrays if "local_conv." in key]:         # not local_conv_1. of modulation
            arrays[key.replace("local_conv.", "dw_conv.")] = arrays.pop(key)

    assert changed(tmp_path, name, rename) == ""

    def rename_and_change(meta, arrays):
        rename(meta, arrays)
        key = next(key for key in arrays if key.startswith("grad.") and key.endswith("dw_conv.weight"))
        arrays[key] = arrays[key] * (1 + 1e-8)

    assert "dw_conv.weight: relative error" in damaged(tmp_path, name, rename_and_change)


def test_masks_and_counters_of_another_form(tmp_path):
    """Factors of stochastic depth as the official (B, 1, 1), counters of batches with the type of everything else."""
    def reshape(_, arrays):
        for key in ("input.path_scale_attn", "input.path_scale_mlp"):
            arrays[key] = arrays[key].reshape(-1, 1, 1)

    assert changed(tmp_path, "block_sam_c8_droppath_train", reshape) == ""

    def floats(_, arrays):
        for key in [key for key in arrays if key.endswith("num_batches_tracked")]:
            arrays[key] = arrays[key].astype(np.float64)

    assert changed(tmp_path, "smt_tiny_train", floats) == ""

    def half(_, arrays):
        arrays["param.block1.0.attn.bn.num_batches_tracked"] = np.array(0.5)

    assert "num_batches_tracked is float64" in damaged(tmp_path, "smt_tiny_train", half)


def test_mixed_convolution_of_dyadic_numbers_is_compared_exactly(tmp_path):
    def whole(shape):
        return np.random.default_rng(len(shape)).integers(-16, 17, shape) / 8.0

    def dyadic(change):
        def write(_, arrays):
            layer = MixedConv(6, 2, (3, 5))
            layer.load_state_dict({key: whole(value.shape) for key, value in layer.state_dict().items()})
            x = whole(arrays["input.x"].shape)
            y, cache = layer.forward(x)
            dy = whole(y.shape)
            dx, grads = layer.backward(dy, cache)
            arrays.update({"input.x": x, "output.y": y, "cotangent.y": dy, "grad.input.x": dx})
            arrays.update({f"param.{key}": value for key, value in layer.state_dict().items()})
            arrays.update({f"grad.param.{key}": value for key, value in grads.items()})
            if change:
                arrays["output.y"] = np.nextafter(y, np.inf)
        return write

    assert changed(tmp_path, "mhmc_c6_n2_b1_5x4", dyadic(False)) == ""
    assert "exact equality expected" in damaged(tmp_path, "mhmc_c6_n2_b1_5x4", dyadic(True))
