"""The networks of DAS: gradients with every option, every count of the paper and ours, names, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nn.judge import judge, randomise

from pyhybrid import cli
from pyhybrid.errors import ConstraintError
from pyhybrid.nn import StateDictError
from pyhybrid.papers import VARIANTS, build
from pyhybrid.papers.acmix.resnet import Bottleneck as ACmixBottleneck
from pyhybrid.papers.das import DASGate, MobileNetV2, ResNet, costs
from pyhybrid.papers.das.mobilenet import InvertedResidual
from pyhybrid.papers.das.resnet import BasicBlock, Bottleneck


@pytest.fixture
def rng():
    return np.random.default_rng(43)


TINY = {"layers": (1, 2), "widths": (3, 4), "stem": 2, "num_classes": 3, "gate": {"alpha": 0.5}}
SETTING = ((1, 3, 1, 1), (2, 4, 2, 2))


def tiny(**options):
    return ResNet(**{**TINY, **options})


def mobile(**options):
    return MobileNetV2(**{"setting": SETTING, "stem": 3, "last": 5, "num_classes": 3, "after": (1, 3), "gate": {"alpha": 0.5}, **options})


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (BasicBlock(3, 3), (2, 3, 4, 5)),
        (BasicBlock(3, 4, 2), (2, 3, 5, 4)),
        (BasicBlock(3, 3, relu=False), (2, 3, 4, 4)),
        (Bottleneck(8, 2), (2, 8, 4, 3)),
        (Bottleneck(3, 2, 2, relu=False), (2, 3, 5, 5)),
        (InvertedResidual(3, 3, 1, 2), (2, 3, 4, 4)),
        (InvertedResidual(3, 4, 2, 1), (2, 3, 5, 4)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)  # fmt: skip
def test_gradients_of_blocks(layer, shape, training, rng):
    judge(randomise(layer, rng), rng.standard_normal(shape), rng=rng, training=training)


@pytest.mark.parametrize(
    ("layer", "shape", "training"),
    [
        (tiny(), (2, 3, 18, 22), True),
        (tiny(layers=(1, 1), block="bottleneck"), (2, 3, 20, 18), False),
        (tiny(layers=(1, 1), pre_relu=True), (2, 3, 18, 18), True),
        (tiny(gates="blocks", pre_relu=True), (2, 3, 18, 18), False),
        (tiny(layers=(1, 1), gates="none", gate={}), (2, 3, 17, 19), True),
        (tiny(layers=(1, 1), cifar=True, gate={"alpha": 0.5, "modulated": False}), (2, 3, 6, 8), True),
        (tiny(layers=(1,), widths=(3,), cifar=True, gate={"variant": "a"}), (2, 3, 6, 6), False),
        (tiny(layers=(1,), widths=(3,), cifar=True, gate={"variant": "h", "alpha": 0.5}), (2, 3, 6, 6), True),
        (tiny(layers=(1,), widths=(3,), cifar=True, gate={"norm1": "batch", "norm2": "instance"}), (2, 3, 6, 6), True),
        (mobile(), (2, 3, 12, 14), True),
        (mobile(after=(0, 4)), (2, 3, 12, 10), False),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple | bool) else "",
)  # fmt: skip
def test_gradients_of_networks(layer, shape, training, rng):
    # Many ReLUs and sampling points: a longer step would cross the kink of one of them now and then.
    judge(randomise(layer, rng), rng.standard_normal(shape), rng=rng, training=training, step=2.0**-23)


# Counts. Parameters in millions and multiply-adds in billions, unless they are given in full.


@pytest.mark.parametrize(
    ("name", "params", "macs", "bare", "profiler"),
    [
        ("resnet18", 11.690, 1.814, (11.690, 1.814), (11.69, 1.824)),
        ("das_resnet18", 12.439, 1.935, (11.816, 1.845), (11.81, 1.855)),
        ("resnet50", 25.557, 4.089, (25.557, 4.089), (25.56, 4.134)),
        ("das_resnet50", 36.904, 5.814, (26.897, 4.339), (26.89, 4.385)),
        ("resnet101", 44.549, 7.801, (44.549, 7.801), (44.55, 7.866)),
        ("das_resnet101", 55.896, 9.527, (45.889, 8.052), (45.88, 8.117)),
        ("mobilenet_v2", 3.505, 0.301, (3.505, 0.301), (3.50, 0.328)),
        ("das_mobilenet_v2", 3.759, 0.326, (3.555, 0.310), (3.55, 0.336)),
    ],
)
def test_counts(name, params, macs, bare, profiler):
    found = costs.count(build(name, seed=None))
    for cost, (million, billion), digits in ((found.everything, (params, macs), 3), (found.published, bare, 3),
                                             (found.profiler, profiler, 2)):  # fmt: skip
        assert (round(cost.params / 1e6, digits), round(cost.macs / 1e9, 3)) == (million, billion)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_published_figures_leave_out_the_deformable_kernels(name):
    """Parameters agree with the paper to the last published digit without them and not with them; so do a profiler's multiply-adds."""
    for model in (name, f"das_{name}"):
        paper, found = VARIANTS[model].published, costs.count(build(model, seed=None))
        assert abs(found.published.params / 1e6 - paper.params) <= 0.006
        assert abs(found.profiler.macs / 1e9 - paper.macs) < 0.02
    assert found.everything.params / 1e6 - paper.params > 0.6 and found.everything.macs / 1e9 - paper.macs > 0.07
    assert "leave out the deformable kernels" in VARIANTS[f"das_{name}"].difference


