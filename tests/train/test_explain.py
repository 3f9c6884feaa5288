"""Where a model looked: sums of attention weights against the weights themselves, and the layers that are found."""

import numpy as np
import pytest

from pyhybrid import examples
from pyhybrid.errors import UsageError
from pyhybrid.explain import grad_cam
from pyhybrid.nn import Linear, Operator, Sequential
from pyhybrid.ops import acmix, attention, global_avg_pool, local_attention, relative_attention
from pyhybrid.papers import TINY, build
from pyhybrid.papers.acmix import PVT, ResNet, SwinTransformer
from pyhybrid.train.explain import EXPLANATIONS, attention_maps, looked_at


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def share(received):
    """1 is the average."""
    return received / received.mean()


@pytest.mark.parametrize("border", ["reflect", "zero", "mask"])
@pytest.mark.parametrize("stride", [1, 2])
def test_local_attention_sums_its_windows(rng, border, stride):
    """Every weight is put where its tap reads: reflected at the border, or lost where it reads outside."""
    q, k, v = rng.standard_normal((3, 1, 4, 5, 6))
    pe = rng.standard_normal((2, 5, 6))
    _, cache = local_attention.forward(q, k, v, pe, heads=2, kernel_size=3, stride=stride, border=border)
    a = local_attention.weights(cache)[0]                       # (heads, 9, Ho, Wo)
    received = np.zeros((2, 5, 6))
    for head, m, i, j in np.ndindex(a.shape):
        y, x = stride * i + m // 3 - 1, stride * j + m % 3 - 1
        if border == "reflect":
            y, x = (4 - abs(4 - abs(y))), (5 - abs(5 - abs(x)))
        if 0 <= y < 5 and 0 <= x < 6:
            received[head, y, x] += a[head, m, i, j]
    assert np.allclose(looked_at(cache), share(received), rtol=1e-12)


def test_acmix_shows_its_attention_path():
    arrays, config = examples.example("acmix")
    _, cache = acmix.forward(**arrays, **config)
    assert np.allclose(looked_at(cache), looked_at(acmix.attention_cache(cache)))
    assert (acmix.attention_cache(cache).lse == cache.lse).all()


@pytest.mark.parametrize("form", ["pre", "post"])
def test_relative_attention_sums_over_queries(rng, form):
    q, k, v = rng.standard_normal((3, 1, 2, 12, 4))
    _, cache = relative_attention.forward(q, k, v, rng.standard_normal((2, 5, 7)), size=(3, 4), form=form)
    assert np.allclose(looked_at(cache), share(relative_attention.weights(cache)[0].sum(1)).reshape(2, 3, 4), rtol=1e-10)


def test_windows_are_put_side_by_side(rng):
    q, k, v = rng.standard_normal((3, 4, 2, 9, 4))              # 4 windows of 3 x 3
    _, cache = attention.forward(q, k, v)
    maps, a = looked_at(cache), share(attention.weights(cache).sum(2))
    assert maps.shape == (2, 6, 6)
    for window in range(4):
        top, left = 3 * (window // 2), 3 * (window % 2)
        assert np.allclose(maps[:, top : top + 3, left : left + 3], a[window].reshape(2, 3, 3), rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 6, 4), (2, 1, 4, 4)])
def test_keys_that_are_no_square_map_have_no_picture(rng, shape):
    _, cache = attention.forward(*rng.standard_normal((3, *shape)))
    assert looked_at(cache) is None


@pytest.mark.parametrize(
    ("model", "size", "names"),
    [
        (lambda: build("acmix_tiny", num_classes=3), 32, ["layer1.0.conv2", "layer2.0.conv2"]),
        (lambda: build("coatnet_tiny", num_classes=3), 32, ["stages.1.blocks.0.attn", "stages.1.blocks.1.attn"]),
        (lambda: build("smt_tiny", num_classes=3), 32, ["block2.1.attn", "block3.0.attn"]),
        (lambda: SwinTransformer(16, 2, 3, 3, 4, (2,), (2,), 4), 16, ["layers.0.blocks.0.attn", "layers.0.blocks.1.attn"]),
        (lambda: PVT(32, (1, 1, 1, 1), num_classes=3), 32, None),
    ],
    ids=["acmix", "coatnet", "smt", "swin", "pvt"],
)
def test_every_layer_with_attention_is_found_once(rng, model, size, names):
    net = model()
    x = rng.standard_normal((1, 3, size, size)).astype(np.float32)
    x = x.astype(next(iter(net.named_params().values())).dtype)
    logits, _ = net.forward(x)
    maps = attention_maps(net, x)
    assert (names is None and len(maps) == 3) or list(maps) == names, list(maps)
    assert all(m.ndim == 3 and abs(m.mean() - 1) < 1e-5 and (m >= -1e-6).all() for m in maps.values())
    assert (net.forward(x)[0] == logits).all() and "forward" not in net.__dict__
    flat = EXPLANATIONS["attention"](net, x, 0)
    assert all((flat[name] == m.mean(0)).all() for name, m in maps.items())


@pytest.mark.parametrize(
    "model", [lambda: ResNet((1,), planes=(4,), stem=4, num_classes=3, mixer="conv"), lambda: build("das_resnet_tiny", num_classes=3),
              lambda: build("hornet_tiny", num_classes=3)], ids=["resnet", "das", "hornet"])
def test_a_model_without_attention_says_so(rng, model):
    net = model()
    x = rng.standard_normal((1, 3, 32, 32)).astype(next(iter(net.named_params().values())).dtype)
    with pytest.raises(UsageError, match="no layer with attention"):
        attention_maps(net, x)
    assert all("forward" not in layer.__dict__ for _, layer in net.named_modules())


LAST = {
    "acmix_tiny": {"relu": 16, "layer1": 8, "layer2": 4},
    "coatnet_tiny": {"stem": 16, "stages.0.blocks.1": 8, "stages.1.blocks.1": 4},
    "das_resnet_tiny": {"relu": 16, "das.1": 8, "das.2": 4, "das.3": 2},
    "smt_tiny": {"stage1": 8, "stage2": 4, "stage3": 2},
    "hornet_tiny": {"stages.0.1": 8, "stages.1.1": 4, "downsample_layers.3.0": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", TINY)
def test_grad_cam_is_that_of_the_last_map_of_every_size_and_of_the_class_that_is_asked_for(rng, name):
    net = build(name, num_classes=3, seed=2)
    x = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    maps = [EXPLANATIONS["gradcam"](net, x, label) for label in (0, 1)]
    for label, found in enumerate(maps):
        assert list(found) == [f"{layer} ({size} x {size})" for layer, size in LAST[name].items()]
        for heat, layer in zip(found.values(), LAST[name], strict=True):
            assert heat.shape == (32, 32) and (heat == grad_cam(net, x, layer, label).heat[0]).all()
    assert any((heat != other).any() for heat, other in zip(maps[0].values(), maps[1].values(), strict=True))


def test_grad_cam_needs_a_map():
    net = Sequential({"pool": Operator(global_avg_pool), "fc": Linear(3, 2)})
    with pytest.raises(UsageError, match="no layer of the model gives a map"):
        EXPLANATIONS["gradcam"](net, np.ones((1, 3, 8, 8)), 0)
