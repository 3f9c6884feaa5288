"""`pyhybrid tour`: the whole idea on a real photograph, in under a minute and a half.

A convolution is shifted and summed pointwise convolutions; attention starts from the same projections; ACmix mixes both; each paper shows
an equation, its proof, its gradient, its speed and a picture; every gradient is checked; NumPy and Rust are compared; a broken shift is
caught.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid import backend
from pyhybrid.bench.measure import interleaved
from pyhybrid.check.gradient import central_difference, complex_step
from pyhybrid.commands import console
from pyhybrid.commands._options import make_folder

HELP = "the main ideas on a real photograph, in a minute"
Array = np.ndarray


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fast", action="store_true", help="smaller arrays and fewer repetitions")
    parser.add_argument("--out", type=Path, default=Path("tour-pictures"), help="folder for the pictures (default: tour-pictures)")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.pictures import photograph

    start = time.perf_counter()
    photo = photograph(64 if options.fast else 128)     # before the folder: without matplotlib nothing is left behind
    make_folder(options.out)
    print(f"The photograph: {photo.shape[2]} x {photo.shape[3]} pixels, values k/255. Backend: {backend.active()}.")
    healthy = [
        convolution_is_shift_and_sum(photo, options.fast),
        attention_on_the_same_projections(photo),
        papers(photo, options.out, options.fast),
        gradients(options.fast),
        whole_networks(photo),
        backends(options.fast),
        break_a_shift(),
        pictures(photo, options.out),
    ]
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Three ways on:")
    print("  pyhybrid step local_attention --html attention.html    every line of forward and backward, with its values")
    print("  pyhybrid prove                                         the identities above, proven step by step")
    print("  pyhybrid lab                                           the tutorials, in JupyterLab")
    return 0 if all(healthy) else 1


def convolution_is_shift_and_sum(photo: Array, fast: bool) -> bool:
    """On fractions both sides are equal; in floating point they differ by rounding, within a bound."""
    from pyhybrid.ops import conv2d, shift_sum, tap_projection

    console.step(1, 8, "A 3x3 convolution is nine pointwise convolutions, shifted and summed")
    side = 12 if fast else 20
    rng = np.random.default_rng(0)
    numerators = rng.integers(-9, 10, (4, 3, 3, 3))

    def exact(values: Array, denominator: int) -> Array:
        return np.array([Fraction(int(v), denominator) for v in values.flat], object).reshape(values.shape)

    x, weight = exact(np.rint(photo[..., :side, :side] * 255), 255), exact(numerators, 10)
    maps, _ = tap_projection.forward(x, weight)
    two_stages, _ = shift_sum.forward(maps, kernel_size=3)
    at_once, _ = conv2d.forward(x, weight, padding=1)
    equal = bool((two_stages == at_once).all())
    print(f"  fractions ({side} x {side} corner): {at_once.size} outputs, all equal: {equal};"
          f" e.g. y[0, 0, 1, 1] = {two_stages[0, 0, 1, 1]} = {at_once[0, 0, 1, 1]}")

    weight64 = numerators / 10
    maps, _ = tap_projection.forward(photo, weight64)
    two_stages, _ = shift_sum.forward(maps, kernel_size=3)
    # The sum of the definition in one go, all 27 products of a pixel in the order (c, p, q).
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(photo, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
    in_one_go = np.tensordot(weight64, windows, axes=([1, 2, 3], [1, 4, 5])).swapaxes(0, 1)
    gap, size = np.abs(two_stages - in_one_go).max(), np.abs(in_one_go).max()
    bound = 27 * np.finfo(float).eps * np.tensordot(np.abs(weight64), windows, axes=([1, 2, 3], [1, 4, 5])).max()
    print(f"  float64 (whole photograph): largest difference {gap:.1e} of values up to {size:.1f};"
          f" {np.mean(two_stages == in_one_go):.0%} of the outputs agree to the last bit")
    print(f"  why not all: the two sides add the same 27 products in another order, and each addition rounds; the bound is {bound:.1e}")
    return equal and bool(gap <= bound)


def attention_on_the_same_projections(photo: Array) -> bool:
    """Attention from the three projections, and the mixture of ACmix, each as its definition says."""
    from pyhybrid.ops import acmix, local_attention
    from pyhybrid.papers.acmix import ACmix

    console.step(2, 8, "The same projections feed local self-attention; ACmix mixes both")
    layer = ACmix(3, 8, seed=0)
    y, cache = layer.forward(photo)
    a = local_attention.weights(acmix.attention_cache(cache))
    rows = np.abs(a.sum(2) - 1).max()
    mixed = np.abs(y - (cache.rate1 * cache.att + cache.rate2 * cache.conv)).max()
    C = 8
    print(f"  q, k, v = three 1x1 convolutions of the photograph, {cache.q.shape[1]} channels, {layer.head} heads;"
          f" each pixel looks at {a.shape[2]} pixels")
    print(f"  attention weights sum to 1 within {rows:.1e};"
          f" y = {cache.rate1[0]}·attention + {cache.rate2[0]}·convolution within {mixed:.1e}")
    print(f"  multiply-adds per pixel: projections 3·C·C' = {3 * C * 3}, attention 2·49·C = {98 * C},"
          f" convolution path (27 + 81)·C = {108 * C}")
    return bool(rows < 1e-12 and mixed < 1e-12)


def papers(photo: Array, folder: Path, fast: bool) -> bool:
    """Every paper holds what its stop claims."""
    from pyhybrid.commands._tour_papers import STOPS, visit

    console.step(3, 8, "The papers: an equation, its proof, its gradient, its speed and a picture of each")
    return all([visit(stop, photo, folder, fast) for stop in STOPS])


def gradients(fast: bool) -> bool:
    """The gradients of the ACmix block by hand, by complex step and by central difference."""
    from pyhybrid.ops import acmix
    from pyhybrid.papers.acmix import ACmix

    console.step(4, 8, "Every hand-derived gradient against the numerical one")
    rng = np.random.default_rng(1)
    layer = ACmix(3, 8, head=2, seed=rng)
    x = rng.standard_normal((2, 3, 6, 5) if fast else (2, 3, 9, 8))
    y, cache = layer.forward(x)
    dy = rng.standard_normal(y.shape)
    hand = acmix.backward(dy, cache)
    names = [name for name in acmix.Grads._fields if getattr(hand, name) is not None]
    arguments = {name: getattr(cache, name) for name in acmix.Grads._fields}
    config = {"heads": cache.heads, "kernel_size": cache.kernel_size}
    rows, healthy, scale = [], True, max(float(np.abs(getattr(hand, name)).max()) for name in names)
    for name in names:
        direction = rng.standard_normal(arguments[name].shape)

        def along(value: Array, name: str = name) -> Array:
            return acmix.forward.reference(**{**arguments, name: value}, **config)[0]

        analytic = float((getattr(hand, name) * direction).sum())
        stepped = float((dy * complex_step(along, arguments[name], direction)).sum())
        differed = float((dy * central_difference(along, arguments[name], direction)).sum())
        # conv_p_bias shifts every logit of a window alike: its gradient is 0, and rounding is judged against the largest gradient.
        relative = abs(analytic - stepped) / max(abs(stepped), 1e-3 * scale)
        healthy &= relative < 1e-10
        rows.append((name, str(arguments[name].shape), f"{analytic:+.12f}", f"{stepped:+.12f}", f"{differed:+.9f}", f"{relative:.1e}"))
    print(console.table(("argument", "shape", "by hand", "complex step", "central difference", "rel. error"), rows))
    print("  each number is <dy, J v> for one random direction v of that argument; complex step is exact to rounding")
    return healthy


def whole_networks(photo: Array) -> bool:
    """What networks cost, and a gradient through all of one."""
    from pyhybrid.commands._tour_networks import networks

    console.step(5, 8, "From blocks to networks: counted, and differentiated by hand")
    return networks(photo)


def backends(fast: bool) -> bool:
    """Errors and times of both backends on the same work."""
    from pyhybrid.ops import acmix, conv2d, conv_path, local_attention, pointwise_conv, shift_sum

    console.step(6, 8, "NumPy against Rust: the same numbers, another speed")
    if not backend.available():
        print("  the compiled core is not installed: only the NumPy bodies run here (see `pyhybrid info`)")
        return True
    N, C, H = (1, 16, 20) if fast else (2, 32, 28)
    rng = np.random.default_rng(2)

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    qkv = (draw(N, C, H, H), draw(N, C, H, H), draw(N, C, H, H))
    path = (draw(9, 12, 1, 1), draw(C, 9, 3, 3))
    square, column = (C, C, 1, 1), (C,)
    block = (draw(N, C, H, H), draw(1), draw(1), draw(*square), draw(*column), draw(*square), draw(*column), draw(*square), draw(*column),
             *path, draw(C // 4, 2, 1, 1), draw(C // 4))
    works: dict[str, tuple[Any, tuple[Array, ...], dict[str, Any]]] = {
        "conv2d 3x3": (conv2d, (qkv[0], draw(C, C, 3, 3)), {"padding": 1}),
        "conv2d 7x7 depthwise": (conv2d, (qkv[0], draw(C, 1, 7, 7)), {"padding": 3, "groups": C}),
        "pointwise_conv": (pointwise_conv, (qkv[0], draw(*square)), {}),
        "shift_sum 3x3": (shift_sum, (draw(N, 9, C, H, H),), {"kernel_size": 3}),
        "local_attention 7x7": (local_attention, qkv, {"heads": 4}),
        "conv_path": (conv_path, (*qkv, *path), {"heads": 4}),
        "acmix": (acmix, block, {"heads": 4}),
    }
    rows, healthy = [], True
    for name, (operator, arrays, config) in works.items():
        dy = draw(*operator.output_shape(*arrays, **config))

        def both(which: str, operator: Any = operator, arrays: Any = arrays, config: Any = config, dy: Array = dy) -> Callable[[], Any]:
            def call() -> Any:
                with backend.use(which):
                    y, cache = operator.forward(*arrays, **config)
                    return y, *operator.backward(dy, cache)

            return call

        with backend.use("numpy"):
            wide = operator.forward(*(a.astype(np.float64) for a in arrays), **config)[0]
        results = {which: both(which)()[0] for which in ("numpy", "rust")}
        errors = {which: np.abs(y - wide).max() / np.abs(wide).max() for which, y in results.items()}
        times = interleaved({which: both(which) for which in ("numpy", "rust")}, 0.05 if fast else 0.3)
        healthy &= bool(errors["rust"] <= 2 * errors["numpy"] + 1e-6)
        rows.append((name, f"{errors['numpy']:.1e}", f"{errors['rust']:.1e}", f"{1e3 * times['numpy'].median:.2f}",
                     f"{1e3 * times['rust'].median:.2f}", f"{times['numpy'].median / times['rust'].median:.0f}x"))
    print(console.table(("operator", "NumPy error", "Rust error", "NumPy ms", "Rust ms", "faster"), rows))
    print(f"  float32, {N} x {C} x {H} x {H}, forward and backward, {backend.core().get_threads()} threads;"
          " errors are those of the output, relative, against float64")
    return healthy


def break_a_shift() -> bool:
    """A wrong operator differs from the right one, and on a small input."""
    from pyhybrid.ops import conv2d, shift_sum, tap_projection

    console.step(7, 8, "Break it: leave out one shift, and find the smallest counterexample")

    def broken(x: Array, weight: Array) -> Array:
        maps, _ = tap_projection.forward(x, weight)
        unshifted, left_out = maps[:, :1], maps.copy()
        left_out[:, 0] = 0
        return shift_sum.forward(left_out, kernel_size=3)[0] + unshifted[:, 0]      # tap (0, 0) is added where it stands

    for tried, (x, weight) in enumerate(small_inputs(), 1):
        right, wrong = conv2d.forward(x, weight, padding=1)[0], broken(x, weight)
        if (right != wrong).any():
            place = tuple(int(i) for i in np.argwhere(right != wrong)[0])
            print(f"  found after {tried} inputs, smallest first: a map of {x.shape[2]} x {x.shape[3]} with x = {x[0, 0].tolist()}")
            print(f"  and the kernel {weight[0, 0].tolist()}: at {place} the convolution is {right[place]:g},"
                  f" without the shift {wrong[place]:g}")
            print("  tap (0, 0) reads the pixel above and to the left, which is outside: the shift would have brought in a zero")
            return True
    print("  no counterexample found: the broken version was not caught")
    return False


def small_inputs() -> Iterator[tuple[Array, Array]]:
    """Every 0/1 map and one-hot kernel, maps by growing area and number of ones: the first that fails is a smallest one."""
    for H, W in sorted(itertools.product((1, 2), repeat=2), key=lambda size: (size[0] * size[1], size)):
        for bits in sorted(itertools.product((0.0, 1.0), repeat=H * W), key=sum):
            for m in range(9):
                yield np.array(bits).reshape(1, 1, H, W), np.eye(9)[m].reshape(1, 1, 3, 3)


def pictures(photo: Array, folder: Path) -> bool:
    """Draws what the stops before it have computed."""
    from pyhybrid.commands._tour_papers import choosing_block
    from pyhybrid.ops import shift, tap_projection
    from pyhybrid.pictures import tiles

    console.step(8, 8, "Pictures")
    H, W = photo.shape[2:]
    grey = photo.mean(1, keepdims=True) - photo.mean()
    edge = np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])[None, None]
    maps, _ = tap_projection.forward(grey, edge)
    places = list(itertools.product((-1, 0, 1), repeat=2))
    shifted = {f"{s:+d}, {t:+d}": shift.forward(photo, offset=(s * H // 6, t * W // 6))[0][0] for s, t in places}
    tiles(folder / "shifts.png", shifted, title="Shift(x, s, t), s and t in sixths of the map: zeros move in")
    stages = {f"tap {m // 3}, {m % 3}": shift.forward(maps[:, m], offset=places[m])[0][0, 0] for m in range(9)}
    stages["their sum: edges"] = sum(stages.values())
    tiles(folder / "stages.png", stages, columns=5, title="nine pointwise maps of an edge filter, shifted, and their sum")

    _, cache = choosing_block().forward(photo)
    channels = range(0, 8, 2)
    paths = {f"attention {c}": cache.att[0, c] for c in channels} | {f"convolution {c}": cache.conv[0, c] for c in channels}
    tiles(folder / "feature_maps.png", paths, columns=4, title="the two paths of ACmix on the same projections")

    for name in ("shifts", "stages", "feature_maps"):
        print(f"  {folder / name}.png")
    return True