@pytest.mark.parametrize("name", ["das_resnet18", "das_resnet50", "das_resnet101", "das_mobilenet_v2"])
def test_the_text_of_a_difference_holds_the_counts(name):
    found, text = costs.count(build(name, seed=None)), VARIANTS[name].difference
    digits = 3 if "mobile" in name else 2
    kernels = ((found.everything.params - found.published.params) / 1e6, (found.everything.macs - found.published.macs) / 1e9)
    assert f"({kernels[0]:.{digits}f} M weights, {kernels[1]:.{digits}f} G" in text
    assert f"{found.published.params / 1e6:.3f} M and {found.published.macs / 1e9:.3f} G" in text


def test_other_readings_do_not_give_the_published_parameters():
    """18 offset channels, or offsets from a 1x1 convolution; nor does the bottleneck's bias matter after rounding."""
    def counts(**gate):
        return [round(costs.count(build(f"das_resnet{n}", seed=None, gate=gate)).published.params / 1e6, 2) for n in (18, 50, 101)]

    assert counts() == [11.82, 26.90, 45.89] == counts(dw_bias=True, pw_bias=True)
    assert counts(modulated=False) == [11.80, 26.84, 45.83] and counts(offset_kernel=1) == [11.77, 26.73, 45.72]


@pytest.mark.parametrize(
    ("name", "places", "params", "kernels", "macs", "kernel_macs"),
    [
        ("das_resnet18", [(64, 56, 12), (128, 28, 25), (256, 14, 51), (512, 7, 102)], 749_318, 623_232, 121.3, 90.3),
        ("das_resnet50", [(256, 56, 51), (512, 28, 102), (1024, 14, 204), (2048, 7, 409)], 11_346_566, 10_006_272, 1725.2, 1474.9),
        ("das_resnet101", [(256, 56, 51), (512, 28, 102), (1024, 14, 204), (2048, 7, 409)], 11_346_566, 10_006_272, 1725.2, 1474.9),
        ("das_mobilenet_v2", [(24, 56, 4), (32, 28, 6), (96, 14, 19), (320, 7, 64)], 253_819, 203_328, 25.2, 16.3),
    ],
)
def test_gates(name, places, params, kernels, macs, kernel_macs):
    found = costs.gates(build(name, seed=None))
    assert [(gate.channels, *gate.size, gate.mid) for gate in found] == [(c, size, size, m) for c, size, m in places]
    assert (sum(gate.all.params for gate in found), sum(gate.deform.params for gate in found)) == (params, kernels)
    assert round(sum(gate.all.macs for gate in found) / 1e6, 1) == macs
    assert round(sum(gate.deform.macs for gate in found) / 1e6, 1) == kernel_macs
    for gate in found:      # the paper's alpha enters through m
        c, m = gate.channels, gate.mid
        assert gate.all.params == 9 * c + c * m + 27 * (9 * m + 1) + 9 * m * c + 2 * c
        assert gate.all.macs == (9 * c + c * m + 243 * m + 9 * m * c) * gate.size[0] * gate.size[1]


