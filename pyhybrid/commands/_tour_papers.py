"""The tour's stops at the papers: for each its equation, its proof, a gradient by hand and by numbers, the speed, and a picture."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pyhybrid import backend
from pyhybrid.bench.measure import interleaved
from pyhybrid.check.gradient import analytic, central_difference, complex_step

__all__ = ["STOPS", "Stop", "choosing_block", "visit"]

Array = np.ndarray
Draw = Callable[..., Array]     # draw(*shape): normal numbers
Work = tuple[dict[str, Array], dict[str, Any]]


class Stop(NamedTuple):
    """One paper: `work(draw, N, C, H)` makes arguments for its operator, `picture(photo, path)` draws and says what is to be seen."""

    paper: str
    equation: str
    operator: str
    proofs: tuple[str, ...]
    work: Callable[[Draw, int, int, int], Work]
    picture: Callable[[Array, Path], str]


def visit(stop: Stop, photo: Array, folder: Path, fast: bool) -> bool:
    """Print what the paper claims and whether it holds here."""
    print(f"  {stop.paper}: {stop.equation}")
    return all([_proofs(stop), _gradient(stop), _speed(stop, fast), _picture(stop, photo, folder)])


def _proofs(stop: Stop) -> bool:
    from pyhybrid import proofs

    healthy = True
    for proof in (proof for name in stop.proofs for proof in proofs.find(name)):
        verdict = proofs.check(proof)
        healthy &= verdict.holds
        print(f"    proof     {proof.title}: {'holds' if verdict.holds else 'DOES NOT HOLD'}, {len(proof.steps) - 1} steps, "
              f"{len(proof.counterexamples)} counterexamples fail as they must")
    return healthy


def _gradient(stop: Stop) -> bool:
    """All arguments moved at once in a random direction."""
    operator = importlib.import_module(f"pyhybrid.ops.{stop.operator}")
    rng = np.random.default_rng(4)
    arrays, config = stop.work(lambda *shape: rng.standard_normal(shape), 2, 4, 5)
    y, cache = operator.forward.reference(**arrays, **config)
    dy = rng.standard_normal(y.shape)
    grads = operator.backward.reference(dy, cache)._asdict()
    directions = {name: rng.standard_normal(a.shape) for name, a in arrays.items()}
    by_hand = sum(float((grads[name] * v).sum()) for name, v in directions.items())
    sizes = np.cumsum([a.size for a in arrays.values()])[:-1]

    def along(flat: Array) -> Array:
        parts = zip(arrays.items(), np.split(flat, sizes), strict=True)
        return np.asarray(operator.forward.reference(**{name: part.reshape(a.shape) for (name, a), part in parts}, **config)[0])

    start = np.concatenate([a.reshape(-1) for a in arrays.values()])
    direction = np.concatenate([v.reshape(-1) for v in directions.values()])
    smooth = analytic(along, start, direction)
    numeric = float((dy * (complex_step if smooth else central_difference)(along, start, direction)).sum())
    error = abs(by_hand - numeric) / max(abs(numeric), 1e-300)
    how = "complex step" if smooth else "central difference"
    print(f"    gradient  of {stop.operator}, all {len(arrays)} arguments at once: by hand {by_hand:+.10f}, "
          f"{how} {numeric:+.10f}, relative {error:.0e}")
    return error < (1e-11 if smooth else 1e-5)


def _speed(stop: Stop, fast: bool) -> bool:
    operator = importlib.import_module(f"pyhybrid.ops.{stop.operator}")
    if not backend.available():
        print("    speed     the compiled core is not installed (see `pyhybrid info`)")
        return True
    rng = np.random.default_rng(5)
    N, C, H = (1, 16, 20) if fast else (2, 32, 28)
    arrays, config = stop.work(lambda *shape: rng.standard_normal(shape).astype(np.float32), N, C, H)

    def both(which: str) -> Callable[[], Any]:
        def call() -> Any:
            with backend.use(which):
                y, cache = operator.forward(**arrays, **config)
                operator.backward(dy, cache)
                return y

        return call

    dy = rng.standard_normal(operator.output_shape(**arrays, **config)).astype(np.float32)
    a, b = both("numpy")(), both("rust")()
    gap = float(np.abs(a - b).max() / np.abs(a).max())
    times = interleaved({which: both(which) for which in ("numpy", "rust")}, 0.03 if fast else 0.2)
    print(f"    speed     {N} x {C} x {H} x {H}, forward and backward: NumPy {1e3 * times['numpy'].median:.1f} ms, "
          f"Rust {1e3 * times['rust'].median:.1f} ms; results differ by {gap:.0e}")
    return gap < 1e-4


def _picture(stop: Stop, photo: Array, folder: Path) -> bool:
    path = folder / f"{stop.paper.lower()}.png"
    print(f"    picture   {path}: {stop.picture(photo, path)}")
    return True


# ACmix.


def _acmix_work(draw: Draw, N: int, C: int, H: int) -> Work:
    arrays = {"x": draw(N, C, H, H), "rate1": draw(1), "rate2": draw(1)}
    for name in ("conv1", "conv2", "conv3"):
        arrays |= {f"{name}_weight": draw(C, C, 1, 1) / np.float32(C) ** 0.5, f"{name}_bias": draw(C)}
    arrays |= {"fc_weight": draw(9, 12, 1, 1), "dep_conv_weight": draw(C, 9, 3, 3), "conv_p_weight": draw(C // 4, 2, 1, 1),
               "conv_p_bias": draw(C // 4)}
    return arrays, {"heads": 4}


def choosing_block() -> Any:
    """An ACmix block with larger logits than at the start of a training, so that its attention chooses."""
    from pyhybrid.papers.acmix import ACmix

    layer = ACmix(3, 8, seed=3)
    for name in ("conv1", "conv2"):
        layer.params[f"{name}.weight"] *= 6
    return layer


def _acmix_picture(photo: Array, path: Path) -> str:
    from pyhybrid.ops import acmix, local_attention
    from pyhybrid.pictures import tiles

    _, cache = choosing_block().forward(photo)
    pixel = (int(photo.shape[2] * 0.42), photo.shape[3] // 2)
    a = local_attention.weights(acmix.attention_cache(cache))[0, :, :, pixel[0], pixel[1]].reshape(-1, 7, 7)
    around = photo[0, :, pixel[0] - 3 : pixel[0] + 4, pixel[1] - 3 : pixel[1] + 4]
    windows = {"its 7x7 window": around} | {f"head {n} looks here": weights for n, weights in enumerate(a)}
    marks = {"photograph": pixel} | dict.fromkeys(windows, (3, 3))
    tiles(path, {"photograph": photo[0]} | windows, columns=3, marks=marks, title=f"attention of pixel {pixel}")
    return "where the four heads of one pixel look in its window"


# CoAtNet.


def _coatnet_work(draw: Draw, N: int, C: int, H: int) -> Work:
    heads, d = 2, C // 2
    tokens = {name: draw(N, heads, H * H, d) for name in "qkv"}
    return {**tokens, "table": draw(heads, 2 * H - 1, 2 * H - 1)}, {"size": H}


def _coatnet_picture(photo: Array, path: Path) -> str:
    from pyhybrid.ops import relative_attention
    from pyhybrid.pictures import photograph, tiles

    small = photograph(28)
    H, W = small.shape[2:]
    colours = small - small.mean((2, 3), keepdims=True)
    tokens = (colours / np.linalg.norm(colours, axis=1, keepdims=True)).reshape(1, 3, H * W).swapaxes(1, 2)[:, None]
    down, across = np.ogrid[1 - H : H, 1 - W : W]
    near = np.broadcast_to(-(down**2 + across**2) / 40.0, (1, 2 * H - 1, 2 * W - 1))
    pixel = (int(0.42 * H), W // 2)
    shown = {"photograph": small[0]}
    for title, content, table in (("content alone", 20, 0), ("table alone", 0, 1), ("their sum", 20, 1)):
        _, cache = relative_attention.forward(content * tokens, tokens, tokens, table * near, size=(H, W), scale=1.0)
        shown[title] = relative_attention.weights(cache)[0, 0, pixel[0] * W + pixel[1]].reshape(H, W)
    tiles(path, shown, columns=4, marks=dict.fromkeys(shown, pixel), title="whom one pixel attends to")
    return "one pixel attends to its own colours, to its neighbourhood, and to both"


# DAS.


def _das_work(draw: Draw, N: int, C: int, H: int) -> Work:
    return {"x": draw(N, C, H, H), "offset": draw(N, 18, H, H), "weight": draw(C, C, 3, 3), "mask": draw(N, 9, H, H)}, {"padding": 1}


def _das_picture(photo: Array, path: Path) -> str:
    from pyhybrid.ops import deform_conv2d
    from pyhybrid.pictures import tiles

    _, _, H, W = photo.shape
    down, across = np.mgrid[:H, :W] - np.array([0.42 * H, 0.5 * W])[:, None, None]
    turn = 1.5 * np.exp(-(down**2 + across**2) / (0.25 * H) ** 2)
    dy = down * (np.cos(turn) - 1) - across * np.sin(turn)
    dx = down * np.sin(turn) + across * (np.cos(turn) - 1)
    offset, identity = np.stack([dy, dx])[None], np.eye(3)[:, :, None, None]
    moved, _ = deform_conv2d.forward(photo, offset, identity)
    shown = {"photograph": photo[0], "dy, pixels": dy, "dx, pixels": dx, "a 1x1 kernel reads there": moved[0]}
    tiles(path, shown, columns=4, title="a deformable convolution reads where its offsets say")
    return "a 1x1 deformable convolution whose offsets turn the middle of the photograph"


# SMT.


def _smt_work(draw: Draw, N: int, C: int, H: int) -> Work:
    return {"x": draw(N, C, H, H), "weight": draw(C // 4, 9 + 25 + 49 + 81), "bias": draw(C)}, {"kernel_sizes": (3, 5, 7, 9)}


def _smt_picture(photo: Array, path: Path) -> str:
    from pyhybrid.ops import mixed_conv, modulation
    from pyhybrid.pictures import tiles

    grey, (H, W) = photo.mean(1, keepdims=True), photo.shape[2:]
    sizes = (3, 5, 7, 9)
    means = mixed_conv.pack([np.full((1, 1, k, k), k**-2.0) for k in sizes], sizes)
    heads, _ = mixed_conv.forward(np.repeat(grey, 4, axis=1), means, kernel_sizes=sizes)
    modulator = np.abs(heads[:, :1] - heads[:, 3:]) * 8
    z, _ = modulation.forward(grey.reshape(1, 1, H * W).swapaxes(1, 2), modulator)
    shown = {f"head {t}: {k}x{k}": heads[0, t] for t, k in enumerate(sizes)}
    shown |= {"photograph": photo[0], "value": grey[0, 0], "modulator: where 3x3 and 9x9 differ": modulator[0, 0],
              "value · modulator": z.reshape(H, W)}
    tiles(path, shown, columns=4, title="every head sees at a scale of its own; what they tell together multiplies the value")
    return "four heads at four scales, a modulator made of two of them, and what it leaves of the photograph"


# HorNet.


def _hornet_work(draw: Draw, N: int, C: int, H: int) -> Work:
    order, C0 = 3, C // 4
    matrix = np.float32(C) ** -0.5
    arrays = {"x": draw(N, C, H, H), "proj_in_weight": draw(2 * C, C, 1, 1) * matrix, "dwconv_weight": draw(2 * C - C0, 1, 7, 7) / 7,
              "pws_weight": draw(2 * C0 * C0 + 8 * C0 * C0) * matrix, "proj_out_weight": draw(C, C, 1, 1) * matrix}
    return arrays, {"order": order}


def _hornet_picture(photo: Array, path: Path) -> str:
    from pyhybrid.ops import global_filter
    from pyhybrid.pictures import tiles

    _, _, H, W = photo.shape
    down, across = np.fft.fftfreq(H)[:, None], np.fft.rfftfreq(W)[None]
    radius = np.hypot(down, across)
    few = np.exp(-((radius / 0.06) ** 2))
    moved = np.exp(-2j * np.pi * (H // 4 * down + W // 3 * across))
    shown = {"photograph": photo[0]}
    for title, spectrum in (("slow waves alone", few), ("fast waves alone", 1 - few), ("every wave turned", moved)):
        weight = np.stack([np.broadcast_to(part, (3, H, W // 2 + 1)) for part in (spectrum.real, spectrum.imag)], axis=-1)
        y = global_filter.forward(photo, np.ascontiguousarray(weight))[0][0]
        shown[title] = y if title != "fast waves alone" else y + 0.5
    tiles(path, shown, columns=4, title="a global filter multiplies waves: one product per frequency, a kernel as large as the map")
    return "global filters of the photograph; a shift comes in again on the other side, since waves have no border"


STOPS: tuple[Stop, ...] = (
    Stop("ACmix", "y = α·attention(q, k, v) + β·Σ_pq Shift(f_pq, p-1, q-1), both of the same q, k, v = W x    eqs. (7)-(16)", "acmix",
         ("conv_is_shift_and_sum.odd", "acmix_conv_path_is_one_conv"), _acmix_work, _acmix_picture),
    Stop("CoAtNet", "y_i = Σ_j softmax_j(x_i·x_j + w_(i-j)) x_j    eq. (3)", "relative_attention",
         ("static_relative_attention_is_a_normalised_convolution",), _coatnet_work, _coatnet_picture),
    Stop("DAS", "y = Σ_pq K_pq·m_pq·x(i + p - r + dy_pq, j + q - r + dx_pq), x between pixels by bilinear sampling    eq. (2)",
         "deform_conv2d", ("zero_offsets_give_the_convolution",), _das_work, _das_picture),
    Stop("SMT", "y[tM+i] = DW_k(t) x[tM+i], k(t) = 3, 5, 7, …: channel i of head t sees at the scale of its head    eq. (1)", "mixed_conv",
         ("mixed_convolution_is_one_depthwise_convolution",), _smt_work, _smt_picture),
    Stop("HorNet", "p_(k+1) = f_k(q_k) · g_k(p_k) / α, k = 0 … n-1: a polynomial of degree n + 1 in x    eqs. (3)-(4)", "gn_conv",
         ("gnconv_has_degree_order_plus_one",), _hornet_work, _hornet_picture),
)
