"""The global filter as the statements about it see it: transforms as explicit sums, kernels, and what rounding may do.

Notation. w[u, v] are the complex weights, v = 0 … ⌊W/2⌋; S are the self-conjugate columns, v = 0 and, if W is even, v = W/2. w' are the
weights as they act: in the columns of S the Hermitian part (w[u, v] + conj w[-u, v])/2, elsewhere w; and w'[u, v] = conj w'[-u, W-v] for
the other half of the spectrum. k is the kernel, k[a, b] = 1/(HW)·Σ_uv w'[u, v]·e^(2πi(ua/H + vb/W)). Rows and columns are modulo H and W.

Bound. A kernel value is at most max|w|, and the kernel of K x K taps sums to at most Σ|K|: so a result is at most M·|x|, M one of the two
and |x| the largest Σ|x[i, j]| of an image and channel. Two sums of n terms after each other are off by at most 2n·u of that in either
order, and so are the transforms of the operator, whose sums are shorter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import global_filter
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Pair
from pyhybrid.proofs._proof import EPS, Function, Step

SOURCE = "GFNet, arXiv 2107.00645, and HorNet, arXiv 2207.14284, global filter"
BOUND = "4u·(n+1)·M·|x|, n pixels, M = max|w| or Σ|K|, |x| = Σ|x[i, j]|"
SIZES: tuple[dict[str, Any], ...] = (dict(N=2, C=2, H=4, W=4), dict(N=1, C=2, H=5, W=3), dict(N=1, C=1, H=3, W=6), dict(N=1, C=1, H=1, W=5),
                                     dict(N=1, C=1, H=4, W=2), dict(N=1, C=1, H=6, W=1))
OUTSIDE: dict[str, Any] = dict(N=1, C=1, H=4, W=6)


def world(draw: Draw, *, N: int, C: int, H: int, W: int) -> World:
    V = W // 2 + 1
    return World(x=draw.real("x", N, C, H, W), g=draw.real("g", N, C, H, W), w=draw.real("w", C, H, V, 2), w2=draw.real("w2", C, H, V, 2),
                 size=(H, W))


def filtered(x: Array, w: Array) -> Array:
    """The operator global_filter."""
    return global_filter.forward(x, np.ascontiguousarray(w))[0]


def as_complex(w: Array) -> Array:
    return np.asarray(w[..., 0] + 1j * w[..., 1])


def as_pairs(w: Array) -> Array:
    return np.stack([w.real, w.imag], axis=-1)


def own_mirror(W: int) -> list[int]:
    """S: the columns of the half spectrum that are their own mirror image."""
    return [v for v in range(W // 2 + 1) if v == 0 or 2 * v == W]


def mirrored(column: Array) -> Array:
    """conj w[-u mod H] of a column (…, H)."""
    H = column.shape[-1]
    return column[..., (-np.arange(H)) % H].conj()


def acting(w: Array, W: int) -> Array:
    """w' on the half spectrum, as complex numbers."""
    made = as_complex(w)
    for v in own_mirror(W):
        made[..., v] = (made[..., v] + mirrored(made[..., v])) / 2
    return made


def waves(size: int) -> Array:
    """e^(2πi·u·i/size), with the product taken modulo size, so that no large angle is rounded."""
    n = np.arange(size)
    return np.exp(2j * np.pi * (np.outer(n, n) % size) / size)


def spectrum(w: Array, W: int) -> Array:
    """w' on the whole spectrum, (C, H, W)."""
    half = acting(w, W)
    rest = [mirrored(half[..., W - v]) for v in range(W // 2 + 1, W)]
    return np.stack([*np.moveaxis(half, -1, 0), *rest], axis=-1)


def by_sums(x: Array, full: Array) -> Array:
    """1/(HW)·Σ_uv full[u, v]·X[u, v]·e^(2πi(ui/H + vj/W)), X the sum Σ_ij x[i, j]·e^(-2πi(ui/H + vj/W))."""
    down, across = waves(x.shape[-2]), waves(x.shape[-1])
    X = down.conj() @ x @ across.conj()
    return np.asarray((down @ (full * X) @ across).real / x[0, 0].size)


def kernel(w: Array, size: Pair) -> Array:
    """k as a sum, (C, H, W)."""
    one = np.zeros((1, len(w), *size))
    one[:, :, 0, 0] = 1
    return by_sums(one, spectrum(w, size[1]))[0]


def circular(x: Array, k: Array, *, sign: int = 1) -> Array:
    """Σ_ab k[a, b]·x[i - a, j - b] around the border; with sign -1 x[i + a, j + b]."""
    return np.asarray(sum(k[:, a, b, None, None] * np.roll(x, (sign * a, sign * b), (2, 3)) for a, b in np.ndindex(*k.shape[1:])))


def weights(k: Array) -> Array:
    """Weights whose kernel is k: its transform Σ_ab k[a, b]·e^(-2πi(ua/H + vb/W)), the half with v <= W/2."""
    H, W = k.shape[-2:]
    return as_pairs((waves(H).conj() @ k @ waves(W).conj())[..., : W // 2 + 1])


def placed(small: Array, size: Pair) -> Array:
    """A depthwise kernel (C, 1, kh, kw) as k: tap (p, q) at [r - p, r - q], modulo the map."""
    k = np.zeros((len(small), *size))
    for p, q in np.ndindex(*small.shape[2:]):
        k[:, (small.shape[2] // 2 - p) % size[0], (small.shape[3] // 2 - q) % size[1]] += small[:, 0, p, q]
    return k


def bound(w: World) -> float:
    """4u·(n+1)·M·|x|."""
    (H, W), (r, s), taps = w.size, vars(w).get("r", (0, 0)), vars(w).get("small")
    M = float(max(np.abs(as_complex(a)).max() for a in (w.w, w.w2)) if taps is None else np.abs(taps).sum((2, 3)).max())
    mass = max(float(np.abs(a).sum((2, 3)).max()) for a in (w.x, w.g))
    return 4 * EPS * ((H + r) * (W + s) + 1) * M * mass


def step(text: str, value: Function, reason: str) -> Step:
    return Step(text, value, reason, bound, BOUND)
