"""Grad-CAM: its gradient is that of the logit by the layer's output, in every family of models; its invariants; what is refused."""

import json

import numpy as np
import pytest
from nn.judge import randomise

from pyhybrid import backend, cli
from pyhybrid.errors import ConstraintError, UsageError
from pyhybrid.explain import grad_cam, map_layers, normalised
from pyhybrid.papers import build
from pyhybrid.papers.acmix import PVT, SAN, SwinTransformer
from pyhybrid.papers.acmix import ResNet as ACmixResNet
from pyhybrid.papers.coatnet import CoAtNet
from pyhybrid.papers.das import MobileNetV2, ResNet

BACKENDS = ["numpy", pytest.param("rust", marks=pytest.mark.skipif(not backend.available(), reason="no compiled core"))]
TINY = {"layers": (1, 2), "widths": (3, 4), "stem": 2, "num_classes": 5, "gate": {"alpha": 0.5}}


@pytest.fixture
def rng():
    return np.random.default_rng(47)


def tiny(rng, **options):
    return randomise(ResNet(**{**TINY, **options}), rng)


MODELS = {
    "das": (lambda: ResNet(**TINY), (2, 3, 20, 24), ["das.1", "das.2", "layer1", "layer2.1.conv2", "layer2.1.relu", "das.2.pointwise"]),
    "das_blocks": (lambda: ResNet(**TINY, gates="blocks", pre_relu=True), (1, 3, 20, 20), ["das.2.1", "layer2.0"]),
    "das_mobilenet_v2": (
        lambda: MobileNetV2(((1, 3, 1, 1), (2, 4, 2, 2)), 3, 5, 4, after=(1, 3), gate={"alpha": 0.5}), (2, 3, 20, 16),
        ["das.3", "features.2", "features.3.conv.1.2"]),
    "acmix_resnet": (lambda: ACmixResNet((1, 1), (4, 8), stem=8, k_att=3, head=2, num_classes=4), (1, 3, 32, 32),
                     ["layer1", "layer2.0.conv2", "maxpool"]),
    "swin": (lambda: SwinTransformer((16, 32), 2, 3, 4, 8, (1, 1), (2, 2), 2), (1, 3, 16, 32), ["layers.0", "norm", "layers.1.blocks.0"]),
    "san": (lambda: SAN("patchwise", (1, 1), (3, 3), 3, widths=(16, 32), share_planes=2), (1, 3, 12, 12), ["layer1", "conv0", "relu"]),
    "pvt": (lambda: PVT(32, (1, 1), 3, patch_sizes=(4, 2), embed_dims=(4, 8), num_heads=(1, 2), mlp_ratios=(2, 2), sr_ratios=(2, 1)),
            (2, 3, 32, 32), ["block1.0"]),
    "coatnet": (lambda: CoAtNet((32, 48), ((("C", 1, 2),), (("T", 1, 4),)), (2, 2), dim_head=2, num_classes=3), (2, 3, 32, 48),
                ["blocks.1.0", "blocks.0.0", "stem"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("model", "layer"), [(model, layer) for model, (_, _, layers) in MODELS.items() for layer in layers])
def test_the_gradient_is_that_of_the_logit(model, layer, name, rng):
    """Moving the layer's output moves the logit as the gradient says; nothing above it is asked."""
    make, shape, _ = MODELS[model]
    net = randomise(make(), rng)
    x = rng.standard_normal(shape)
    with backend.use(name):
        found = grad_cam(net, x, layer, 1)
        module = dict(net.named_modules())[layer]
        uses = count_uses(net, module, x)
        direction = rng.standard_normal(found.gradient.shape)

        def logit(t):
            """With t·direction added to the last output of the layer."""
            seen, forward = [], type(module).forward

            def moved(x, *more):
                y, cache = forward(module, x, *more)
                seen.append(0)
                if len(seen) < uses:
                    return y, cache
                step = direction if y.ndim == 4 else direction.reshape(*direction.shape[:2], -1).swapaxes(1, 2)
                return y + t * step, cache

            module.__dict__["forward"] = moved
            try:
                return float(net.forward(x)[0][:, 1].sum())
            finally:
                del module.__dict__["forward"]

        h = 2.0**-21
        differed = (logit(h) - logit(-h)) / (2 * h)
    by_hand = float((found.gradient * direction).sum())
    assert abs(differed - by_hand) < 1e-6 * (np.abs(found.gradient * direction).sum() + np.abs(found.logits).sum())
    assert np.abs(found.gradient).max() > 0


def count_uses(net, module, x):
    seen, forward = [], type(module).forward
    module.__dict__["forward"] = lambda *args: (seen.append(0), forward(module, *args))[1]
    try:
        net.forward(x)
    finally:
        del module.__dict__["forward"]
    return len(seen)


def test_every_step_follows_from_the_one_before(rng):
    net, x = tiny(rng), rng.standard_normal((2, 3, 20, 24))
    found = grad_cam(net, x, "das.2", [4, 0])
    N, K, h, w = found.activation.shape
    assert found.classes.tolist() == [4, 0] and found.heat.shape == (2, 20, 24)
    for n in range(N):
        weight = [sum(found.gradient[n, k, i, j] for i in range(h) for j in range(w)) / (h * w) for k in range(K)]
        np.testing.assert_allclose(found.weight[n], weight, rtol=1e-12)
        linear = [[sum(weight[k] * found.activation[n, k, i, j] for k in range(K)) for j in range(w)] for i in range(h)]
        np.testing.assert_allclose(found.linear[n], linear, rtol=1e-10, atol=1e-15)
    np.testing.assert_array_equal(found.cam, np.maximum(found.linear, 0))
    np.testing.assert_array_equal(found.logits, net.forward(x)[0])
    spread = found.upsampled.max((1, 2)) > found.upsampled.min((1, 2))
    assert (found.heat.min((1, 2)) == 0).all() and ((found.heat.max((1, 2)) == 1) == spread).all()


def test_classes_default_to_the_largest_logit(rng):
    net, x = tiny(rng), rng.standard_normal((3, 3, 18, 18))
    found = grad_cam(net, x, "das.2")
    assert found.classes.tolist() == net.forward(x)[0].argmax(1).tolist()
    one_by_one = [grad_cam(net, x[n : n + 1], "das.2", int(found.classes[n])).heat for n in range(3)]
    np.testing.assert_allclose(found.heat, np.concatenate(one_by_one), rtol=1e-9, atol=1e-12)


def test_a_constant_on_all_logits_changes_nothing_and_a_factor_only_the_scale(rng):
    net, x = tiny(rng), rng.standard_normal((1, 3, 18, 18))
    before, state = grad_cam(net, x, "das.1", 2), net.state_dict()
    net.load_state_dict(state | {"fc.bias": state["fc.bias"] + 7})
    moved = grad_cam(net, x, "das.1", 2)
    np.testing.assert_array_equal(moved.gradient, before.gradient)
    net.load_state_dict(state | {"fc.weight": 4 * state["fc.weight"], "fc.bias": 4 * state["fc.bias"]})
    scaled = grad_cam(net, x, "das.1", 2)
    np.testing.assert_array_equal(scaled.cam, 4 * before.cam)
    np.testing.assert_allclose(scaled.heat, before.heat, rtol=1e-12, atol=1e-15)


def test_a_constant_map_becomes_zeros():
    maps = np.stack([np.full((3, 4), 2.5), np.arange(12.0).reshape(3, 4)])
    np.testing.assert_array_equal(normalised(maps)[0], 0)
    np.testing.assert_array_equal(normalised(maps)[1], maps[1] / 11)


def test_the_model_is_left_as_it_was(rng):
    net, x = tiny(rng).train(), rng.standard_normal((2, 3, 18, 18))
    before = net.state_dict()
    found = grad_cam(net, x, "layer2", 0)
    assert all(module.training for _, module in net.named_modules())
    assert all(np.array_equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any({"forward", "backward"} & set(vars(module)) for _, module in net.named_modules())
    np.testing.assert_array_equal(found.logits, net.eval().forward(x)[0])
    with pytest.raises(ConstraintError):
        grad_cam(net, x, "layer2", 9)
    assert not any({"forward", "backward"} & set(vars(module)) for _, module in net.named_modules())


def test_layers_that_give_maps():
    assert map_layers(build("das_resnet18", seed=None), (1, 3, 224, 224))[-1] == "das.4"
    assert map_layers(build("mobilenet_v2", seed=None), (1, 3, 224, 224))[-1] == "features.18"
    assert map_layers(build("acmix_swin_t", seed=None), (1, 3, 224, 224))[-1] == "norm"
    assert map_layers(build("hornet_tiny_7x7", seed=None), (1, 3, 64, 48))[-1] == "stages.3.1"
    assert map_layers(build("hornet_tiny", seed=None), (1, 3, 32, 32))[-1] == "downsample_layers.3.0"     # then a pixel, of many channels
    assert "layer3" in map_layers(build("resnet18", seed=None), (1, 3, 64, 64))
    assert not any({"forward"} & set(vars(module)) for _, module in build("resnet18", seed=None).named_modules())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda net, x: grad_cam(net, x, "das.7"), UsageError, r"no layer named 'das\.7' \(did you mean das\.\d"),
        (lambda net, x: grad_cam(net, x, ""), UsageError, "no layer named ''"),
        (lambda net, x: grad_cam(net, x, "fc"), UsageError, "is no map"),
        (lambda net, x: grad_cam(net, x, "avgpool"), UsageError, "is no map"),
        (lambda net, x: grad_cam(net, x, "das.1", 5), ConstraintError, "from 0 to 4"),
        (lambda net, x: grad_cam(net, x, "das.1", -1), ConstraintError, "from 0 to 4"),
        (lambda net, x: grad_cam(net, x, "das.1", [0, 1]), ConstraintError, "each of the 1 images"),
        (lambda net, x: grad_cam(net, x, "das.1", 0.5), ConstraintError, "classes must be"),
        (lambda net, x: grad_cam(net, x[0], "das.1"), ConstraintError, r"x must be \(N, C, H, W\)"),
        (lambda net, x: grad_cam(net.children["layer1"], np.zeros((1, 2, 4, 4)), "0"), UsageError, "a model that gives logits"),
    ],
)  # fmt: skip
def test_refusals(call, error, text, rng):
    with pytest.raises(error, match=text):
        call(tiny(rng), rng.standard_normal((1, 3, 18, 18)))


