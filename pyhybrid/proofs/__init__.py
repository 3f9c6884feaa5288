"""The statements that the package proves, one module each; `show(name)` checks and displays, `check(proof)` judges.

A new statement is a module with a tuple PROOFS, and its name in the list below.
"""

from __future__ import annotations

import importlib

from pyhybrid.errors import UsageError
from pyhybrid.proofs._check import check
from pyhybrid.proofs._proof import Counterexample, Proof, Step, Verdict

__all__ = ["STATEMENTS", "Counterexample", "Proof", "Step", "Verdict", "Verdicts", "check", "every", "find", "show"]

STATEMENTS = (
    "shift_adjoint_and_composition",
    "pointwise_commutes_with_shift",
    "conv_is_shift_and_sum",
    "shift_is_depthwise_conv",
    "acmix_conv_path_is_one_conv",
    "softmax_ignores_a_constant",
    "key_bias_has_no_effect",
    "positional_bias_has_no_effect",
    "positional_term_is_relative",
    "zero_queries_average",
    "linear_position_peaks_at_a_corner",
    "frozen_attention_is_a_convolution",
    "stride_is_subsampling",
    "local_attention_is_masked_global",
    "window_attention_is_masked_global",
    "rolled_conv_path_is_cut_and_glued",
    "static_relative_attention_is_a_normalised_convolution",
    "constant_bias_is_plain_attention",
    "post_form_is_attention_plus_convolution",
    "windowed_table_is_a_depthwise_convolution",
    "relative_attention_is_translation_equivariant",
    "attention_without_a_table_commutes_with_permutations",
    "bilinear_sampling_reproduces_affine_maps",
    "sampling_slope_is_the_forward_difference",
    "zero_offsets_give_the_convolution",
    "whole_offsets_move_the_image",
    "fractional_offset_interpolates_the_kernel",
    "offset_groups_permute_with_their_channels",
    "deformable_convolution_is_linear_in_the_map",
    "instance_norm_cancels_biases",
    "channel_norm_cannot_dim_a_pixel",
    "gate_stays_between_zero_and_x",
    "gnconv_has_degree_order_plus_one",
    "gnconv_is_a_matrix_at_every_pixel",
    "gnconv_gradients_share_by_degree",
    "gnconv_of_order_one_is_a_gated_convolution",
    "gnconv_costs_less_than_a_bound_for_every_order",
    "global_filter_is_a_circular_convolution",
    "global_filter_has_redundant_columns",
    "gnconv_and_filters_move_with_the_image",
    "degree_tells_operators_apart",
    "mixed_convolution_is_one_depthwise_convolution",
    "regroup_is_a_permutation",
    "aggregation_without_gelu_is_one_matrix",
    "modulation_is_of_degree_two",
    "modulation_moves_with_the_image",
)


class Verdicts(tuple[Verdict, ...]):
    """Several verdicts, displayed one below the other."""

    @property
    def holds(self) -> bool:
        """True if all of them hold."""
        return all(verdict.holds for verdict in self)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    def _repr_html_(self) -> str:
        return "".join(verdict._repr_html_() for verdict in self)


def every() -> tuple[Proof, ...]:
    """All proofs, those that are used by others first."""
    modules = (importlib.import_module(f"pyhybrid.proofs.{name}") for name in STATEMENTS)
    return tuple(proof for module in modules for proof in module.PROOFS)


def find(name: str) -> tuple[Proof, ...]:
    """The proof of this name, with its parts `name.…`, or else those whose names begin with it; `UsageError` lists all names."""
    proofs = every()
    found = tuple(p for p in proofs if p.name == name or p.name.startswith(name + "."))
    found = found or tuple(p for p in proofs if name and p.name.startswith(name))
    if not found:
        raise UsageError(f"no proof is called {name!r}; there are: " + ", ".join(p.name for p in proofs))
    return found


def show(name: str, mode: str = "exact") -> Verdicts:
    """Check the proofs of this name; the result displays itself in a notebook and by `print`."""
    return Verdicts(check(proof, mode) for proof in find(name))
