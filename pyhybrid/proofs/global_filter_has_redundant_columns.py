"""In the columns of the spectrum that are their own mirror image only half of the weights acts; so two filters are not their product."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import global_filter
from pyhybrid.proofs import _circular
from pyhybrid.proofs._circular import (
    acting,
    as_complex,
    as_pairs,
    bound,
    by_sums,
    filtered,
    kernel,
    mirrored,
    own_mirror,
    spectrum,
    step,
)
from pyhybrid.proofs._draw import World, changed
from pyhybrid.proofs._gnconv import inner
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def anti(w: World, columns: list[int]) -> Array:
    """In these columns the anti-Hermitian part of w2, z[u] = -conj z[-u]; 0 elsewhere."""
    z = np.zeros_like(as_complex(w.w2))
    for v in columns:
        column = as_complex(w.w2)[..., v]
        z[..., v] = (column - mirrored(column)) / 2
    return as_pairs(z)


def lost(w: World) -> Array:
    """What does nothing: the anti-Hermitian part in the self-conjugate columns."""
    return anti(w, own_mirror(w.size[1]))


UNSEEN = Proof(
    name="global_filter_has_redundant_columns",
    title="In self-conjugate columns the anti-Hermitian part of the weights does nothing",
    statement="global_filter(x, w + z) = global_filter(x, w) if z[u, v] = -conj z[-u, v] in the columns v = 0 and v = W/2, and 0 elsewhere",
    hypotheses=("x is real", "v = W/2 counts for even W only"),
    domain="any N, C, H, W >= 1, any weights",
    source=_circular.SOURCE,
    world=_circular.world,
    sizes=_circular.SIZES,
    small=(),
    steps=(
        Step("global_filter(x, w + z)", lambda w: filtered(w.x, w.w + lost(w))),
        step("global_filter(x, w) + global_filter(x, z)", lambda w: filtered(w.x, w.w) + filtered(w.x, lost(w)), "linear in the weights"),
        step("global_filter(x, w) + 1/(HW)·Σ_uv z'[u, v]·X[u, v]·e^(2πi(ui/H + vj/W))",
             lambda w: filtered(w.x, w.w) + by_sums(w.x, spectrum(lost(w), w.size[1])), "global_filter_is_a_circular_convolution"),
        step("global_filter(x, w)", lambda w: filtered(w.x, w.w),
             "z' = (z[u, v] + conj z[-u, v])/2 = 0 in those columns, and z is 0 elsewhere")),
    counterexamples=(
        Counterexample("a column that has a mirror image", _circular.world, _circular.OUTSIDE,
                       Step("global_filter(x, w + z), z in column 1", lambda w: filtered(w.x, w.w + anti(w, [1]))),
                       Step("global_filter(x, w)", lambda w: filtered(w.x, w.w)), bound=bound),
        Counterexample("the last column where W is odd: it stands for two", _circular.world, _circular.OUTSIDE | dict(W=5),
                       Step("global_filter(x, w + z), z in column 2", lambda w: filtered(w.x, w.w + anti(w, [2]))),
                       Step("global_filter(x, w)", lambda w: filtered(w.x, w.w)), bound=bound),
    ),
)


def kernels_of_units(w: World) -> Array:
    """The matrix of the map from all 2HV real weights of a channel to the HW values of its kernel."""
    (H, W), V = w.size, w.size[1] // 2 + 1
    units = np.eye(2 * H * V).reshape(-1, H, V, 2)
    return np.stack([kernel(unit[None], (H, W)).ravel() for unit in units], axis=1)


def null_space(w: World) -> Array:
    matrix = kernels_of_units(w)
    return np.array(matrix.shape[1] - np.linalg.matrix_rank(matrix))


DIMENSION = Proof(
    name="global_filter_has_redundant_columns.dimension",
    title="A filter has as many free numbers as the map has pixels; the other weights are redundant",
    statement="2H(⌊W/2⌋ + 1) - rank(w → k) = 2H if W is even, H if W is odd: so the rank is HW, and every kernel has weights",
    hypotheses=("per channel",),
    domain="any H, W >= 1",
    source=_circular.SOURCE,
    world=_circular.world,
    sizes=_circular.SIZES,
    small=(),
    steps=(
        Step("2H(⌊W/2⌋ + 1) - rank(w → k)", null_space),
        Step("H·(number of self-conjugate columns)", lambda w: np.array(w.size[0] * len(own_mirror(w.size[1]))),
             "in each the anti-Hermitian parts, H real numbers, do nothing (global_filter_has_redundant_columns), and no more is lost"),
        Step("2H if W is even, H if W is odd", lambda w: np.array(2 * w.size[0] if w.size[1] % 2 == 0 else w.size[0]),
             "v = 0 always, v = W/2 for even W"),
        Step("2H(⌊W/2⌋ + 1) - HW", lambda w: np.array(2 * w.size[0] * (w.size[1] // 2 + 1) - w.size[0] * w.size[1]),
             "2(⌊W/2⌋ + 1) - W is 2 or 1")),
    counterexamples=(
        Counterexample("the columns counted as if W were even", _circular.world, _circular.OUTSIDE | dict(W=5),
                       Step("2H(⌊W/2⌋ + 1) - rank(w → k)", null_space), Step("2H", lambda w: np.array(2 * w.size[0]))),
    ),
)


def hermitian(w: World) -> World:
    """Weights that are Hermitian in their self-conjugate columns."""
    W = w.size[1]
    return changed(w, w=as_pairs(acting(w.w, W)), w2=as_pairs(acting(w.w2, W)))


def one_after_the_other(w: World) -> Array:
    return filtered(filtered(w.x, w.w), w.w2)


def product(w: World) -> Array:
    return filtered(w.x, as_pairs(as_complex(w.w) * as_complex(w.w2)))


def acting_product(w: World) -> Array:
    return filtered(w.x, as_pairs(acting(w.w, w.size[1]) * acting(w.w2, w.size[1])))


def twice_bound(w: World) -> float:
    """The first result has Σ|y| <= n·M·|x|, and is filtered again."""
    return bound(w) * w.x[0, 0].size * max(1.0, *(float(np.abs(as_complex(a)).max()) for a in (w.w, w.w2)))


COMPOSITION = Proof(
    name="global_filter_has_redundant_columns.composition",
    title="Two filters after each other are one, with the product of the weights as they act",
    statement="global_filter(global_filter(x, w1), w2) = global_filter(x, w1'·w2')",
    hypotheses=("w' is Hermitian in the self-conjugate columns",),
    domain="any N, C, H, W >= 1, any weights",
    source=_circular.SOURCE,
    world=_circular.world,
    sizes=_circular.SIZES,
    small=(),
    steps=(
        Step("global_filter(global_filter(x, w1), w2)", one_after_the_other),
        Step("1/(HW)·Σ_uv w1'[u, v]·w2'[u, v]·X[u, v]·e^(2πi(ui/H + vj/W))",
             lambda w: by_sums(w.x, spectrum(w.w, w.size[1]) * spectrum(w.w2, w.size[1])),
             "global_filter_is_a_circular_convolution, twice: the transform of the first result is w1'·X", twice_bound,
             "n·M times 4u·(n+1)·M·|x|"),
        Step("global_filter(x, w1'·w2')", acting_product,
             "the product of two Hermitian columns is Hermitian: (w1'·w2')' = w1'·w2'", twice_bound, "n·M times 4u·(n+1)·M·|x|")),
    counterexamples=(
        Counterexample("the product of the weights as they stand", _circular.world, _circular.OUTSIDE,
                       Step("global_filter(global_filter(x, w1), w2)", one_after_the_other), Step("global_filter(x, w1·w2)", product),
                       bound=twice_bound,
                       agrees=(("weights that are Hermitian there", lambda w: one_after_the_other(hermitian(w)),
                                lambda w: product(hermitian(w))),)),
    ),
)


def sum_bound(w: World) -> float:
    """N·C sums of products with g, each at most |g| times what a filtered value is off by."""
    N, C = w.x.shape[:2]
    return bound(w) * N * C * float(np.abs(w.g).sum((2, 3)).max())


def from_the_backward(w: World) -> Array:
    return inner(w.x, global_filter.backward(w.g, global_filter.Cache(w.x, w.w)).x)


ADJOINT = Proof(
    name="global_filter_has_redundant_columns.adjoint",
    title="The adjoint of a filter is the filter with conjugated weights",
    statement="<global_filter(x, w), g> = <x, global_filter(g, conj w)>",
    hypotheses=("x and g are real",),
    domain="any N, C, H, W >= 1, any weights",
    source=_circular.SOURCE,
    world=_circular.world,
    sizes=_circular.SIZES,
    small=(),
    steps=(
        Step("<global_filter(x, w), g>", lambda w: inner(filtered(w.x, w.w), w.g)),
        Step("Σ k[a, b]·x[i-a, j-b]·g[i, j]", lambda w: inner(_circular.circular(w.x, kernel(w.w, w.size)), w.g),
             "global_filter_is_a_circular_convolution", sum_bound, "N·C·|g| times 4u·(n+1)·M·|x|"),
        Step("Σ x[i, j]·k[a, b]·g[i+a, j+b]", lambda w: inner(w.x, _circular.circular(w.g, kernel(w.w, w.size), sign=-1)),
             "re-index i - a → i: around the border every pair of pixels comes once", sum_bound, "N·C·|g| times 4u·(n+1)·M·|x|"),
        Step("<x, global_filter(g, conj w)>", lambda w: inner(w.x, filtered(w.g, w.w * [1, -1])),
             "conjugate weights have the kernel k[-a, -b]", sum_bound, "N·C·|g| times 4u·(n+1)·M·|x|"),
        Step("<x, global_filter.backward(g).x>", from_the_backward, "global_filter (B2)", sum_bound,
             "N·C·|g| times 4u·(n+1)·M·|x|")),
    counterexamples=(
        Counterexample("the same weights, not conjugated", _circular.world, _circular.OUTSIDE,
                       Step("<global_filter(x, w), g>", lambda w: inner(filtered(w.x, w.w), w.g)),
                       Step("<x, global_filter(g, w)>", lambda w: inner(w.x, filtered(w.g, w.w))), bound=sum_bound,
                       agrees=(("real weights: an even kernel", lambda w: inner(filtered(w.x, w.w * [1, 0]), w.g),
                                lambda w: inner(w.x, filtered(w.g, w.w * [1, 0]))),)),
    ),
)


PROOFS = (UNSEEN, DIMENSION, COMPOSITION, ADJOINT)
