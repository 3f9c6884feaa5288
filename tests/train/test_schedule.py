"""The learning rate: up in a straight line, down in half a cosine."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyhybrid.train.schedule import learning_rate


def test_f1_f2_at_places_that_are_known():
    rates = [learning_rate(t, peak=4.0, warmup=4, total=12, floor=1.0) for t in range(12)]
    assert rates[:5] == [1.0, 2.0, 3.0, 4.0, 4.0]
    assert rates[8] == pytest.approx(2.5)                       # half way down
    assert rates[6] - 2.5 == pytest.approx(2.5 - rates[10])     # the cosine is odd about its middle
    assert learning_rate(0, peak=2.0, warmup=0, total=1) == 2.0
    assert learning_rate(2, peak=3.0, warmup=3, total=3) == 3.0


@given(st.integers(1, 60), st.integers(0, 60), st.floats(1e-6, 10))
def test_it_rises_then_falls_within_its_limits(total, warmup, peak):
    warmup = min(warmup, total)
    rates = [learning_rate(t, peak=peak, warmup=warmup, total=total) for t in range(total)]
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    assert all(a < b for a, b in pairwise(rates[:warmup])) and all(a > b for a, b in pairwise(rates[warmup:]))


@pytest.mark.parametrize(("step", "warmup", "total"), [(-1, 0, 3), (3, 0, 3), (0, 4, 3), (0, -1, 3)])
def test_steps_outside_are_refused(step, warmup, total):
    with pytest.raises(ValueError, match="must be from 0 to"):
        learning_rate(step, peak=1.0, warmup=warmup, total=total)
