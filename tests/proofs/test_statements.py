"""Every proof holds, on every backend and by every method, and a broken operator is caught by the proofs that speak of it."""

import numpy as np
import pytest
from proofs.failing import failing_steps

from pyhybrid import backend, proofs
from pyhybrid.ops import (
    attention,
    bilinear_sample,
    conv2d,
    deform_conv2d,
    group_norm,
    instance_norm,
    layer_norm,
    local_attention,
    positional_term,
    relative_attention,
    roll,
    shift,
    shift_sum,
    sigmoid,
    softmax,
    window_partition,
)
from pyhybrid.proofs import _check, _draw

EVERY = [pytest.param(proof, id=proof.name) for proof in proofs.every()]
BACKENDS = ["numpy", pytest.param("rust", marks=pytest.mark.skipif(not backend.available(), reason="no compiled core"))]


@pytest.fixture
def reference():
    with backend.use("numpy"):
        yield


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("proof", EVERY)
def test_every_step_holds_and_every_counterexample_fails(proof, name):
    with backend.use(name):
        verdict = proofs.check(proof)
    assert verdict.holds, str(verdict)
    assert all(step.draws == len(proof.sizes) * 3 * len(verdict.backends) for step in verdict.steps)
    floats = _check.kind_of(proof) == "integers"          # Python's own integers run through the NumPy bodies whatever is chosen
    assert verdict.backends == (("numpy", "rust") if name == "rust" and floats else ("numpy",))
    assert verdict.survival is None or verdict.survival < 1e-6


@pytest.mark.parametrize("mode", ["fractions", "symbolic"])
@pytest.mark.parametrize("proof", EVERY)
def test_small_sizes_hold_without_any_rounding(proof, mode):
    if mode == "symbolic":
        pytest.importorskip("sympy")
    with backend.use("numpy"):  # for the counterexamples, which are numbers
        verdict = proofs.check(proof, mode)
    assert verdict.holds, str(verdict)
    assert verdict.mode == (mode if proof.small else "exact")
    assert not proof.small or all(step.worst is None for step in verdict.steps)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("proof", EVERY)
def test_other_draws(proof, seed):
    with backend.use("numpy"):
        assert proofs.check(proof, draws=1, seed=seed).holds


@pytest.mark.parametrize("proof", [p for p in proofs.every() if p.degree and _check.kind_of(p) == "integers"],
                         ids=lambda p: p.name)
def test_integers_stay_below_2_to_the_53_at_every_size(proof, reference):
    limit = _check.largest_integer(proof.degree)
    for size in proof.sizes:
        world = proof.world(_draw.Draw("largest", [0], limit), **size)
        for step in proof.steps:
            assert np.abs(step.value(world)).max(initial=0) < 2**53


@pytest.mark.parametrize("proof", [p for p in proofs.every() if any(step.bound for step in p.steps)], ids=lambda p: p.name)
def test_bounds_are_small_against_what_they_judge(proof, reference):
    """A bound that admits the counterexample would prove nothing: they must be many orders of magnitude apart."""
    for size in proof.sizes:
        if size.get("spread", 1.0) > 1.0:
            continue
        world = proof.world(_draw.Draw("integers", [0], 9), **size)
        assert all(step.bound(world) < 1e-9 for step in proof.steps[1:])


def broken(monkeypatch, module, forward):
    monkeypatch.setattr(module, "forward", forward)


def test_shift_with_the_wrong_sign_is_found(monkeypatch):
    right = shift.forward
    broken(monkeypatch, shift, lambda x, *, offset: right(x, offset=(-offset[0], -offset[1])))
    # The formula is right; the sums of shifts agree with each other and are all wrong.
    assert failing_steps("conv_is_shift_and_sum.odd") == [2]
    # The two sums over pixels agree, what is computed by a shift does not agree with them, nor with the right gradient.
    assert failing_steps("shift_adjoint_and_composition.adjoint") == [1, 3, 4]
    # One sum of wrong shifts equals another; the next expression is spelled by index.
    assert failing_steps("shift_is_depthwise_conv") == [2]
    assert 1 in failing_steps("pointwise_commutes_with_shift")


def test_convolution_without_its_border_is_found(monkeypatch):
    right = conv2d.forward

    def without_border(x, weight, bias=None, **config):
        y, cache = right(x, weight, bias, **config)
        y = y.copy()
        y[..., 0, :] = 0
        return y, cache

    broken(monkeypatch, conv2d, without_border)
    assert failing_steps("conv_is_shift_and_sum.odd") == [1]
    assert failing_steps("conv_is_shift_and_sum.even") == [1]
    assert failing_steps("shift_is_depthwise_conv")[-1] == 3
    assert failing_steps("zero_queries_average") == [3]


