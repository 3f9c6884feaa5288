"""Legal cases of DAS beyond the recorded ones are understood: every switch of the vocabulary, alone and together, and nothing else.

The cases are written from layers built here by hand, on the NumPy bodies; what is tested is that the replay builds the same from
names and configuration.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from nn.judge import randomise

from pyhybrid import backend
from pyhybrid.conformance import replay
from pyhybrid.explain import grad_cam
from pyhybrid.nn import DeformConv2d, GroupNorm, InstanceNorm2d, LayerNorm
from pyhybrid.ops import bilinear_sample, depthwise_separable_conv, grid_sample
from pyhybrid.papers.das import DASGate, MobileNetV2, ResNet, sfd
from pyhybrid.papers.das.gate import VARIANTS

SIZES = {"N": 2, "H": 5, "W": 4}
GATE = {**SIZES, "channels": 7, "alpha": 0.45, "mid": 3, "kernel_size": 3, "modulated": True}
NET = {"N": 2, "H": 34, "W": 30, "stem": 4, "widths": [3, 4], "layers": [1, 2], "num_classes": 3, "alpha": 0.4}
MOBILE = {"N": 2, "H": 18, "W": 20, "stem": 4, "setting": [[1, 3, 1, 1], [2, 4, 2, 2]], "last": 6, "after": [1, 3], "num_classes": 3,
          "alpha": 0.4}  # fmt: skip


def resnet(block="basic", **options):
    return ResNet((1, 2), (3, 4), 4, block, 3, **{"gate": {"alpha": 0.4}, **options})


def write(folder, operator, config, arrays, mode="eval", **meta):
    path = folder / "case.npz"
    meta = {"system": "das", "operator": operator, "case": "case", "config": config, "mode": mode, "source": "here", **meta}
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
    return path


def layer_case(folder, operator, config, layer, x, mode, output="out"):
    """A case of a layer with one input, as the recorded ones are: running statistics before and after, but no counter of batches."""
    rng = np.random.default_rng(3)
    layer = randomise(layer, rng).train(mode == "train")
    before = {name: value for name, value in layer.state_dict().items() if not name.endswith("num_batches_tracked")}
    with backend.use("numpy"):
        y, cache = layer.forward(x)
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy, cache)
    arrays = {"input.x": x, f"output.{output}": y, f"cotangent.{output}": dy, "grad.input.x": dx}
    arrays |= {f"param.{name}": value for name, value in before.items()} | {f"grad.param.{name}": value for name, value in grads.items()}
    after = layer.state_dict()
    arrays |= {f"after.{name}": after[name] for name in before if not np.array_equal(after[name], before[name])}
    return write(folder, operator, config, arrays, mode), arrays


def passes(path):
    report = replay(path)
    assert report.passed, str(report)
    assert len(report.rows) == 1 + backend.available()


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("operator", "config", "layer", "shape"),
    [
        ("das_gate", GATE, DASGate(7, 0.45), (7, 5, 4)),
        ("das_gate", {key: value for key, value in GATE.items() if key not in ("mid", "modulated")}, DASGate(7, 0.45), (7, 5, 4)),
        ("das_gate", {**GATE, "kernel_size": 5}, DASGate(7, 0.45, 5), (7, 5, 4)),
        ("das_gate", {**GATE, "kernel_size": 5}, DASGate(7, 0.45, 3, dw_kernel=5), (7, 5, 4)),
        ("das_gate", {**GATE, "kernel_size": 1}, DASGate(7, 0.45, 1), (7, 5, 4)),
        ("das_gate", GATE, DASGate(7, 0.45, offset_kernel=1), (7, 5, 4)),
        ("das_gate", {**GATE, "ln": "global", "modulated": False}, DASGate(7, 0.45, ln="global", modulated=False), (7, 5, 4)),
        ("das_gate", {**GATE, "ln": "channel", "dw_bias": True, "pw_bias": False}, DASGate(7, 0.45, dw_bias=True), (7, 5, 4)),
        ("das_gate", {**GATE, "deform_bias": True, "inst_affine": True}, DASGate(7, 0.45, deform_bias=True, inst_affine=True), (7, 5, 4)),
        *[("das_ablation", {**SIZES, "channels": 7, "alpha": 0.45, "variant": letter}, DASGate(7, 0.45, variant=letter), (7, 5, 4))
          for letter in VARIANTS],
        ("instance_norm", {**SIZES, "C": 3, "affine": True, "eps": 1e-3, "track_running_stats": False}, InstanceNorm2d(3, 1e-3, True),
         (3, 5, 4)),
        ("layer_norm", {**SIZES, "C": 3, "kind": "channel", "axes": "C per pixel", "eps": 1e-3}, LayerNorm(3, 1e-3, 1), (3, 5, 4)),
        ("layer_norm", {**SIZES, "C": 3, "kind": "global", "axes": "C,H,W per sample", "eps": 1e-3}, GroupNorm(1, 3, 1e-3), (3, 5, 4)),
        ("resnet_basic", NET, resnet(), (3, 34, 30)),
        ("resnet_basic", {**NET, "modulated": False}, resnet(gate={"alpha": 0.4, "modulated": False}), (3, 34, 30)),
        ("resnet_basic", {**NET, "H": 8, "W": 7, "cifar": True}, resnet(cifar=True), (3, 8, 7)),
        ("resnet_basic", {**NET, "H": 8, "W": 7, "cifar": True}, resnet(cifar=True, in_channels=2), (2, 8, 7)),
        ("resnet_bottleneck", NET, resnet("bottleneck"), (3, 34, 30)),
        ("resnet_bottleneck", {**NET, "cifar": True, "H": 6, "W": 9, "modulated": True}, resnet("bottleneck", cifar=True), (3, 6, 9)),
        ("mobilenet_v2_das", MOBILE, MobileNetV2(MOBILE["setting"], 4, 6, 3, after=(1, 3), gate={"alpha": 0.4}), (3, 18, 20)),
        ("mobilenet_v2_das", {**MOBILE, "after": [4]}, MobileNetV2(MOBILE["setting"], 4, 6, 3, after=(4,), gate={"alpha": 0.4}),
         (3, 18, 20)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_layers(tmp_path, operator, config, layer, shape, mode, rng):
    output = "logits" if "net" in operator else "out"
    passes(layer_case(tmp_path, operator, config, layer, rng.standard_normal((2, *shape)), mode, output)[0])


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(
    ("C", "O", "kernel", "stride", "padding", "dilation", "groups", "offset_groups", "bias"),
    [(4, 6, [3, 3], [1, 1], [1, 1], [1, 1], 1, 1, True), (4, 2, [1, 3], [2, 1], [0, 2], [1, 2], 2, 4, False),
     (3, 3, [2, 5], [1, 3], [3, 0], [2, 1], 3, 1, True), (2, 1, [1, 1], [1, 1], [0, 0], [1, 1], 1, 2, False)],
)  # fmt: skip
def test_deformable_convolution(tmp_path, C, O, kernel, stride, padding, dilation, groups, offset_groups, bias, modulated, rng):
    H, W, taps = 8, 7, offset_groups * kernel[0] * kernel[1]
    layer = randomise(DeformConv2d(C, O, tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), groups, offset_groups, bias), rng)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip((H, W), padding, dilation, kernel, stride, strict=True)]
    x, offset = rng.standard_normal((2, C, H, W)), 2 * rng.standard_normal((2, 2 * taps, *size))
    mask = rng.uniform(size=(2, taps, *size)) if modulated else None
    with backend.use("numpy"):
        y, cache = layer.forward(x, offset, mask)
        dy = rng.standard_normal(y.shape)
        given, grads = layer.backward(dy, cache)
    arrays = {"output.out": y, "cotangent.out": dy} | {f"param.{n}": v for n, v in layer.state_dict().items()}
    arrays |= {f"grad.param.{n}": v for n, v in grads.items()}
    for name, value, grad in zip(("x", "offset", "mask"), (x, offset, mask), given, strict=True):
        if value is not None:
            arrays |= {f"input.{name}": value, f"grad.input.{name}": grad}
    config = {"N": 2, "in_channels": C, "out_channels": O, "H": H, "W": W, "kernel_size": kernel, "stride": stride, "padding": padding,
              "dilation": dilation, "groups": groups, "offset_groups": offset_groups, "modulated": modulated, "bias": bias,
              "offset_kind": "normal"}  # fmt: skip
    name = f"deform_conv2d_v{2 if modulated else 1}"
    passes(write(tmp_path, name, config, arrays))
    for key, value, words in (("groups", 5, "groups"), ("offset_kind", "odd", "config offset_kind"), ("padding", [-1, 0], "padding"),
                              ("modulated", not modulated, "config"), ("kernel_size", [3, 0], "kernel_size"),
                              ("bias", not bias, "bias")):  # fmt: skip
        assert words in failure(write(tmp_path, name, {**config, key: value}, arrays))


@pytest.mark.parametrize("align", [False, True])
def test_samplings(tmp_path, align, rng):
    x, grid, dy = rng.standard_normal((2, 3, 1, 6)), rng.uniform(-1.5, 1.5, (2, 4, 2, 2)), rng.standard_normal((2, 3, 4, 2))
    with backend.use("numpy"):
        y, cache = grid_sample.forward(x, grid, align_corners=align)
        dx, dgrid = grid_sample.backward(dy, cache)
    config = {"N": 2, "C": 3, "H": 1, "W": 6, "Ho": 4, "Wo": 2, "align_corners": align, "padding_mode": "zeros", "mode": "bilinear",
              "grid_last_axis": "(x,y)"}  # fmt: skip
    arrays = {"input.x": x, "input.grid": grid, "output.out": y, "cotangent.out": dy, "grad.input.x": dx, "grad.input.grid": dgrid}
    passes(write(tmp_path, "grid_sample", config, arrays))
    for key, value in (("mode", "nearest"), ("padding_mode", "border"), ("grid_last_axis", "(y,x)")):
        assert f"config {key}" in failure(write(tmp_path, "grid_sample", {**config, key: value}, arrays))
    ys, xs = rng.uniform(-2, 3, (2, 5)), rng.uniform(-2, 8, (2, 5))
    with backend.use("numpy"):
        s, kept = bilinear_sample.forward(x, ys, xs)
        ds = rng.standard_normal(s.shape)
        grads = bilinear_sample.backward(ds, kept)
    arrays = {"input.x": x, "input.ys": ys, "input.xs": xs, "output.s": s, "cotangent.s": ds}
    arrays |= {f"grad.input.{name}": grad for name, grad in grads._asdict().items()}
    config = {"N": 2, "C": 3, "H": 1, "W": 6, "padding": "zeros", "coordinates": "absolute pixels", "input_y": [2, 5],
              "derivative": "right-sided at integers"}  # fmt: skip
    passes(write(tmp_path, "bilinear_sample", config, arrays))
    assert "the configuration says" in failure(write(tmp_path, "bilinear_sample", {**config, "input_y": [2, 4]}, arrays))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("k", "padding"), [(3, 1), (1, 0), (5, 1), (4, 2)])
def test_depthwise_separable(tmp_path, k, padding, bias, rng):
    x = rng.standard_normal((2, 3, 6, 5))
    params = [rng.standard_normal(shape) for shape in ((3, 1, k, k), (4, 3, 1, 1), (3,), (4,))][: 4 if bias else 2]
    with backend.use("numpy"):
        y, cache = depthwise_separable_conv.forward(x, *params, padding=padding)
        dy = rng.standard_normal(y.shape)
        dx, *grads = depthwise_separable_conv.backward(dy, cache)
    arrays = {"input.x": x, "output.out": y, "cotangent.out": dy, "grad.input.x": dx}
    for name, value, grad in zip(("depthwise.weight", "pointwise.weight", "depthwise.bias", "pointwise.bias"), params, grads, strict=False):
        arrays |= {f"param.{name}": value, f"grad.param.{name}": grad}
    config = {"N": 2, "H": 6, "W": 5, "in_channels": 3, "out_channels": 4, "kernel_size": k, "padding": padding, "bias": bias}
    passes(write(tmp_path, "depthwise_separable_conv", config, arrays))


def test_grad_cam_of_other_layers_and_classes(tmp_path, rng):
    net = randomise(resnet("bottleneck", cifar=True), rng)
    x = rng.standard_normal((3, 3, 8, 6))
    config = {**NET, "N": 3, "H": 8, "W": 6, "cifar": True, "model": "resnet_bottleneck", "classes": [2, 0, 2], "cam_stages": [1, 2],
              "score": "logit before softmax"}  # fmt: skip
    arrays = {"input.x": x} | {f"param.{name}": value for name, value in net.state_dict().items() if "num_batches" not in name}
    with backend.use("numpy"):
        for stage in (1, 2):
            found = grad_cam(net, x, f"das.{stage}", config["classes"])
            arrays["output.logits"] = found.logits
            for name in ("activation", "gradient", "weight", "linear", "cam", "upsampled"):
                arrays[f"output.das{stage}.{name}"] = getattr(found, name)
            arrays[f"output.das{stage}.map"] = found.heat
    passes(write(tmp_path, "grad_cam", config, arrays))
    for key, value, words in (("classes", [2, 0, 3], "from 0 to 2"), ("model", "vgg", "config model"), ("score", "probability", "score")):
        assert words in failure(write(tmp_path, "grad_cam", {**config, key: value}, arrays))
    arrays["output.das2.map"][0, 0, 0] += 1e-6
    assert "output.das2.map: relative error" in failure(write(tmp_path, "grad_cam", config, arrays))


def test_sfd(tmp_path, rng):
    heat, region = rng.uniform(size=(4, 6)), (rng.uniform(size=(4, 6)) > 0.6).astype(np.uint8)
    arrays = {"input.map": heat, "input.region": region}
    for scale in ("antilog10", "exp", "identity", "neglog"):
        total = sfd(heat, region, threshold=0.25, scale=scale)
        arrays |= {f"output.sfd_sum_{scale}": np.array(total.score), f"output.R_sum_{scale}": np.array(total.region),
                   f"output.B_sum_{scale}": np.array(total.union), "output.salient": total.salient.astype(np.uint8),
                   f"output.sfd_mean_{scale}": np.array(sfd(heat, region, threshold=0.25, scale=scale, reduce="mean").score)}  # fmt: skip
    config = {"H": 4, "W": 6, "threshold": 0.25, "neglog": "-ln(max(1-w,1e-6))"}
    passes(write(tmp_path, "sfd", config, arrays))
    assert "output.salient: relative error" in failure(write(tmp_path, "sfd", {**config, "threshold": 0.75}, arrays))
    assert "config neglog" in failure(write(tmp_path, "sfd", {**config, "neglog": "-ln(1-w)"}, arrays))


def failure(path):
    """Why a case fails, on NumPy."""
    report = replay(path, backend="numpy")
    assert not report.passed
    return "; ".join(report.rows[0].failures)


@pytest.mark.parametrize(
    ("operator", "change", "words"),
    [
        ("das_gate", {"colour": 1}, "config key 'colour'"),
        ("das_gate", {"mid": 4}, "config mid = 4"),
        ("das_gate", {"ln": "pixel"}, "config ln"),
        ("das_gate", {"kernel_size": 7}, "config kernel_size = 7"),
        ("das_gate", {"modulated": False}, "offset.weight has shape"),
        ("das_gate", {"inst_affine": True}, "missing keys: inst_norm.weight"),
        ("das_gate", {"channels": 6, "mid": 2}, "the configuration says"),
        ("das_ablation", {"variant": "z"}, "config variant"),
        ("resnet_basic", {"widths": [3, 4, 5]}, "as many stages"),
        ("resnet_basic", {"alpha": 0.9}, "unfit values"),
        ("mobilenet_v2_das", {"after": [1, 9]}, "after must name"),
        ("mobilenet_v2_das", {"setting": [[1, 2]]}, "config setting"),
    ],
)
def test_not_understood(tmp_path, operator, change, words, rng):
    config, layer, shape = {
        "das_gate": (GATE, DASGate(7, 0.45), (7, 5, 4)),
        "das_ablation": ({**SIZES, "channels": 7, "alpha": 0.45, "variant": "g"}, DASGate(7, 0.45, variant="g"), (7, 5, 4)),
        "resnet_basic": (NET, resnet(), (3, 34, 30)),
        "mobilenet_v2_das": (MOBILE, MobileNetV2(MOBILE["setting"], 4, 6, 3, after=(1, 3), gate={"alpha": 0.4}), (3, 18, 20)),
    }[operator]
    _, arrays = layer_case(tmp_path, operator, config, layer, rng.standard_normal((2, *shape)), "eval")
    assert words in failure(write(tmp_path, operator, {**config, **change}, arrays))


@pytest.mark.parametrize("name", ["after.bn1.running_mean", "after.layer2.1.bn2.running_var", "grad.param.das.2.offset.weight",
                                  "output.logits"])  # fmt: skip
def test_damage_is_found(tmp_path, name, rng):
    _, arrays = layer_case(tmp_path, "resnet_basic", NET, resnet(), rng.standard_normal((2, 3, 34, 30)), "train", "logits")
    arrays[name] = arrays[name] + 1e-7 * np.abs(arrays[name]).max()
    assert f"{name.replace('after.', 'state_after.')}: relative error" in failure(write(tmp_path, "resnet_basic", NET, arrays, "train"))


def test_a_running_statistic_that_is_not_recorded_is_found(tmp_path, rng):
    _, arrays = layer_case(tmp_path, "resnet_basic", NET, resnet(), rng.standard_normal((2, 3, 34, 30)), "train", "logits")
    del arrays["after.bn1.running_var"]
    assert "is not recorded" in failure(write(tmp_path, "resnet_basic", NET, arrays, "train"))
