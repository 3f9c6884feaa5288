"""The proofs about scale-aware modulation find the faults that such code has: orders of channels, paddings, kernels, batch statistics."""

import numpy as np
import pytest
from proofs.failing import failing_steps

from pyhybrid.ops import mixed_conv, modulation, regroup, scale_aware_aggregation

MIXED = "mixed_convolution_is_one_depthwise_convolution"
REGROUP, BLOCKS = "regroup_is_a_permutation", "regroup_is_a_permutation.blocks"
COLLAPSE, FAR = "aggregation_without_gelu_is_one_matrix", "aggregation_without_gelu_is_one_matrix.far_from_zero"
DEGREE, DIFFERENCES = "modulation_is_of_degree_two", "modulation_is_of_degree_two.differences"
MOVES, TORUS = "modulation_moves_with_the_image", "modulation_moves_with_the_image.torus"


@pytest.mark.parametrize("name", [MIXED, REGROUP, BLOCKS, COLLAPSE, FAR, DEGREE, DIFFERENCES, MOVES, TORUS])
def test_nothing_fails_as_it_is(name):
    assert failing_steps(name) == []


def test_heads_that_are_interleaved_are_found(monkeypatch):
    right = mixed_conv.forward

    def interleaved(x, weight, bias=None, *, kernel_sizes):
        order = np.arange(x.shape[1]).reshape(-1, len(kernel_sizes)).T.ravel()       # head t: every N-th channel
        y, cache = right(x[:, order], weight, None if bias is None else bias[order], kernel_sizes=kernel_sizes)
        return y[:, np.argsort(order)], cache

    monkeypatch.setattr(mixed_conv, "forward", interleaved)
    assert failing_steps(MIXED) == [1]
    assert failing_steps(TORUS) == [1, 2]


def test_kernels_that_are_flipped_are_found(monkeypatch):
    right = mixed_conv.forward
    monkeypatch.setattr(mixed_conv, "forward", lambda x, *rest, **config: tuple(
        a[..., ::-1, ::-1] if n == 0 else a for n, a in enumerate(right(x[..., ::-1, ::-1], *rest, **config))))
    assert failing_steps(MIXED) == [1]
    assert failing_steps(MOVES) == [], "a flipped kernel moves with the image as well"


def test_a_border_that_is_cut_off_is_found(monkeypatch):
    right = mixed_conv.forward

    def emptied(*arguments, **config):
        y, cache = right(*arguments, **config)
        y = y.copy()
        y[..., 0] = 0
        return y, cache

    monkeypatch.setattr(mixed_conv, "forward", emptied)
    assert failing_steps(MIXED) == [1]
    assert failing_steps(MOVES) == [], "the interior never sees the border"


def test_a_regrouping_that_does_nothing_or_the_inverse_is_found(monkeypatch):
    right = regroup.forward
    monkeypatch.setattr(regroup, "forward", lambda x, *, heads, inverse=False: (x, None))
    assert failing_steps(REGROUP) == [1, 2], "there and back it is the identity: the index formula is what finds it"
    assert failing_steps(BLOCKS) == [2] and failing_steps(COLLAPSE) == [1]
    monkeypatch.setattr(regroup, "forward", lambda x, *, heads, inverse=False: right(x, heads=heads, inverse=not inverse))
    assert failing_steps(BLOCKS) == [2] and failing_steps(COLLAPSE) == [1]


def test_an_aggregation_that_forgets_running_statistics_or_a_bias_is_found(monkeypatch):
    right = scale_aware_aggregation.forward
    monkeypatch.setattr(scale_aware_aggregation, "forward", lambda *arguments, **config: right(*arguments[:7], **config))
    assert failing_steps(FAR) == [1] and failing_steps(MOVES) == [1, 2]
    monkeypatch.setattr(scale_aware_aggregation, "forward", lambda x, W0, b0, *rest, **config: right(x, W0, 0 * b0, *rest, **config))
    assert failing_steps(FAR) == [1]


def test_a_modulation_with_a_residual_or_transposed_pixels_is_found(monkeypatch):
    right = modulation.forward
    monkeypatch.setattr(modulation, "forward", lambda v, modulator: (v + right(v, modulator)[0], None))
    assert failing_steps(DEGREE) == [2]
    monkeypatch.setattr(modulation, "forward", lambda v, modulator: right(
        v, np.ascontiguousarray(modulator.swapaxes(2, 3)).reshape(modulator.shape)))
    assert failing_steps(MOVES) == [1, 2]
