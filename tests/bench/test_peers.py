"""What the benchmark times in PyTorch computes the same numbers, forward and backward: a wrong peer would make a dishonest ratio."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pyhybrid.bench.catalogue import WORKS  # noqa: E402
from pyhybrid.bench.peers import FORMULAS  # noqa: E402
from pyhybrid.bench.work import STAGES, BlockWork  # noqa: E402


@pytest.mark.parametrize("name", WORKS)
def test_every_peer_computes_what_is_timed_against_it(name):
    work = WORKS[name](name, "512@7", 2, *STAGES["512@7"])
    y, cache = work.forward()
    dy = work.cotangent()
    found = work.backward(dy, cache)
    grads = {"x": found[0], **found[1]} if isinstance(work, BlockWork) else found._asdict()
    assert FORMULAS[work.operator]
    for peer, formula in FORMULAS[work.operator].items():
        tensors = {key: torch.from_numpy(a).requires_grad_() for key, a in work.arrays.items()}
        theirs = formula(tensors, work)
        assert tuple(theirs.shape) == y.shape
        assert close(theirs.detach().numpy(), y), peer
        of_theirs = torch.autograd.grad(theirs, list(tensors.values()), torch.from_numpy(dy))
        largest = max(abs(grads[key]).max() for key in tensors)
        for key, grad in zip(tensors, of_theirs, strict=True):
            assert close(grad.numpy(), grads[key], 0.1 * largest), f"{peer}: {key}"


def close(a, b, least=0.0):
    """Equal up to float32 rounding of the largest entry, or of `least`: some gradients are zero but for the rounding of larger ones."""
    return np.abs(a - b).max() <= 1e-4 * max(np.abs(b).max(), least)
