"""HorNet: gradients with every option, drop path, names, starts, what is refused, and the card."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from nn.judge import judge, randomise

from pyhybrid import cli
from pyhybrid.errors import ConstraintError
from pyhybrid.nn import Module, StateDictError, prefixed, summarize
from pyhybrid.papers import VARIANTS, build, find
from pyhybrid.papers.hornet import (
    CARD,
    GNFPN,
    Block,
    GFNetFilter,
    GlobalFilter,
    GlobalLocalFilter,
    GnConv,
    GNConvModule,
    HorNet,
    HorNetFeatures,
    SegmentationFusion,
    downsampling,
    stem,
)


@pytest.fixture
def rng():
    return np.random.default_rng(31)


def tiny(kind=HorNet, **options):
    given = {"depths": (1, 1, 1, 1), "base_dim": 4, "orders": (2, 3, 4, 5), **options}
    return kind(**given, **({"num_classes": 3} if kind is HorNet else {}))


GF = {"filters": (None, None, (4, 2), (2, 2))}


@dataclass(eq=False)
class Flat(Module):
    """A layer between several maps as one between vectors, for `judge`."""

    layer: Module
    shapes: tuple

    def __post_init__(self):
        self.children["layer"] = self.layer

    def forward(self, x):
        y, cache = self.layer.forward(self.maps(x, self.shapes))
        several = isinstance(y, tuple)
        return (self.vector(y) if several else y), (cache, [m.shape for m in y] if several else None)

    def backward(self, dy, cache):
        inner, shapes = cache
        dx, grads = self.layer.backward(dy if shapes is None else self.maps(dy, shapes), inner)
        return self.vector(dx), prefixed("layer", grads)

    @staticmethod
    def vector(maps):
        return np.concatenate([m.reshape(-1) for m in maps])

    @staticmethod
    def maps(vector, shapes):
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
        return tuple(part.reshape(shape).copy() for part, shape in zip(np.split(vector, ends), shapes, strict=True))


@dataclass(eq=False)
class Joined(Module):
    """A layer to several maps as one to their vector."""

    layer: Module

    def __post_init__(self):
        self.children["layer"] = self.layer

    def forward(self, x):
        y, cache = self.layer.forward(x)
        return Flat.vector(y), (cache, [m.shape for m in y])

    def backward(self, dy, cache):
        dx, grads = self.layer.backward(Flat.maps(dy, cache[1]), cache[0])
        return dx, prefixed("layer", grads)


# Gradients.


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (GlobalFilter(3, 4, 3), (2, 3, 4, 5)),
        (GlobalFilter(2, 5, 4), (2, 2, 3, 4)),
        (GFNetFilter(3, 4, 3), (2, 16, 3)),
        (GlobalLocalFilter(4, 3, 3), (2, 4, 3, 4)),
        (GlobalLocalFilter(4, 2, 2, norms=False, interleaved=False), (2, 4, 5, 3)),
        (GlobalLocalFilter(6, 3, 2, norms=False), (2, 6, 3, 2)),
        (GlobalLocalFilter(6, 3, 2, interleaved=False), (1, 6, 3, 3)),
        (GnConv(3, 1), (2, 3, 4, 5)),
        (GnConv(4, 2, 0.5, kernel_size=3), (2, 4, 3, 4)),
        (GnConv(8, 4, kernel_size=5, in_channels=3, out_channels=5), (1, 3, 4, 3)),
        (GnConv(4, 3, project_out=False, in_channels=2), (2, 2, 3, 3)),
        (GnConv(4, 2, 1 / 3, filter=(3, 2)), (2, 4, 3, 3)),
        (GnConv(8, 3, filter=(2, 2), kind="half", in_channels=3, project_out=False), (1, 3, 4, 3)),
        (GnConv(4, 3, filter=(4, 4), kind="global", out_channels=2), (2, 4, 3, 5)),
        (GnConv(4, 1, filter=(4, 4), kind="global"), (2, 4, 3, 5)),
        (Block(4, 2), (2, 4, 3, 5)),
        (Block(4, 3, 1 / 3, 0.0, 0.0), (2, 4, 4, 3)),
        (Block(4, 2, gnconv={"filter": (3, 3)}), (2, 4, 3, 4)),
        (stem(3, 4), (2, 3, 9, 6)),
        (downsampling(3, 4), (2, 3, 5, 4)),
        (GNConvModule(3, 4, 2, 3, norm=True, act=True), (2, 3, 4, 5)),
        (GNConvModule(3, 4, filter=(2, 2), dim_ratio=2, act=True), (2, 3, 3, 3)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)  # fmt: skip
def test_gradients(layer, shape, rng):
    judge(randomise(layer, rng), rng.standard_normal(shape), rng=rng, training=True)


LEVELS = ((2, 3, 5, 7), (2, 2, 3, 4), (2, 4, 2, 1))


@pytest.mark.parametrize(
    ("layer", "training"),
    [
        (GNFPN((3, 2, 4), 4, 3), False),
        (GNFPN((3, 2, 4), 4, 5, gnconv={"kernel_size": 3}), False),
        (GNFPN((3, 2, 4), 4, 5, extra="on_input", gnconv={"kernel_size": 3}), True),
        (GNFPN((3, 2, 4), 4, 5, extra="on_lateral", relu_before_extra=True, gnconv={"kernel_size": 1}), True),
        (GNFPN((3, 2, 4), 4, 4, extra="on_output", gnconv={"filter": (2, 2)}), False),
        (SegmentationFusion((3, 2, 4), 4), True),
        (SegmentationFusion((3, 2, 4), 4, gnconv={"filter": (3, 2), "order": 1}), False),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'extra', '')}",
)
def test_gradients_of_pyramids(layer, training, rng):
    vector = rng.standard_normal(sum(int(np.prod(shape)) for shape in LEVELS))
    judge(randomise(Flat(layer, LEVELS), rng), vector, rng=rng, training=training)


@pytest.mark.parametrize("filters", [None, (3, 3)])
@pytest.mark.parametrize("keep", [([1, 0, 0, 1], [0, 0, 1, 1]), ([1] * 4, [0] * 4), (np.array([1, 0, 1, 1], bool), [1, 1, 0, 0])])
def test_gradients_of_what_drop_path_keeps(filters, keep, rng):
    block = randomise(Block(4, 2, 1.0, 0.25, gnconv={"filter": filters}), rng)
    judge(block, rng.standard_normal((4, 4, 3, 2)), keep, rng=rng, training=True)


KEEP = ([1, 1], [0, 1]), ([1, 0], [1, 1]), ([0, 1], [1, 0]), ([1, 1], [1, 1])


@pytest.mark.parametrize(
    ("model", "shape", "arguments"),
    [
        (tiny(), (2, 3, 32, 40), ()),
        (tiny(**GF, drop_path_rate=0.5, in_chans=1), (2, 1, 33, 64), (KEEP,)),
        (tiny(depths=(1, 2, 1, 1), layer_scale_init_value=0.0, gnconv={"kernel_size": 3}), (1, 3, 32, 32), ()),
        (Joined(tiny(HorNetFeatures, filters=(None, None, None, (2, 2)))), (1, 3, 40, 33), ()),
    ],
    ids=["7x7", "gf with draws", "without layer scale", "features"],
)
def test_gradients_of_whole_networks(model, shape, arguments, rng):
    """Along random directions in which x and all parameters move at once; block by block the tests above are finer."""
    start, x = randomise(model.train(), rng).state_dict(), rng.standard_normal(shape)
    y, cache = model.forward(x, *arguments)
    dy = rng.standard_normal(y.shape)
    dx, grads = model.backward(dy, cache)
    assert sorted(grads) == sorted(start)
    for _ in range(4):
        steps = {name: rng.standard_normal(value.shape) for name, value in start.items()}
        v = rng.standard_normal(shape)

        def along(t, steps=steps, v=v):
            model.load_state_dict({name: value + t * steps[name] for name, value in start.items()})
            return float((model.forward(x + t * v, *arguments)[0] * dy).sum())

        once, twice = ((along(h) - along(-h)) / (2 * h) for h in (2.0**-18, 2.0**-17))
        parts = [(dx * v).sum(), *((grads[name] * step).sum() for name, step in steps.items())]
        assert abs((4 * once - twice) / 3 - sum(parts)) <= 1e-7 * sum(map(abs, parts))


# Drop path.


def test_a_block_keeps_and_divides(rng):
    block, x = randomise(Block(4, 2, drop_path=0.2), rng), rng.standard_normal((3, 4, 3, 5))
    whole = randomise(Block(4, 2), np.random.default_rng(1))
    whole.load_state_dict(block.state_dict())
    y, _ = block.forward(x, ([1, 0, 0], [0, 1, 0]))
    mixed, _ = whole.children["gnconv"].forward(whole.children["norm1"].forward(x)[0])
    np.testing.assert_allclose(y[0], (x + block.params["gamma1"][:, None, None] * mixed / 0.8)[0], rtol=1e-13)
    np.testing.assert_array_equal(y[2], x[2], err_msg="both branches dropped")
    without = whole.forward(x, ([0, 0, 0], [1, 1, 1]))[0]
    np.testing.assert_allclose(y[1], (x + (without - x) / 0.8)[1], rtol=1e-12)


def test_the_two_branches_draw_apart(rng):
    block, x = randomise(Block(4, 2, drop_path=0.5, seed=3), rng).train(), np.repeat(rng.standard_normal((1, 4, 2, 2)), 64, axis=0)
    known = {pair: block.forward(x[:1], ([pair[0]], [pair[1]]))[0][0] for pair in ((0, 0), (0, 1), (1, 0), (1, 1))}
    drawn = block.forward(x)[0]
    seen = [next(pair for pair, value in known.items() if np.allclose(y, value, rtol=1e-12)) for y in drawn]
    counts = [seen.count(pair) for pair in known]
    assert min(counts) >= 6 and sum(counts) == 64, counts
    np.testing.assert_array_equal(block.eval().forward(x)[0][0], block.forward(x)[0][1])


def test_rates_grow_from_the_first_block_to_the_last():
    model = tiny(depths=(1, 2, 1, 1), drop_path_rate=0.4)
    rates = [module.rate for name, module in model.named_modules() if name.endswith("drop_path")]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4], rtol=1e-14)


def test_train_and_eval_agree_without_drop_path(rng):
    model, x = randomise(tiny(**GF), rng), rng.standard_normal((1, 3, 32, 32))
    np.testing.assert_array_equal(model.train().forward(x)[0], model.eval().forward(x)[0])


# Names and state dicts.


def test_official_names():
    shapes = {name: value.shape for name, value in build("hornet_tiny_gf", seed=None).state_dict().items()}
    assert len(shapes) == 640
    assert shapes["downsample_layers.0.0.weight"] == (64, 3, 4, 4) and shapes["downsample_layers.0.1.bias"] == (64,)
    assert shapes["downsample_layers.2.0.weight"] == (128,) and shapes["downsample_layers.2.1.weight"] == (256, 128, 2, 2)
    assert shapes["stages.1.2.gamma1"] == shapes["stages.1.2.norm2.bias"] == (128,)
    assert shapes["stages.1.0.gnconv.dwconv.weight"] == (224, 1, 7, 7) and shapes["stages.1.0.gnconv.dwconv.bias"] == (224,)
    assert shapes["stages.2.17.gnconv.dwconv.complex_weight"] == (240, 14, 8, 2)
    assert shapes["stages.3.1.gnconv.dwconv.complex_weight"] == (496, 7, 4, 2)
    assert shapes["stages.2.0.gnconv.dwconv.dw.weight"] == (240, 1, 3, 3) and "stages.2.0.gnconv.dwconv.dw.bias" not in shapes
    assert shapes["stages.2.0.gnconv.dwconv.pre_norm.weight"] == shapes["stages.2.0.gnconv.dwconv.post_norm.bias"] == (480,)
    assert [shapes[f"stages.3.0.gnconv.pws.{k}.weight"][:2] for k in range(4)] == [(64, 32), (128, 64), (256, 128), (512, 256)]
    assert "stages.3.0.gnconv.pws.4.weight" not in shapes and shapes["stages.0.0.gnconv.proj_in.weight"] == (128, 64, 1, 1)
    assert shapes["stages.3.1.pwconv1.weight"] == (2048, 512) and shapes["stages.3.1.pwconv2.weight"] == (512, 2048)
    assert shapes["norm.weight"] == (512,) and shapes["head.weight"] == (1000, 512)


def test_names_of_features_and_pyramids():
    features = set(tiny(HorNetFeatures).state_dict())
    assert features ^ set(tiny().state_dict()) == {f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias")} | {
        "norm.weight", "norm.bias", "head.weight", "head.bias"}
    pyramid = GNFPN((4, 6), 8, 4, extra="on_output").state_dict()
    assert pyramid["fpn_convs.0.pws.0.weight"].shape == (8, 4, 1, 1) and pyramid["lateral_convs.1.conv.weight"].shape == (8, 6, 1, 1)
    assert pyramid["fpn_convs.3.0.conv.weight"].shape == (8, 8, 3, 3) and pyramid["fpn_convs.3.1.proj_in.bias"].shape == (16,)
    fusion = SegmentationFusion((4,) * 4, 8).state_dict()
    assert fusion["proj_in.weight"].shape == (16, 16, 1, 1) and {"bn.running_mean", "dwconv.bias", "proj_out.bias"} <= set(fusion)


def test_state_dicts_that_do_not_fit(rng):
    model = tiny(**GF)
    state, before = randomise(tiny(**GF), rng).state_dict(), model.state_dict()
    for change, words in (({"head.weight": None}, "missing keys: head.weight"), ({"model": np.ones(1)}, "unknown keys: model"),
                          ({"stages.2.0.gnconv.dwconv.complex_weight": np.ones((14, 5, 2, 2))}, "has shape"),
                          ({"stages.0.0.gamma1": np.ones(4, complex)}, "unfit values: stages.0.0.gamma1 is")):
        changed = {name: value for name, value in {**state, **change}.items() if value is not None}
        with pytest.raises(StateDictError, match=words):
            model.load_state_dict(changed)
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items()), "nothing was loaded"
    with pytest.raises(StateDictError, match=r"unknown keys: .*dwconv.complex_weight"):
        tiny().load_state_dict(state)
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.named_params()["head.weight"], state["head.weight"])


def test_start(rng):
    model = tiny(base_dim=16, head_init_scale=0.5, seed=4, **GF)
    plain = tiny(base_dim=16, seed=4, **GF).state_dict()
    state = model.state_dict()
    for name in ("stages.2.0.gnconv.dwconv.complex_weight", "stages.1.0.pwconv1.weight", "stages.3.0.gnconv.proj_in.weight"):
        assert abs(state[name].std() - 0.02) < 2e-3
        assert abs(tiny(base_dim=16, init_std=0.1, seed=4, **GF).state_dict()[name].std() - 0.1) < 1e-2
    assert not any(value.any() for name, value in state.items() if name.endswith("bias"))
    assert (state["stages.0.0.gamma2"] == 1e-6).all() and (state["norm.weight"] == 1).all()
    np.testing.assert_array_equal(state["head.weight"], 0.5 * plain["head.weight"])


def test_s6_a_new_block_is_the_identity_up_to_its_layer_scale(rng):
    block, x = Block(8, 3), rng.standard_normal((2, 8, 5, 4))
    one = Block(8, 3, layer_scale_init_value=1.0)
    y, branch = block.forward(x)[0] - x, one.children["gnconv"].forward(one.children["norm1"].forward(x)[0])[0]
    assert 0 < np.abs(y).max() < 1e-5 * max(np.abs(branch).max(), 1)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("hornet_")])
def test_every_model_runs_smaller(name, rng):
    """Each one with narrow stages: the options of the table fit together."""
    model = build(name, base_dim=8, depths=(1, 1, 1, 1), num_classes=2, dtype=np.float64)
    y, cache = model.forward(rng.standard_normal((1, 3, 64, 32)))
    dx, grads = model.backward(np.ones_like(y), cache)
    assert y.shape == (1, 2) and dx.shape == (1, 3, 64, 32) and sorted(grads) == sorted(model.named_params())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_of_the_input_is_kept(dtype, rng):
    """The official global filter computes in float32 whatever its input; ours does not."""
    model = tiny(**GF, dtype=dtype, drop_path_rate=0.5).train()
    y, cache = model.forward(rng.standard_normal((2, 3, 40, 32)).astype(dtype))
    dx, grads = model.backward(rng.standard_normal(y.shape).astype(dtype), cache)
    assert {a.dtype for a in (y, dx, *grads.values())} == {np.dtype(dtype)}
    pyramid = GNFPN((3, 2), 4, 4, extra="on_lateral", gnconv={"filter": (3, 3)}, dtype=dtype)
    maps, on_pyramid = pyramid.forward([rng.standard_normal(shape).astype(dtype) for shape in ((1, 3, 5, 4), (1, 2, 3, 2))])
    dmaps, grads = pyramid.backward(maps, on_pyramid)
    assert {a.dtype for a in (*maps, *dmaps, *grads.values())} == {np.dtype(dtype)}


def test_counts_are_those_of_a_real_forward(rng):
    model = tiny(**GF)
    y, _ = model.forward(rng.standard_normal((2, 3, 64, 40)))
    found = summarize(model, (2, 3, 64, 40))
    assert found.shape == y.shape and found.macs.total == 2 * summarize(model, (1, 3, 64, 40)).macs.total
    assert sum(row.params for row in found.rows) == found.params == model.parameter_count()


# Errors and card.


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: GnConv(12, 4), r"dim must be a multiple of 2\^\(order-1\).*dim = 12, order = 4"),
        (lambda: GnConv(8, 0), "dim must be a multiple"),
        (lambda: GnConv(8, 2, kernel_size=4), "kernel_size must be odd"),
        (lambda: GnConv(2, 2, filter=(2, 2)), "must be even; got 3 with dim = 2"),
        (lambda: GnConv(8, 2, filter=(2, 2), kind="local"), "kind must be one of"),
        (lambda: GnConv(8, 2, out_channels=4, project_out=False), "out_channels must be dim"),
        (lambda: GlobalLocalFilter(5), "dim must be even"),
        (lambda: GFNetFilter(2, 4, 3).forward(np.zeros((1, 25, 2))), r"4 rows and 4 or 5 columns; got 25 tokens and the size \(5, 5\)"),
        (lambda: GFNetFilter(2, 4, 3).forward(np.zeros((1, 18, 2)), (4, 5)), "got 18 tokens"),
        (lambda: GFNetFilter(2, 4, 3).forward(np.zeros((1, 16, 3))), "x must be tokens"),
        (lambda: Block(4, 2).forward(np.zeros((2, 4, 3, 3)), ([1, 0], [1])), "keep must be two lists of 2"),
        (lambda: Block(4, 2).forward(np.zeros((2, 4, 3, 3)), ([1, 0.5], [1, 0])), "numbers 0 or 1"),
        (lambda: Block(4, 2).forward(np.zeros((2, 4, 3, 3)), ([1, 0],)), "keep must be two lists"),
        (lambda: Block(4, 2, drop_path=1.0), "rate must be"),
        (lambda: tiny(depths=(1, 1, 1)), "depths must have an entry for each of the 4 stages"),
        (lambda: tiny(orders=(2, 3, 4)), "orders must have an entry"),
        (lambda: tiny(filters=(None,)), "filters must have an entry"),
        (lambda: tiny(orders=(4, 3, 4, 5)), "dim must be a multiple"),
        (lambda: tiny().forward(np.zeros((1, 3, 31, 64))), "H and W at least 32"),
        (lambda: tiny().forward(np.zeros((1, 4, 32, 32))), r"x must be \(N, 3, H, W\)"),
        (lambda: tiny().forward(np.zeros((1, 3, 32, 32)), [None]), "an entry .* for each of 4 blocks; got 1"),
        (lambda: GNFPN((3, 2), 4, 1), "num_outs must be at least the number of inputs, 2; got 1"),
        (lambda: GNFPN((3, 2), 4, 3, extra="conv"), "extra must be one of"),
        (lambda: GNFPN((3, 2), 4, 3).forward((np.zeros((1, 3, 4, 4)),)), "x must hold 2 maps"),
        (lambda: GNFPN((3, 2), 4, 2).backward((np.zeros((1, 4, 4, 4)),), (None,) * 4), "dy must hold 2 maps"),
        (lambda: SegmentationFusion((3, 2), 4).forward((np.zeros((1, 3, 4, 4)),)), "x must hold 2 maps"),
        (lambda: HorNet(dtype=np.float16), "dtype must be"),
    ],
)
def test_refusals_name_the_argument(make, text):
    with pytest.raises(ConstraintError, match=text):
        make()


def test_unknown_arguments_are_refused():
    for name in ("pretrained", "in_22k"):
        with pytest.raises(TypeError, match=name):
            build("hornet_tiny_7x7", **{name: True})


def test_options_of_the_card_change_what_is_built_or_computed(rng):
    maps = tuple(rng.standard_normal(shape) for shape in ((1, 3, 9, 7), (1, 2, 5, 4)))
    cases = {
        "HorNet": ({"depths": (1, 1, 1, 1), "base_dim": 4}, rng.standard_normal((1, 3, 32, 32))),
        "GnConv": ({"dim": 4, "order": 2, "filter": (3, 3)}, rng.standard_normal((1, 4, 5, 4))),
        "GNConvModule": ({"in_channels": 3, "out_channels": 4}, maps[0]),
        "GNFPN": ({"in_channels": (3, 2), "out_channels": 4, "num_outs": 4}, maps),
    }
    for difference in CARD.differences:
        make = find(difference.layer or CARD.layer)
        for name, value in difference.options:
            base, x = cases[make.__name__]
            base = {**base, "extra": "on_output"} if name == "relu_before_extra" else base
            plain, other = (randomise(make(**given), np.random.default_rng(1)) for given in (base, {**base, name: value}))
            shapes = [{key: array.shape for key, array in layer.named_params().items()} for layer in (plain, other)]
            ys = [layer.forward(x)[0] for layer in (plain, other)]
            same = all(np.array_equal(a, b) for a, b in zip(*ys, strict=True)) if isinstance(x, tuple) else np.array_equal(*ys)
            assert shapes[0] != shapes[1] or not same, (difference.topic, name)


def test_the_card_is_printed(capsys):
    assert cli.main(["card", "hornet", "--plain"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(difference.default.split()) in printed for difference in CARD.differences)
    assert "GnConv(..., kind='half')" in printed and "GNFPN(..., extra='on_output')" in printed


def test_names_of_the_card_are_those_of_the_layers():
    known = set(build("hornet_tiny_gf", seed=None).state_dict()) | set(GNFPN((4,), 8, 1).state_dict())
    for official, _, _ in CARD.names:
        tail = official.replace("pws.k", "pws.0").replace(".i.", ".1.").replace("fpn_convs.i", "fpn_convs.0.proj_in.weight")
        assert any(name.endswith(tail) for name in known), official


def test_models_and_summary_list_the_figures(capsys):
    assert cli.main(["models", "--json"]) == 0
    assert {name for name in VARIANTS if name.startswith("hornet_")} <= set(json.loads(capsys.readouterr().out))
    assert cli.main(["summary", "hornet_tiny_7x7"]) == 0
    printed = capsys.readouterr().out
    assert "22,409,512" in printed and "3.968 G with weights + 0.003 G" in printed and "published       22 M" in printed
    assert cli.main(["summary", "hornet_large_gf_img384", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image_size"] == 384 and found["params"] == 201_806_824 and found["published"]["macs"] == 101.8
    assert "ImageNet-22K head" in found["difference"]
    assert cli.main(["summary", "hornet_tiny_gf", "--image-size", "100"]) == 0
