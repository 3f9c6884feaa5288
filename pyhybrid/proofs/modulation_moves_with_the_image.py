"""When the modulation of a moved image is the moved modulation: in the interior, and on a torus; at the border and in training it is not.

Bound. Let u = 2^-52, and let P be the result with every factor replaced by its absolute value, GELU by 1.2 times it: |GELU(z)| <= |z|
and its slope is below 1.2. Both sides of a step are sums of the same products, in some order: (k² + N + E + C + 24)·u·P is allowed on
each. In training the norm divides by the deviation of the batch, and what is off by δ comes out off by (2 + 2·max|x̂|)·δ over it.
"""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import mixed_conv, modulation, pointwise_conv, regroup, scale_aware_aggregation
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Pair
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step
from pyhybrid.proofs._relative import moved as turned

SOURCE = "SMT, arXiv 2307.08579, eqs. (1)-(6), as the official code"
BOUND = "2·(k² + N + E + C + 24)·u·P, P: all factors positive"


def weights(draw: Draw, M: int, sizes: tuple[int, ...]) -> World:
    C, E = M * len(sizes), 2 * M * len(sizes)
    return World(V=draw.real("V", C, C, 1, 1), K=draw.real("K", M, sum(k * k for k in sizes)), c=draw.real("c", C), sizes=sizes,
                 R=max(sizes) // 2, W0=draw.real("W0", E, len(sizes), 1, 1), b0=draw.real("b0", E), gamma=draw.real("γ", E),
                 beta=draw.real("β", E), W1=draw.real("W1", C, E, 1, 1), b1=draw.real("b1", C), mean=draw.real("m", E),
                 var=0.5 + np.abs(draw.real("var", E)), C=C)


def world(draw: Draw, *, N: int, M: int, sizes: tuple[int, ...], H: int, W: int, offset: Pair) -> World:
    """Two maps cut out of one scene: x from `offset` on, moved from its corner: moved shows at (i, j) + offset what x shows at (i, j)."""
    (s, t), w = offset, weights(draw, M, sizes)
    w.scene = draw.real("x", N, w.C, H + s, W + t)
    w.x, w.moved = (np.ascontiguousarray(a) for a in (w.scene[..., s:, t:], w.scene[..., :H, :W]))
    w.offset, w.H, w.W = offset, H, W
    return w


def branch(w: World, x: Array, training: bool = False) -> Array:
    """SAA(MHMC(x))."""
    mixed = mixed_conv.forward(x, w.K, w.c, kernel_sizes=w.sizes)[0]
    return aggregated(w, mixed, training)


def aggregated(w: World, mixed: Array, training: bool = False) -> Array:
    running = () if training else (w.mean, w.var)
    return scale_aware_aggregation.forward(np.ascontiguousarray(mixed), w.W0, w.b0, w.gamma, w.beta, w.W1, w.b1, *running)[0]


def times_value(w: World, x: Array, modulator: Array) -> Array:
    """modulation(V·x, modulator), as a map."""
    z = modulation.forward(np.ascontiguousarray(modulation.tokens(pointwise_conv.forward(x, w.V)[0])), np.ascontiguousarray(modulator))[0]
    return z.swapaxes(1, 2).reshape(x.shape)


def f(w: World, x: Array, training: bool = False) -> Array:
    return times_value(w, x, branch(w, x, training))


def common(w: World, y: Array, at: Pair, margin: int) -> Array:
    """The part that both maps show, without `margin` rows and columns on every side; `at` is where it begins in y."""
    (s, t), (h, v) = at, (w.H - w.offset[0], w.W - w.offset[1])
    return y[..., s + margin : s + h - margin, t + margin : t + v - margin]


def of_moved(w: World, *, margin: int | None = None, training: bool = False) -> Array:
    return common(w, f(w, w.moved, training), w.offset, w.R if margin is None else margin)


def of_x(w: World, *, margin: int | None = None, training: bool = False) -> Array:
    return common(w, f(w, w.x, training), (0, 0), w.R if margin is None else margin)


