"""Cross-entropy with label smoothing: against loops over single numbers, and its gradient against differences."""

from math import exp, isnan, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyhybrid.errors import ConstraintError
from pyhybrid.train import loss as cross_entropy


def naive(logits, labels, smoothing):
    """The mean of -Σ q log p, number by number."""
    N, K = logits.shape
    total = 0.0
    for n in range(N):
        normaliser = sum(exp(z) for z in logits[n])
        for k in range(K):
            q = smoothing / K + (1 - smoothing if k == labels[n] else 0)
            total -= q * log(exp(logits[n, k]) / normaliser)
    return total / N


def draw(seed, N, K):
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal((N, K)), rng.integers(0, K, N)


sizes = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6))
smoothings = st.sampled_from([0.0, 0.1, 0.7])


@given(sizes, smoothings)
def test_f1_f2_f3_as_the_loops(size, smoothing):
    logits, labels = draw(*size)
    loss, cache = cross_entropy.forward(logits, labels, smoothing=smoothing)
    assert loss == pytest.approx(naive(logits, labels, smoothing), rel=1e-12)
    assert np.allclose(cache.q.sum(1), 1, rtol=1e-14) and np.allclose(cache.p.sum(1), 1, rtol=1e-14)


@given(sizes, smoothings)
def test_b1_as_differences(size, smoothing):
    logits, labels = draw(*size)
    _, cache = cross_entropy.forward(logits, labels, smoothing=smoothing)
    dz = cross_entropy.backward(cache)
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-6
        difference = naive(logits + step, labels, smoothing) - naive(logits - step, labels, smoothing)
        assert dz[place] == pytest.approx(difference / 2e-6, abs=2e-9)


def test_b1_is_zero_at_the_smoothed_target_and_sums_to_zero():
    q = np.full((1, 4), 0.05)
    q[0, 2] += 0.8
    _, cache = cross_entropy.forward(np.log(q), np.array([2]), smoothing=0.2)
    assert np.abs(cross_entropy.backward(cache)).max() < np.finfo(float).eps
    logits, labels = draw(3, 4, 5)
    assert np.abs(cross_entropy.backward(cross_entropy.forward(logits, labels)[1]).sum(1)).max() < 1e-15


def test_huge_logits_and_single_precision():
    logits = np.array([[1e4, 0.0], [0.0, -1e4]], np.float32)
    loss, cache = cross_entropy.forward(logits, np.array([0, 1]))
    assert loss == 5000.0 and cache.p.dtype == np.float32 and cross_entropy.backward(cache).dtype == np.float32
    assert isnan(cross_entropy.forward(np.array([[np.nan, 0.0]]), np.array([1]))[0])


def test_c1_c2_c3_are_refused():
    logits, labels = draw(0, 2, 3)
    for wrong, rule in (
        ((logits[0], labels), "C1"), ((logits[:, :0], labels), "C1"), ((logits[:0], labels[:0]), "C1"),
        ((logits, labels[:1]), "C2"), ((logits, np.array([0, 3])), "C2"), ((logits, np.array([0, -1])), "C2"),
        ((logits, labels.astype(float)), "C2"),
    ):
        with pytest.raises(ConstraintError, match=rf"^loss \({rule}\)"):
            cross_entropy.forward(*wrong)
    for smoothing in (-0.1, 1.0, "0.1"):
        with pytest.raises(ConstraintError, match=r"smoothing = "):
            cross_entropy.forward(logits, labels, smoothing=smoothing)
