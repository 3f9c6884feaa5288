"""The networks that are written for PyTorch compute what ours compute: logits and every gradient, in training mode."""

import numpy as np
import pytest

from pyhybrid.bench.networks import FAMILIES, peers
from pyhybrid.bench.torch_smt import _kept
from pyhybrid.bench.training_step import laid_out
from pyhybrid.papers import TINY, VARIANTS, build
from pyhybrid.papers.acmix import ResNet
from pyhybrid.papers.coatnet import CoAtNet
from pyhybrid.papers.hornet import HorNet
from pyhybrid.papers.smt import SMT

SMALL = {"num_classes": 5, "seed": 1}
COATNET = {"dim_head": 8, **SMALL}
# On images of 64 pixels the first filter belongs to the map, 4 x 4, and the second is resized.
HORNET = {"depths": (1, 1, 2, 1), "base_dim": 16, "s": 1 / 3, **SMALL}
FILTERS = (None, None, (4, 3), (7, 4))
NETWORKS = {
    "acmix": lambda: ResNet((1, 2), planes=(8, 16), stem=8, **SMALL),
    "coatnet": lambda: CoAtNet(64, ((("C", 2, 8),), (("C", 1, 16),), (("C", 1, 16), ("T", 2, 24)), (("T", 1, 32),)), (8, 8), **COATNET),
    "coatnet of odd maps": lambda: CoAtNet(72, ((("C", 1, 8),), (("C", 1, 8),), (("C", 1, 8),), (("T", 1, 8),)), (8, 8), **COATNET),
    "coatnet without a stem": lambda: CoAtNet(64, ((("T", 2, 16),),), (16,), patch=16, **COATNET),
    "smt": lambda: SMT(embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), mlp_ratios=(2, 2, 2, 2), **SMALL),
    "smt with layer scale": lambda: SMT(embed_dims=(8, 16), depths=(1, 2), mlp_ratios=(2, 3), ca_num_heads=(2, 4), sa_num_heads=(2, 4),
                                        mix=("S", "MS"), head_conv=7, use_layerscale=True, **SMALL),
    "hornet": lambda: HorNet(**HORNET),
    "hornet without layer scale": lambda: HorNet(**HORNET, layer_scale_init_value=0),
    "hornet of global filters": lambda: HorNet(**HORNET, filters=FILTERS),
}
CASES = [(network, peer) for network, make in NETWORKS.items() for peer in peers(make())]


@pytest.fixture
def torch():
    """PyTorch with one thread: on small maps a second one gains nothing, and on a busy machine the two wait for each other for seconds."""
    module = pytest.importorskip("torch")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


def drawn(make):
    """A small network in training mode whose parameters are all far from the zeros, ones and tiny factors with which some start."""
    net = make().train()
    rng = np.random.default_rng(2)
    for value in net.named_params().values():
        value += 0.2 * rng.standard_normal(value.shape)
    return net


def images(size):
    return np.random.default_rng(3).standard_normal((2, 3, size, size))


def assert_same(torch, net, peer, x, **given):
    """Logits and gradients of all parameters in float64, in which rounding hides nothing."""
    y, cache = net.forward(x, **given)
    dy = np.random.default_rng(4).standard_normal(y.shape)
    _, grads = net.backward(dy, cache)
    state = laid_out(net.state_dict(), peer.channels_last)
    learnt = {name: state[name].requires_grad_() for name in net.named_params()}
    tensors = {key: [tuple(map(torch.from_numpy, pair)) for pair in value] for key, value in given.items()}
    theirs = peer.forward(state, laid_out({"x": x}, peer.channels_last)["x"], net, **tensors)
    assert_close(theirs.detach().numpy(), y, 0, "logits")
    largest = max(abs(grad).max() for grad in grads.values())
    assert grads.keys() == learnt.keys()
    for name, grad in zip(learnt, torch.autograd.grad(theirs, list(learnt.values()), torch.from_numpy(dy)), strict=True):
        assert_close(grad.numpy(), grads[name], 1e-4 * largest, name)


def assert_close(a, b, least, name):
    """Equal up to rounding of the largest entry, or of `least`: some gradients are zero but for the rounding of larger ones."""
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(abs(b).max(), least), err_msg=name)


@pytest.mark.parametrize(("network", "peer"), CASES)
def test_a_peer_computes_the_same_logits_and_gradients(torch, network, peer):
    net = drawn(NETWORKS[network])
    assert_same(torch, net, peers(net)[peer], images(net.size[0] if isinstance(net, CoAtNet) else 64))


@pytest.mark.parametrize("peer", FAMILIES[SMT][1])
def test_the_peer_of_smt_drops_the_branches_that_ours_drops(torch, peer):
    net = drawn(NETWORKS["smt"])
    scales = np.random.default_rng(5).integers(0, 2, (sum(net.depths), 2, 2)) / 0.75
    assert_same(torch, net, peers(net)[peer], images(64), path_scales=[tuple(pair) for pair in scales])


def test_the_peer_of_smt_draws_as_ours_does(torch):
    torch.manual_seed(0)
    kept = _kept(torch.ones(1000, 1, 1, dtype=torch.float64), None, 0.25, None).flatten()
    assert set(kept.tolist()) == {0, 1 / 0.75} and abs(kept.mean() - 1) < 0.1


def test_a_network_that_no_formula_computes_has_no_peer():
    offered = {name for name in VARIANTS | TINY if peers(build(name, seed=None))}
    of_families = {name for name in VARIANTS if name.startswith(("acmix_resnet", "coatnet_", "smt_", "hornet_"))}
    others = {name for name in VARIANTS if name.startswith(("coatnet_cw", "coatnet_timm"))}         # of other code bases
    assert offered == of_families - others | {"acmix_tiny", "smt_tiny", "hornet_tiny"}


@pytest.mark.parametrize("changed", [
    lambda: CoAtNet(64, mbconv={"stride_mode": "dw"}, seed=None), lambda: CoAtNet(64, transformer={"form": "post"}, seed=None),
    lambda: CoAtNet(64, head="plain", seed=None), lambda: CoAtNet(64, drop_path_rate=0.1, seed=None),
    lambda: SMT(sam={"fusion": "grouped"}, seed=None), lambda: SMT(local_conv=False, seed=None), lambda: SMT(dwconv=False, seed=None),
    lambda: SMT(qk_scale=0.5, seed=None), lambda: HorNet(gnconv={"kernel_size": 5}, seed=None),
    lambda: HorNet(drop_path_rate=0.1, seed=None), lambda: ResNet((1, 1, 1, 1), mixer="conv", seed=None)])
def test_an_option_that_the_formula_does_not_know_has_no_peer(changed):
    assert not peers(changed())