def of_scene(w: World) -> Array:
    return common(w, f(w, w.scene), w.offset, w.R)


def bound(w: World) -> float:
    x, heads, training = np.abs(getattr(w, "scene", w.x)), w.W0.shape[1], getattr(w, "training", False)
    absolute = World(K=np.abs(w.K), c=np.abs(w.c), sizes=w.sizes, R=w.R)
    mixed = on_torus_mixed(absolute, x).max((0, 2, 3))                                                   # no less than with zeros
    e = np.abs(w.W0[:, :, 0, 0]) * np.repeat(mixed.reshape(heads, -1).T, 2 * heads, axis=0)              # every group makes 2·heads maps
    e = e.sum(1) + np.abs(w.b0)
    mean, scale = np.abs(w.mean), np.abs(w.gamma) / np.sqrt(w.var + 1e-5)
    if training:
        grouped, _ = regroup.forward(on_torus_mixed(w, w.x), heads=heads)
        of_batch = scale_aware_aggregation.expanded(grouped, w.W0, w.b0)
        apart = np.abs(of_batch - of_batch.mean((0, 2, 3), keepdims=True))
        deviation = of_batch.std((0, 2, 3))
        mean, scale = e, np.abs(w.gamma) / deviation * (2 + 2 * apart.max((0, 2, 3)) / deviation)
    P = np.abs(w.W1[:, :, 0, 0]) @ (1.2 * (scale * (e + mean) + np.abs(w.beta))) + np.abs(w.b1)
    v = pointwise_conv.forward(x, np.abs(w.V))[0].max((0, 2, 3))
    return float(2 * (max(w.sizes) ** 2 + heads + len(w.W0) + w.C + 24) * EPS * (P * v).max())


OUTSIDE = dict(N=1, M=1, sizes=(1, 3), H=5, W=6, offset=(1, 2))
INTERIOR = Proof(
    name="modulation_moves_with_the_image",
    title="In the interior, modulation of a moved image is the moved modulation",
    statement="f(x')[i+s, j+t] = f(x)[i, j] if x'[i+s, j+t] = x[i, j], at every pixel whose window of radius R lies in both maps; "
              "f(x) = modulation(V·x, SAA(MHMC(x))), R = ⌊k/2⌋, k the largest kernel size",
    hypotheses=("batch norm has running statistics", "the window of radius R lies in what both maps show"),
    domain="any sizes, any shift; the pixels that are left out are R rows and columns on every side",
    source=SOURCE,
    world=world,
    sizes=(dict(N=1, M=2, sizes=(3, 5), H=7, W=8, offset=(1, 2)), dict(N=2, M=1, sizes=(1, 3), H=4, W=5, offset=(0, 1))),
    small=(),
    steps=(
        Step("f(x')[i+s, j+t], the window in both maps", of_moved),
        Step("f(scene)[i+s, j+t]", of_scene,
             "mixed_conv (F2) reads the window of radius R, and SAA and modulation this pixel alone: x' is the scene there", bound, BOUND),
        Step("f(x)[i, j], the window in both maps", of_x, "x is the scene from (s, t) on: the same window", bound, BOUND)),
    counterexamples=(
        Counterexample("up to the border: a zero is read where the other map shows the scene", world, OUTSIDE,
                       Step("f(x')[i+s, j+t]", lambda w: of_moved(w, margin=0)),
                       Step("f(x)[i, j]", lambda w: of_x(w, margin=0)), bound=bound,
                       agrees=(("the interior", of_moved, of_x),)),
        Counterexample("training mode, in the interior: the statistics are those of all pixels of a map", world, OUTSIDE,
                       Step("f(x')[i+s, j+t], batch statistics", lambda w: of_moved(w, training=True)),
                       Step("f(x)[i, j], batch statistics", lambda w: of_x(w, training=True)), bound=bound,
                       agrees=(("evaluation mode", of_moved, of_x),)),
    ),
)