@pytest.mark.parametrize(("alpha", "everything", "bare"), [(0.01, 26.15, 25.66), (0.05, 28.42, 25.92), (0.1, 31.24, 26.25),
                                                           (0.2, 36.90, 26.90), (0.5, 53.92, 28.85), (1.0, 82.24, 32.10)])  # fmt: skip
def test_alpha(alpha, everything, bare):
    found = costs.count(build("das_resnet50", seed=None, gate={"alpha": alpha}))
    assert (round(found.everything.params / 1e6, 2), round(found.published.params / 1e6, 2)) == (everything, bare)


@pytest.mark.parametrize(("name", "params", "macs"), [("das_resnet18", 13.19, 2.06), ("das_resnet50", 66.60, 10.96)])
def test_gates_after_every_block(name, params, macs):
    found = costs.count(build(name, seed=None, gates="blocks")).everything
    assert (round(found.params / 1e6, 2), round(found.macs / 1e9, 2)) == (params, macs)


@pytest.mark.parametrize(("name", "params", "macs"), [("resnet18", 11_220_132, 0.555), ("das_resnet18", 11_969_450, 0.595),
                                                      ("resnet50", 23_705_252, 1.298), ("das_resnet50", 35_051_818, 1.861)])  # fmt: skip
def test_cifar(name, params, macs):
    found = costs.count(build(name, seed=None, cifar=True, num_classes=100), 32).everything
    assert (found.params, round(found.macs / 1e9, 3)) == (params, macs)


def test_places_of_mobilenet_that_give_the_published_parameters():
    found = costs.count(build("das_mobilenet_v2", seed=None, after=(1, 3, 13, 16, 17)))
    assert round(found.published.params / 1e6, 3) == 3.569


def test_cost_grows_with_the_pixels_and_no_faster():
    """For fixed channels the gate's cost is proportional to H·W: there is no product of two pixels."""
    for size in (1, 7, 14):
        ours = [gate.all.macs for gate in costs.gates(ResNet((1,), (8,), gates="stages", seed=None, cifar=True), size)]
        twice = [gate.all.macs for gate in costs.gates(ResNet((1,), (8,), gates="stages", seed=None, cifar=True), 2 * size)]
        assert twice == [4 * macs for macs in ours]


def test_the_table_of_costs_names_every_model():
    text = costs.table_text()
    assert all(name in text for name in VARIANTS if "das_" in name)
    assert "36.904   5.814" in text and "26.897   4.339" in text and "26.90 4.39" in text


# Names.


