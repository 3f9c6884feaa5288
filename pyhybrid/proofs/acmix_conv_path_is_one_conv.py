"""The convolution path of ACmix, from x to its output, is one ordinary convolution of [x; 1]."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import conv_path
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, Shift, Sum, heads_of, interior, on_grid, taps, times, with_ones
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, *, N: int, inputs: int, heads: int, d: int, H: int, W: int, k: int, stride: Pair = (1, 1)) -> World:
    C = heads * d
    weights = [draw(f"W{t}", C, inputs, 1, 1) for t in "qkv"]
    biases = [draw(f"b{t}", C) for t in "qkv"]
    return World(x=draw("x", N, inputs, H, W), weights=weights, biases=biases, fc=draw("fc", k * k, 3 * heads, 1, 1),
                 fc_bias=draw("fc_b", k * k), D=draw("D", C, k * k, k, k), D_bias=draw("D_b", C), heads=heads, d=d, k=k, r=k // 2,
                 stride=stride)


def projections(w: World) -> list[Array]:
    return [Conv(w.x, weight, bias) for weight, bias in zip(w.weights, w.biases, strict=True)]


def path(w: World, q: Array, k: Array, v: Array, *, order: str = "official") -> Array:
    return conv_path.forward(q, k, v, w.fc, w.D, w.fc_bias, w.D_bias, heads=w.heads, stride=w.stride, channel_order=order)[0]


def dep_conv(w: World, F: Array) -> Array:
    """The grouped convolution of F (N, d, k², H, W), channel e·k² + m."""
    N, d, taps_, H, W = F.shape
    return Conv(F.reshape(N, d * taps_, H, W), w.D, w.D_bias, padding=w.r, stride=w.stride, groups=d)


def fc_of_projections(w: World) -> Array:
    """F[e, m] = Σ_t fc[m, t]·P[t, e] + fc_bias[m]."""
    P = np.concatenate([heads_of(x, w.heads) for x in projections(w)], axis=1)                # (N, 3·heads, d, H, W)
    return np.einsum("mt,ntehw->nemhw", w.fc[:, :, 0, 0], P) + w.fc_bias[:, None, None]


def A(w: World) -> Array:
    """A[e, m] = Σ_t fc[m, t]·[W_te b_te] + [0 fc_bias[m]], (d, k², C'+1): projections and fc as one matrix on [x; 1]."""
    rows = [np.concatenate([weight[:, :, 0, 0], bias[:, None]], axis=1) for weight, bias in zip(w.weights, w.biases, strict=True)]
    W_te = np.concatenate(rows).reshape(3 * w.heads, w.d, -1)
    on_x, on_one = np.split(np.einsum("mt,tec->emc", w.fc[:, :, 0, 0], W_te), [-1], axis=2)
    return np.concatenate([on_x, on_one + w.fc_bias[:, None]], axis=2)


def K_eff(w: World) -> Array:
    """K_eff[e·heads + n, :, u, v] = Σ_m D[e·heads + n, m, u, v]·A[e, m], (C, C'+1, k, k)."""
    D = w.D.reshape(w.d, w.heads, *w.D.shape[1:])
    K = np.einsum("enmuv,emc->encuv", D, A(w))
    return K.reshape(len(w.D), *K.shape[2:])


def without_constant(w: World) -> Array:
    """The same kernel without its constant channel, whose weights become an ordinary bias."""
    K = K_eff(w)
    return Conv(w.x, np.ascontiguousarray(K[:, :-1]), K[:, -1].sum((1, 2)) + w.D_bias, padding=w.r, stride=w.stride)


def one_conv(w: World) -> Array:
    return Conv(with_ones(w.x), K_eff(w), w.D_bias, padding=w.r, stride=w.stride)


OPERATORS = Step("conv_path(conv1(x), conv2(x), conv3(x); fc, D)", lambda w: path(w, *projections(w)))
ONE_CONV = Step("conv2d([x; 1], K_eff, bias of D, padding = r, stride = s)", one_conv,
                "a convolution is shift and sum (conv_is_shift_and_sum)")

PROOF = Proof(
    name="acmix_conv_path_is_one_conv",
    title="The convolution path of ACmix is one ordinary convolution",
    statement="conv_path(conv1(x), conv2(x), conv3(x)) = conv2d([x; 1], K_eff, padding = r, stride = s), "
              "K_eff[e·heads+n, :, u, v] = Σ_m D[e·heads+n, m, u, v] (Σ_t fc[m, t] [W_te b_te] + [0 fc_bias[m]])",
    hypotheses=("the constant channel 1 ends where x ends (zero padding)", "q enters unscaled",
                "output channels in the official order e·heads + n"),
    domain="any weights and biases, any C', heads, d, H, W >= 1, any odd k, any stride",
    source="ACmix, arXiv 2111.14556, figures 2c and 3c, eqs. (17)-(18); official code",
    world=world,
    sizes=(dict(N=2, inputs=3, heads=2, d=2, H=4, W=5, k=3), dict(N=1, inputs=2, heads=1, d=3, H=5, W=3, k=3, stride=(2, 3)),
           dict(N=1, inputs=2, heads=3, d=1, H=2, W=2, k=3, stride=(1, 2)), dict(N=1, inputs=1, heads=2, d=1, H=2, W=3, k=5)),
    small=(dict(N=1, inputs=1, heads=1, d=1, H=2, W=2, k=3), dict(N=1, inputs=2, heads=2, d=2, H=1, W=2, k=1)),
    degree=4,
    steps=(
        OPERATORS,
        Step("dep_conv(F), F[e, m] = Σ_t fc[m, t]·P[t, e] + fc_bias[m]", lambda w: dep_conv(w, fc_of_projections(w)),
             "conv_path (F1)-(F3); P[t, e] is channel e of head t of q, then k, then v"),
        Step("dep_conv(F), F[e, m] = A[e, m] [x; 1]", lambda w: dep_conv(w, np.einsum("emc,nchw->nemhw", A(w), with_ones(w.x))),
             "P[t, e] = [W_te b_te] [x; 1]; exchange the sum over t with the sum over the channels of x"),
        Step("Σ_uv K_eff[:, :, u, v] Shift([x; 1], u-r, v-r)[s·i, s·j] + bias of D", lambda w: on_grid(Sum(
            times(K_eff(w), Shift(with_ones(w.x), u - w.r, v - w.r), u, v) for _, u, v in taps((w.k, w.k))), w.stride)
             + w.D_bias[:, None, None],
             "dep_conv is shift and sum; A acts on pixels alone, so it commutes with the shifts; exchange Σ_m and Σ_c"),
        ONE_CONV),
    counterexamples=(
        Counterexample("no constant channel, the biases as one ordinary bias: the border differs", world,
                       dict(N=1, inputs=2, heads=2, d=1, H=4, W=4, k=3), OPERATORS,
                       Step("conv2d(x, K_eff without its last channel, summed bias)", without_constant),
                       agrees=(("the interior, where no tap leaves the map",
                                lambda w: interior(path(w, *projections(w)), (w.r, w.r)),
                                lambda w: interior(without_constant(w), (w.r, w.r))),)),
        Counterexample("q scaled before both paths share it (d = 4: q/2)", world, dict(N=1, inputs=2, heads=1, d=4, H=3, W=3, k=3),
                       Step("conv_path(q/√d, k, v)", lambda w: path(w, projections(w)[0] / 2, *projections(w)[1:])), ONE_CONV),
        Counterexample("output channels in head-major order n·d + e", world, dict(N=1, inputs=2, heads=2, d=2, H=3, W=3, k=3),
                       Step("conv_path(…, head_major)", lambda w: path(w, *projections(w), order="head_major")), ONE_CONV,
                       agrees=(("the channels in common, first and last", lambda w: path(w, *projections(w))[:, [0, -1]],
                                lambda w: path(w, *projections(w), order="head_major")[:, [0, -1]]),)),
    ),
)

PROOFS = (PROOF,)