def test_tokens_need_a_grid(rng):
    net = SwinTransformer((16, 32), 2, 3, 4, 8, (1, 1), (2, 2), 2)
    x = rng.standard_normal((1, 3, 16, 32))
    assert grad_cam(net, x, "norm").cam.shape == (1, 4, 8)
    np.testing.assert_array_equal(grad_cam(net, x, "norm", grid=(4, 8)).heat, grad_cam(net, x, "norm").heat)
    assert grad_cam(net, x, "norm", grid=(2, 16)).cam.shape == (1, 2, 16)
    with pytest.raises(UsageError, match="gives 32 tokens"):
        grad_cam(net, x, "norm", grid=(3, 8))
    with pytest.raises(UsageError, match="tokens, which do not fill a grid"):
        grad_cam(MODELS["pvt"][0](), rng.standard_normal((1, 3, 32, 32)), "block2.0")      # one token more, for the class


# The command.


@pytest.fixture
def pictures():
    pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("pictures")
def test_command(tmp_path, capsys):
    arguments = ["gradcam", "das_resnet18", "--image-size", "64", "--classes", "10", "--out", str(tmp_path)]
    arguments += ["--layer", "das.3", "--layer", "layer4"]
    assert cli.main([*arguments, "--class", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in found["maps"]] == ["das.3", "layer4"] and {row["class"] for row in found["maps"]} == {3}
    assert found["weights"] == "untrained" and [row["map"] for row in found["maps"]] == [[4, 4], [2, 2]]
    for row in found["maps"]:
        with open(row["picture"], "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    assert cli.main(["gradcam", "resnet18", "--image-size", "64", "--out", str(tmp_path), "--plain"]) == 0
    printed = capsys.readouterr().out
    assert "layer4" in printed and "untrained weights" in printed


@pytest.mark.usefixtures("pictures")
def test_command_with_weights_a_picture_and_a_region(tmp_path, capsys):
    pytest.importorskip("safetensors")
    from PIL import Image

    from pyhybrid.interop import safetensors

    net = build("das_resnet18", num_classes=4, seed=1)
    safetensors.save(net, tmp_path / "net.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    mask = np.zeros((40, 70), np.uint8)
    mask[10:30, 25:45] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    weights = ["--weights", str(tmp_path / "net.safetensors"), "--classes", "4", "--image-size", "64", "--out", str(tmp_path / "out")]
    assert cli.main(["gradcam", "das_resnet18", str(tmp_path / "a.png"), *weights, "--region", str(tmp_path / "mask.png"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["maps"]
    assert 0 < row["sfd"] <= 1 and row["layer"] == "das.4"
    assert cli.main(["gradcam", "das_resnet18", *weights[:2], "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "does not fit" in message and "fc.weight has shape (4, 512), expected (1000, 512)" in message
    assert cli.main(["gradcam", "resnet50", *weights]) == 2
    message = capsys.readouterr().err
    assert "unknown keys: das.1." in message and len(message) < 700


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no_model"], "no model named"),
        (["resnet18", "no.png"], "no such picture: no.png"),
        (["resnet18", __file__], "is not a readable picture"),
        (["resnet18", "--layer", "layer9"], "no layer named 'layer9'"),
        (["resnet18", "--layer", "fc"], "is no map"),
        (["resnet18", "--class", "1000"], "--class must be from 0 to 999"),
        (["resnet18", "--image-size", "0"], "--image-size must be at least 1"),
        (["resnet18", "--classes", "0"], "--classes must be at least 1"),
        (["resnet18", "--weights", "no.safetensors"], "no such file: no.safetensors"),
        (["resnet18", "--out", __file__], "cannot make this folder"),
        (["acmix_swin_t", "--image-size", "100"], "img_size must be a multiple"),
    ],
)
def test_command_refuses_clearly(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    size = [] if "--image-size" in arguments else ["--image-size", "32"]
    assert cli.main(["gradcam", *arguments, *size]) == 2
    assert text in capsys.readouterr().err