def test_names_of_the_networks():
    p = build("das_resnet50", seed=None).state_dict()
    for name, shape in {"conv1.weight": (64, 3, 7, 7), "bn1.running_mean": (64,), "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                        "layer2.0.conv2.weight": (128, 128, 3, 3), "layer4.2.bn3.bias": (2048,), "das.1.pointwise.weight": (51, 256, 1, 1),
                        "das.4.deform.weight": (2048, 409, 3, 3), "fc.weight": (1000, 2048)}.items():  # fmt: skip
        assert p[name].shape == shape, name
    p = build("das_mobilenet_v2", seed=None).state_dict()
    for name, shape in {"features.0.0.weight": (32, 3, 3, 3), "features.1.conv.0.0.weight": (32, 1, 3, 3),
                        "features.1.conv.1.weight": (16, 32, 1, 1), "features.4.conv.1.0.weight": (144, 1, 3, 3),
                        "features.17.conv.3.weight": (320,), "features.18.0.weight": (1280, 320, 1, 1), "das.17.offset.bias": (27,),
                        "classifier.1.weight": (1000, 1280)}.items():  # fmt: skip
        assert p[name].shape == shape, name


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_a_gated_network_is_the_plain_one_and_its_gates(name):
    plain, gated = build(name, seed=None).state_dict(), build(f"das_{name}", seed=None).state_dict()
    assert {key: value.shape for key, value in gated.items() if not key.startswith("das.")} == {k: v.shape for k, v in plain.items()}
    assert {key.split(".")[0] for key in set(gated) - set(plain)} == {"das"}


def test_an_unknown_or_missing_key_is_listed_and_nothing_is_loaded():
    net = tiny()
    state = net.state_dict()
    del state["das.2.offset.bias"]
    with pytest.raises(StateDictError, match=r"unknown keys: das\.3\.offset\.bias; missing keys: das\.2\.offset\.bias"):
        net.load_state_dict({**state, "das.3.offset.bias": np.zeros(27), "fc.bias": np.ones(3)})
    assert not np.array_equal(net.named_params()["fc.bias"], np.ones(3))
    with pytest.raises(StateDictError, match=r"unfit values: das\.1\.deform\.weight has shape"):
        net.load_state_dict({**net.state_dict(), "das.1.deform.weight": np.zeros((3, 3, 3, 3))})


# What the options do.


def test_gates_of_one_half_scale_the_trunk(rng):
    """With every gate's norm at 0 each gate halves its map exactly; nothing in an untrained network moves by a constant, so the logits
    shrink by 2 to the number of gates."""
    for gates, count in (("stages", 2), ("blocks", 3)):
        plain = tiny(gates="none", gate={}, seed=3)
        gated = tiny(gates=gates, seed=3)
        state = gated.state_dict()
        for name, value in state.items():
            if "das." in name and ".layer_norm." in name:
                state[name] = 0 * value
        trunk = plain.state_dict() | {"fc.bias": np.zeros(3)}
        gated.load_state_dict(state | trunk)
        plain.load_state_dict(trunk)
        x = rng.standard_normal((1, 3, 18, 18))
        assert sum(isinstance(module, DASGate) for _, module in gated.named_modules()) == count
        np.testing.assert_allclose(2**count * gated.forward(x)[0], plain.forward(x)[0], rtol=1e-9)


def test_a_gate_before_the_last_relu_sees_negative_numbers(rng):
    seen = {}
    for pre_relu in (False, True):
        net = randomise(tiny(pre_relu=pre_relu), np.random.default_rng(0))
        gate = net.children["das.2"]
        forward = gate.forward
        gate.__dict__["forward"] = lambda x, key=pre_relu, forward=forward: (seen.update({key: x}), forward(x))[1]
        net.forward(rng.standard_normal((1, 3, 34, 34)))
    assert seen[False].min() == 0 and seen[True].min() < 0