def test_stage_two_that_rolls_instead_of_shifting_is_found(monkeypatch):
    def rolled(maps, *, kernel_size, stride=1):
        kh, kw = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        offsets = [(kh // 2 - p, kw // 2 - q) for p in range(kh) for q in range(kw)]
        y = sum(np.roll(maps[:, m], offset, axis=(2, 3)) for m, offset in enumerate(offsets))
        sh, sw = (stride, stride) if isinstance(stride, int) else stride
        return y[..., ::sh, ::sw], None

    broken(monkeypatch, shift_sum, rolled)
    # Breaking the operator breaks the composite that calls it too, so the last step of the chain still holds.
    assert failing_steps("conv_is_shift_and_sum.odd") == [4]
    assert failing_steps("frozen_attention_is_a_convolution.stage_two") == [3, 4]


def test_softmax_along_the_wrong_axis_is_found(monkeypatch):
    right = softmax.forward
    broken(monkeypatch, softmax, lambda x, *, axis=-1: right(x, axis=0))
    assert 3 in failing_steps("softmax_ignores_a_constant")


def test_attention_that_forgets_the_scale_is_found(monkeypatch):
    right = local_attention.forward
    broken(monkeypatch, local_attention, lambda *args, **config: right(*args, **config | {"scale": 1.0}))
    assert failing_steps("key_bias_has_no_effect") == [1, 4]


def test_global_attention_that_ignores_its_mask_is_found(monkeypatch):
    right = attention.forward
    broken(monkeypatch, attention, lambda q, k, v, bias=None, **config: right(q, k, v, None, **config))
    assert failing_steps("window_attention_is_masked_global") == [3]
    assert failing_steps("window_attention_is_masked_global.one_window") == []
    assert failing_steps("local_attention_is_masked_global") == [3]


def test_windows_that_are_cut_column_by_column_are_found(monkeypatch):
    right = window_partition.forward

    def transposed(x, *, window):
        windows, cache = right(x, window=window)
        return windows.reshape(len(windows), *window, -1).swapaxes(1, 2).reshape(windows.shape), cache

    broken(monkeypatch, window_partition, transposed)
    assert failing_steps("window_attention_is_masked_global") == [1]


def test_a_roll_in_the_wrong_direction_is_found(monkeypatch):
    right = roll.forward
    broken(monkeypatch, roll, lambda x, *, offset: right(x, offset=-offset))
    # There and back, in the wrong order: the first two expressions still agree, the third is spelled by index.
    assert failing_steps("rolled_conv_path_is_cut_and_glued") == [2]


def test_a_positional_term_that_is_not_linear_is_found(monkeypatch):
    right = positional_term.forward

    def folded(*args, **config):
        pe, cache = right(*args, **config)
        return np.abs(pe), cache

    broken(monkeypatch, positional_term, folded)
    assert failing_steps("linear_position_peaks_at_a_corner") == [1, 3]
    assert failing_steps("linear_position_peaks_at_a_corner.weights") == [2]
    assert failing_steps("frozen_attention_is_a_convolution.position") == [2]


RELATIVE = ["static_relative_attention_is_a_normalised_convolution", "constant_bias_is_plain_attention",
            "constant_bias_is_plain_attention.post",
            "post_form_is_attention_plus_convolution", "post_form_is_attention_plus_convolution.any_kernel",
            "windowed_table_is_a_depthwise_convolution.local", "relative_attention_is_translation_equivariant"]


def relative_faults(monkeypatch, changed):
    """The failing steps of the statements about relative attention, with `changed(table, config)` before the operator."""
    right = relative_attention.forward

    def wrong(q, k, v, table, **config):
        table, config = changed(table, config)
        return right(q, k, v, np.ascontiguousarray(table), **config)

    broken(monkeypatch, relative_attention, wrong)
    return {name: failing_steps(name) for name in RELATIVE}


def test_relative_attention_with_the_other_sign_is_found(monkeypatch):
    found = relative_faults(monkeypatch, lambda table, config: (table, config | {"sign": "key - query"}))
    assert [bool(found[name]) for name in RELATIVE] == [True, False, False, True, True, True, True]
    assert found["static_relative_attention_is_a_normalised_convolution"] == [1]
    assert found["post_form_is_attention_plus_convolution"] == [1]


def test_relative_attention_of_the_other_form_is_found(monkeypatch):
    other = {"pre": "post", "post": "pre"}
    with np.errstate(invalid="ignore"):     # a table of -inf beyond the radius is for the form "pre" only
        found = relative_faults(monkeypatch, lambda table, config: (table, config | {"form": other[config["form"]]}))
    assert all(found.values())


def test_relative_attention_without_its_table_is_found(monkeypatch):
    found = relative_faults(monkeypatch, lambda table, config: (0 * np.where(np.isfinite(table), table, 0), config))
    assert [bool(found[name]) for name in RELATIVE] == [True, False, True, True, True, True, True]


def test_relative_attention_that_scales_its_table_is_found(monkeypatch):
    found = relative_faults(monkeypatch, lambda table, config: (table / 2, config))
    assert [bool(found[name]) for name in RELATIVE] == [True, False, True, True, True, True, True]
    assert found["relative_attention_is_translation_equivariant"] == [1, 3]


DEFORMABLE = ["zero_offsets_give_the_convolution", "zero_offsets_give_the_convolution.version_1", "whole_offsets_move_the_image.gather",
              "whole_offsets_move_the_image", "fractional_offset_interpolates_the_kernel", "offset_groups_permute_with_their_channels",
              "offset_groups_permute_with_their_channels.alike", "deformable_convolution_is_linear_in_the_map"]
SAMPLING = ["bilinear_sampling_reproduces_affine_maps", "bilinear_sampling_reproduces_affine_maps.slopes",
            "bilinear_sampling_reproduces_affine_maps.partition_of_unity", "sampling_slope_is_the_forward_difference"]


def deformable_faults(monkeypatch, changed):
    """The failing steps of the statements about deformable convolution, with `changed(arguments, config)` before the operator."""
    right = deform_conv2d.forward

    def wrong(x, offset, weight, mask=None, bias=None, **config):
        arguments, config = changed(dict(x=x, offset=offset, weight=weight, mask=mask, bias=bias), config)
        return right(**{name: None if a is None else np.ascontiguousarray(a) for name, a in arguments.items()}, **config)

    broken(monkeypatch, deform_conv2d, wrong)
    return {name: failing_steps(name) for name in DEFORMABLE}


def channels(order):
    """Pairs of offset channels (dy, dx) per tap, put in another order."""
    return lambda given, config: (given | {"offset": order(given["offset"])}, config)


def test_offsets_as_dx_dy_are_found(monkeypatch):
    exchanged = deformable_faults(monkeypatch, channels(
        lambda D: D.reshape(len(D), -1, 2, *D.shape[2:])[:, :, ::-1].reshape(D.shape)))
    # At rest the order says nothing, and where both sides are deformable convolutions both are wrong alike.
    assert exchanged == {name: [] for name in DEFORMABLE} | {
        "zero_offsets_give_the_convolution.version_1": [1, 2], "whole_offsets_move_the_image.gather": [1],
        "whole_offsets_move_the_image": [1], "fractional_offset_interpolates_the_kernel": [1],
        "deformable_convolution_is_linear_in_the_map": [1, 4]}


def test_offsets_with_all_dy_first_are_found(monkeypatch):
    found = deformable_faults(monkeypatch, channels(
        lambda D: D.reshape(len(D), 2, -1, *D.shape[2:]).swapaxes(1, 2).reshape(D.shape)))
    assert found["whole_offsets_move_the_image.gather"] == found["whole_offsets_move_the_image"] == [1]
    assert found["offset_groups_permute_with_their_channels"], "with two groups it also mixes the groups"


def test_a_sigmoid_inside_the_operator_is_found(monkeypatch):
    def squashed(given, config):
        mask = given["mask"]
        return given | {"mask": None if mask is None else sigmoid.forward(np.asarray(mask, float))[0]}, config

    found = deformable_faults(monkeypatch, squashed)
    assert found["zero_offsets_give_the_convolution"] == [1] and found["zero_offsets_give_the_convolution.version_1"] == [2]
    assert found["whole_offsets_move_the_image.gather"] == [1]


def test_offsets_scaled_by_the_dilation_are_found(monkeypatch):
    def scaled(given, config):
        return given | {"offset": given["offset"] * config.get("dilation", (1, 1))[1]}, config

    found = deformable_faults(monkeypatch, scaled)
    assert found["whole_offsets_move_the_image.gather"] == [1] and not found["zero_offsets_give_the_convolution"]


def test_sampling_that_clamps_at_the_border_is_found(monkeypatch):
    right = bilinear_sample.forward

    def clamped(x, ys, xs):
        return right(x, np.clip(ys, 0, x.shape[2] - 1), np.clip(xs, 0, x.shape[3] - 1))

    broken(monkeypatch, bilinear_sample, clamped)
    # Inside the map nothing changed.
    assert {name: failing_steps(name) for name in SAMPLING} == dict(zip(SAMPLING, [[], [], [1], [1, 3]], strict=True))
    assert failing_steps("fractional_offset_interpolates_the_kernel") == [2]


def test_sampling_with_exchanged_fractions_is_found(monkeypatch):
    right = bilinear_sample.forward

    def exchanged(x, ys, xs):
        y0, x0 = np.floor(ys), np.floor(xs)
        return right(x, y0 + (xs - x0), x0 + (ys - y0))

    broken(monkeypatch, bilinear_sample, exchanged)
    found = {name: failing_steps(name) for name in SAMPLING}
    assert found["bilinear_sampling_reproduces_affine_maps"] == [1] and found["sampling_slope_is_the_forward_difference"]


def test_a_slope_from_the_left_is_found(monkeypatch):
    right = bilinear_sample.backward

    def from_the_left(dy, cache):
        x, ys, xs = cache
        left = bilinear_sample.Cache(x, np.where(ys == np.floor(ys), ys - 0.5, ys), np.where(xs == np.floor(xs), xs - 0.5, xs))
        slopes = right(dy, left)
        return right(dy, cache)._replace(ys=slopes.ys, xs=slopes.xs)

    monkeypatch.setattr(bilinear_sample, "backward", from_the_left)
    assert failing_steps("sampling_slope_is_the_forward_difference") == [3]
    assert failing_steps("bilinear_sampling_reproduces_affine_maps.slopes") == [1]


def test_scattering_to_the_nearest_pixel_is_found(monkeypatch):
    right = bilinear_sample.backward

    def nearest(dy, cache):
        x, ys, xs = cache
        return right(dy, cache)._replace(x=right(dy, bilinear_sample.Cache(x, np.round(ys), np.round(xs))).x)

    monkeypatch.setattr(bilinear_sample, "backward", nearest)
    assert failing_steps("deformable_convolution_is_linear_in_the_map") == [4]


def test_a_gate_that_opens_beyond_one_is_found(monkeypatch):
    right = sigmoid.forward
    broken(monkeypatch, sigmoid, lambda x: (1.25 * right(x)[0], None))
    assert failing_steps("gate_stays_between_zero_and_x") == [1]
    assert failing_steps("gate_stays_between_zero_and_x.half") == [2]


def test_a_norm_over_the_wrong_axis_is_found(monkeypatch):
    right = layer_norm.forward
    broken(monkeypatch, layer_norm, lambda x, weight=None, bias=None, *, axis=-1, eps=1e-5: right(x, eps=eps, axis=0))
    assert failing_steps("gate_stays_between_zero_and_x") == [], "a gate keeps its bounds whatever the branch computes"
    broken(monkeypatch, layer_norm, lambda x, weight=None, bias=None, *, axis=-1, eps=1e-5: (2 * right(x, eps=eps, axis=axis)[0], None))
    assert failing_steps("gate_stays_between_zero_and_x.never_closed") == [2]


def test_norms_over_too_much_are_found(monkeypatch):
    over_all = group_norm.forward
    broken(monkeypatch, instance_norm, lambda x, weight=None, bias=None, *, eps=1e-5: over_all(x, weight, bias, eps=eps))
    assert failing_steps("instance_norm_cancels_biases") == [2, 3]
    broken(monkeypatch, layer_norm, lambda x, weight=None, bias=None, *, axis=-1, eps=1e-5: over_all(x, weight, bias, eps=eps))
    assert failing_steps("channel_norm_cannot_dim_a_pixel") == [1]
    assert failing_steps("channel_norm_cannot_dim_a_pixel.shared") == [1, 2]


def test_every_statement_is_a_file_and_every_file_is_listed():
    from pathlib import Path

    files = {path.stem for path in Path(proofs.__file__).parent.glob("[a-z]*.py")}
    assert files == set(proofs.STATEMENTS)
    names = [proof.name for proof in proofs.every()]
    assert len(set(names)) == len(names)
    assert all(proof.name.split(".")[0] in files for proof in proofs.every())


@pytest.mark.parametrize("proof", EVERY)
def test_a_proof_says_what_it_assumes_and_where_it_comes_from(proof):
    assert proof.title and proof.statement and proof.hypotheses and proof.domain and proof.source
    assert all(step.bound_text for step in proof.steps if step.bound)
    assert all(example.outside for example in proof.counterexamples)
