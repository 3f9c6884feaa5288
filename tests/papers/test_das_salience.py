"""The salient feature detection score: by literal loops, with all options, its range, and what is refused."""

import math

import numpy as np
import pytest

from pyhybrid.errors import ConstraintError
from pyhybrid.papers.das import sfd
from pyhybrid.papers.das.salience import REDUCTIONS, SCALES


@pytest.fixture
def rng():
    return np.random.default_rng(53)


H = {"antilog10": lambda w: 10**w, "exp": math.exp, "identity": lambda w: w, "neglog": lambda w: -math.log(max(1 - w, 1e-6))}


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("scale", SCALES)
def test_by_loops(scale, reduce, threshold, rng):
    heat, region = rng.uniform(size=(6, 9)), rng.uniform(size=(6, 9)) > 0.6
    heat[0, 0], heat[1, 1], heat[2, 2] = 0, 1, threshold
    inside, union = [], []
    for i in range(6):
        for j in range(9):
            if region[i, j]:
                inside.append(H[scale](heat[i, j]))
            if region[i, j] or heat[i, j] > threshold:
                union.append(H[scale](heat[i, j]))
    over = (len(inside), len(union)) if reduce == "mean" else (1, 1)
    expected = (math.fsum(inside) / over[0], math.fsum(union) / over[1])
    found = sfd(heat, region, threshold=threshold, scale=scale, reduce=reduce)
    np.testing.assert_allclose((found.region, found.union, found.score), (*expected, expected[0] / expected[1]), rtol=1e-12)
    assert not (found.salient & region).any() and int(found.salient.sum()) == len(union) - len(inside)


@pytest.mark.parametrize("scale", ["antilog10", "exp"])
def test_range_of_the_sum(scale, rng):
    """In (0, 1], 1 exactly if nothing outside is salient; and with 10^w never as low as the prose has it."""
    for _ in range(30):
        heat, region = rng.uniform(size=(5, 5)), rng.uniform(size=(5, 5)) > 0.5
        region[2, 2] = True
        found = sfd(heat, region, scale=scale)
        assert 0 < found.score <= 1 and (found.score == 1) is not bool(found.salient.any())
        if scale == "antilog10":
            assert found.score >= region.sum() / (region.sum() + 10 * found.salient.sum())


def test_the_mean_can_exceed_one():
    heat = np.array([[1.0, 0.6]])
    assert sfd(heat, heat == 1, reduce="mean").score > 1 > sfd(heat, heat == 1).score


def test_salient_pixels_may_be_given(rng):
    heat, region = rng.uniform(size=(4, 5)), rng.uniform(size=(4, 5)) > 0.5
    everything = sfd(heat, region, salient=np.ones((4, 5)))
    assert everything.salient.sum() == (~region).sum() and everything.score == sfd(heat, region, threshold=-1).score


def test_corners():
    nothing = np.zeros((3, 3))
    assert sfd(nothing + 0.7, nothing).score == 0                              # no object, but salient pixels
    assert math.isnan(sfd(nothing, nothing).score)                             # neither
    assert math.isnan(sfd(nothing, nothing + 1, scale="identity").score)       # a map that marks nothing, unscaled
    assert sfd(nothing, np.eye(3)).score == 1
    assert sfd(np.ones((1, 1)), np.ones((1, 1)), scale="neglog").region == pytest.approx(-math.log(1e-6))


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((np.zeros((2, 3)), np.zeros((3, 2))), {}, "maps .* of one size"),
        ((np.zeros(3), np.zeros(3)), {}, "maps"),
        ((np.zeros((2, 3)), np.zeros((2, 3))), {"salient": np.zeros(2)}, "maps"),
        ((np.full((2, 3), 1.5), np.zeros((2, 3))), {}, "values from 0 to 1"),
        ((np.full((2, 3), np.nan), np.zeros((2, 3))), {}, "real numbers without NaN"),
        ((np.zeros((2, 3)), np.zeros((2, 3))), {"scale": "log"}, "scale must be one of"),
        ((np.zeros((2, 3)), np.zeros((2, 3))), {"reduce": "max"}, "reduce must be one of"),
    ],
)
def test_refusals(arguments, options, text):
    with pytest.raises(ConstraintError, match=text):
        sfd(*arguments, **options)