@pytest.mark.parametrize("gates", ["stages", "blocks"])
def test_a_gate_before_the_last_relu_is_followed_by_it(gates, rng):
    """The networks with and without pre_relu have the same parameters; relu and a gate commute, as a gate is never negative."""
    before, after = (randomise(tiny(gates=gates, pre_relu=pre_relu), np.random.default_rng(0)) for pre_relu in (True, False))
    assert before.state_dict().keys() == after.state_dict().keys()
    for net in (before, after):
        seen = []
        pool = net.children["avgpool"]
        forward = pool.forward
        pool.__dict__["forward"] = lambda x, seen=seen, forward=forward: (seen.append(x), forward(x))[1]
        net.forward(rng.standard_normal((1, 3, 34, 34)))
        assert seen[0].min() >= 0
    # A gate that does not look at x is the same number on both sides of the relu.
    for net in (before, after):
        state = net.state_dict()
        net.load_state_dict(state | {name: 0 * value for name, value in state.items() if name.endswith("layer_norm.weight")})
    x = rng.standard_normal((1, 3, 34, 34))
    np.testing.assert_allclose(before.forward(x)[0], after.forward(x)[0], rtol=1e-9)


def test_the_cifar_stem_keeps_the_size():
    x = np.zeros((1, 3, 8, 8))
    gate = {cifar: costs.gates(tiny(cifar=cifar), 8)[0].size for cifar in (False, True)}
    assert gate == {False: (2, 2), True: (8, 8)} and tiny(cifar=True).forward(x)[0].shape == (1, 3)


def test_the_residual_block_is_shared_with_acmix(rng):
    ours, theirs = Bottleneck(3, 2, 2), ACmixBottleneck(3, 2, 2, True, mixer="conv")
    theirs.load_state_dict(randomise(ours, rng).state_dict())
    x = rng.standard_normal((2, 3, 5, 4))
    np.testing.assert_array_equal(ours.forward(x)[0], theirs.forward(x)[0])


def test_starts():
    net = build("das_resnet18", seed=0, num_classes=5)
    p = net.named_params()
    assert abs(p["layer3.1.conv2.weight"].std() / (2 / (256 * 9)) ** 0.5 - 1) < 0.01
    assert np.abs(p["das.3.deform.weight"]).max() <= (9 * 51) ** -0.5
    mobile_net = build("mobilenet_v2", seed=0).named_params()
    assert abs(mobile_net["classifier.1.weight"].std() / 0.01 - 1) < 0.01 and not mobile_net["classifier.1.bias"].any()
    assert np.array_equal(p["conv1.weight"], build("das_resnet18", seed=0, num_classes=5).named_params()["conv1.weight"])
    assert replace(DASGate(4), alpha=0.5).mid == 2


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tiny(layers=(1,)), "layers and widths must name as many stages"),
        (lambda: tiny(layers=(1, 0)), "at least one block"),
        (lambda: tiny(block="wide"), "block must be one of"),
        (lambda: tiny(gates="all"), "gates must be one of"),
        (lambda: tiny(gates="none"), "no place for gate"),
        (lambda: tiny(gates="none", gate={}, pre_relu=True), "pre_relu = True"),
        (lambda: tiny(gate={"variant": "x"}), "variant must be one of"),
        (lambda: mobile(setting=((1, 2, 3),)), "setting must hold rows"),
        (lambda: mobile(setting=()), "setting must hold rows"),
        (lambda: mobile(after=(5,)), "after must name different feature layers from 0 to 4"),
        (lambda: mobile(after=(1, 1)), "after must name different"),
        (lambda: mobile(after=()), "no place for gate"),
    ],
)
def test_refusals(make, text):
    with pytest.raises(ConstraintError, match=text):
        make()


def test_an_unknown_option_of_the_gate_is_an_error():
    with pytest.raises(TypeError, match="colour"):
        tiny(gate={"colour": 1})


# The command line.


def test_summary_shows_the_finding(capsys):
    assert cli.main(["summary", "das_resnet50"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "36,903,598" in printed and "published 26.9 M parameters, 4.39 G" in printed
    assert "leave out the deformable kernels themselves (10.01 M weights, 1.47 G" in printed
    assert cli.main(["models", "--json"]) == 0
    assert {"das_resnet18", "das_resnet50", "das_resnet101", "das_mobilenet_v2", "resnet18", "mobilenet_v2"} <= set(
        json.loads(capsys.readouterr().out))