def torus_world(draw: Draw, *, N: int, M: int, sizes: tuple[int, ...], H: int, W: int, offset: Pair, training: bool = False) -> World:
    """`island` is 0 but for a middle that stays clear of the border by R pixels when it is rolled."""
    w = weights(draw, M, sizes)
    w.x, w.offset, w.training = draw.real("x", N, w.C, H, W), offset, training
    rows, columns = (w.R + abs(s) for s in offset)
    w.island = np.zeros_like(w.x)
    w.island[..., rows : H - rows, columns : W - columns] = w.x[..., rows : H - rows, columns : W - columns]
    return w


def rolled(x: Array, w: World) -> Array:
    return turned(x, w.offset)


def on_torus_mixed(w: World, x: Array) -> Array:
    """MHMC, the map continued around its border."""
    H, W = x.shape[2:]
    around = np.pad(x, [(0, 0), (0, 0), (w.R, w.R), (w.R, w.R)], mode="wrap")
    return np.ascontiguousarray(mixed_conv.forward(around, w.K, w.c, kernel_sizes=w.sizes)[0][..., w.R : w.R + H, w.R : w.R + W])


def on_torus(w: World, x: Array) -> Array:
    return times_value(w, x, aggregated(w, on_torus_mixed(w, x), w.training))


def spelled(w: World) -> Array:
    """f of the rolled map by index: the mixed map at (i, j) reads x at (i + a - s, j + b - t), modulo the size of the map."""
    (H, W), M, column = w.x.shape[2:], w.C // len(w.sizes), 0
    mixed = np.zeros_like(w.x) + w.c[:, None, None]
    for t, k in enumerate(w.sizes):
        head = slice(t * M, (t + 1) * M)
        for a, b in np.ndindex(k, k):
            i, j = ((np.arange(n) + a - k // 2 - s) % n for n, a, s in zip((H, W), (a, b), w.offset, strict=True))
            mixed[:, head] += w.K[:, column, None, None] * w.x[:, head][:, :, i[:, None], j]
            column += 1
    return times_value(w, rolled(w.x, w), aggregated(w, mixed, w.training))


TORUS_OUTSIDE = dict(N=1, M=1, sizes=(1, 3), H=6, W=7, offset=(1, 2))
TORUS = Proof(
    name="modulation_moves_with_the_image.torus",
    title="On a torus, modulation commutes with every circular shift, in training too",
    statement="f(roll(x)) = roll(f(x)), f(x) = modulation(V·x, SAA(MHMC(x))), the map continued around its border",
    hypotheses=("MHMC reads around the border", "in training mode the statistics are those of the map itself"),
    domain="any sizes, any shift, both modes",
    source=SOURCE,
    world=torus_world,
    sizes=(dict(N=1, M=2, sizes=(3, 5), H=4, W=5, offset=(1, 2)), dict(N=2, M=1, sizes=(1, 3), H=3, W=2, offset=(-1, 1)),
           dict(N=2, M=1, sizes=(1, 3), H=4, W=4, offset=(1, -2), training=True)),
    small=(),
    steps=(
        Step("f(roll(x))", lambda w: on_torus(w, rolled(w.x, w))),
        Step("modulation(V·roll(x), SAA(Σ_ab K_t[a, b]·x[i+a-r_t-s, j+b-r_t-t modulo (H, W)]))", spelled,
             "roll (F1), mixed_conv (F2) around the border", bound, BOUND),
        Step("roll(f(x))", lambda w: rolled(on_torus(w, w.x), w),
             "at the pixel (i-s, j-t); SAA acts at each pixel alone, and a mean over all pixels does not see their order", bound,
             BOUND)),
    counterexamples=(
        Counterexample("zeros around the map, as in the official code", torus_world, TORUS_OUTSIDE,
                       Step("f(roll(x))", lambda w: f(w, rolled(w.x, w))), Step("roll(f(x))", lambda w: rolled(f(w, w.x), w)), bound=bound,
                       agrees=(("an image with R + |shift| rows and columns of zeros on every side", lambda w: f(w, rolled(w.island, w)),
                                lambda w: rolled(f(w, w.island), w)),)),
    ),
)

PROOFS = (INTERIOR, TORUS)
