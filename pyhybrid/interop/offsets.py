"""Whose offsets are these? How libraries order the channels of a deformable convolution's offsets, and what else they do differently.

`CONVENTIONS` is the table, `convert` takes offsets and masks from one order to another, `channels` lists an order. The orders that
libraries read are permutations of one another, so converting there and back gives the same bits. `to_grid` and `from_grid` are the way to
and from the normalised positions of grid sampling, up to rounding.

N images, Go offset groups, K = kh·kw taps (p, q), Ho x Wo outputs; dy is vertical and dx horizontal, in pixels of the map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.errors import describe
from pyhybrid.ops._sizes import integer, pair

__all__ = ["CONVENTIONS", "Convention", "channels", "convert", "find", "from_grid", "to_grid"]

Array = np.ndarray
Pair = tuple[int, int]
CANONICAL = "ngpqcij"  # image, offset group, tap row, tap column, component, output row, output column


class Convention(NamedTuple):
    """One row of the table. `axes` are the axes of the offset array, written with the letters of CANONICAL, those that are joined in
    one word; `components` is the order of c; `packed` means that the masks stand behind the offsets in the same array.
    `axes` is empty where there are no offsets to convert. `evidence` says how each row is known."""

    name: str
    what: str
    axes: str
    components: str
    packed: bool
    order: str
    mask: str
    positions: str
    border: str
    slopes: str
    weight: str
    evidence: str


PER_TAP = "n gpqc i j"
BLENDED = "zeros continue the map, and are blended with it within one pixel around it"
ORDINARY = "(O, C/groups, kh, kw)"
IN_PIXELS = "i·stride - padding + p·dilation + dy, in pixels of the map; the offset is not scaled"
CONVENTIONS = (
    Convention(
        "pyhybrid", "pyhybrid.ops.deform_conv2d", PER_TAP, "yx", False,
        "(N, 2·Go·K, Ho, Wo): group by group, tap by tap in rows, dy then dx", "(N, Go·K, Ho, Wo), used as it is; None stands for 1",
        IN_PIXELS, BLENDED, "to the right at whole positions; kink=\"zero_outside\": 0 where a position is <= -1", ORDINARY,
        "the definition: pyhybrid/ops/deform_conv2d.py"),
    Convention(
        "torchvision", "torchvision.ops.deform_conv2d", PER_TAP, "yx", False,
        "as pyhybrid; the documentation gives the number of channels, not their order",
        "as pyhybrid; the caller applies the sigmoid", IN_PIXELS, BLENDED, "to the right at whole positions, also at -1",
        ORDINARY + "; groups and offset groups follow from the shapes", "code read; values and gradients measured, 0.14.1, CPU"),
    Convention(
        "mmcv", "mmcv.ops.deform_conv2d, modulated_deform_conv2d", PER_TAP, "yx", False, "as pyhybrid",
        "as pyhybrid; the Pack layers compute it: the sigmoid of the last third of conv_offset, which starts at 0", IN_PIXELS, BLENDED,
        "to the right; those of offset and mask are 0 where a position is <= -1: kink=\"zero_outside\"",
        ORDINARY + "; version 1 has no bias", "code read; its sampling and slope functions measured"),
    Convention(
        "onnx", "ONNX DeformConv, opset 19 and 22", PER_TAP, "yx", False, "as pyhybrid: reshaped to (Go, kh, kw, 2)",
        "as pyhybrid; default 1", IN_PIXELS + "; pads may differ at begin and end",
        BLENDED + " (the text: zero outside the padded input, linear interpolation)", "none: inference", ORDINARY,
        "specification and reference code read; onnxruntime 1.31.1 measured"),
    Convention(
        "openvino", "OpenVINO DeformableConvolution-8", PER_TAP, "yx", False, "as pyhybrid", "as pyhybrid; default 1",
        IN_PIXELS + "; pads may differ at begin and end",
        "bilinear_interpolation_pad=true: as pyhybrid; false, the default: 0 outside 0 <= y < H, and after the last row its own value",
        "none: inference", ORDINARY, "reference code read; 2026.4.1 measured"),
    Convention(
        "ascend", "mindspore.ops.deformable_conv2d, torch_npu.npu_deformable_conv2d", "n cgpq i j", "xy", True,
        "(N, 3·Go·K, Ho, Wo): all dx, then all dy, then all masks", "in the same array; the caller applies the sigmoid", IN_PIXELS,
        "not examined", "not examined", ORDINARY, "documentation, and the reordering in mmcv's code for that device; nothing measured"),
    Convention(
        "blocks", "the module DeformConv2d of pytorch-deform-conv-v2, widely copied", "n gcpq i j", "yx", False,
        "(N, 2·K, Ho, Wo): all dy, then all dx (its names x and y stand for row and column); one offset group",
        "(N, K, Ho, Wo); the module applies the sigmoid", "in pixels of the padded map, for padding 1 and stride 1",
        "positions outside the map are rounded down, then held at the edge of the padded map", "lost where a position was rounded",
        "an ordinary convolution of stride k over the k x k samples", "code read; nothing measured"),
    Convention(
        "dcnv3", "DCNv3 of InternImage, with offset_scale = 1", "n i j gqpc", "xy", False,
        "(N, Ho, Wo, Go·K·2), channels last: group by group, tap by tap in *columns*, dx then dy",
        "(N, Ho, Wo, Go·K), taps in columns; after a softmax over the K taps", "normalised inside; taps and offsets times offset_scale",
        BLENDED, "those of grid_sample", "none: the mask weighs the taps, the same for all channels of a group",
        "code read; nothing measured"),
    Convention(
        "grid_sample", "torch.nn.functional.grid_sample, pyhybrid.ops.grid_sample", "", "xy", False,
        "(N, Ho, Wo, 2): positions, not offsets; x then y", "none",
        "-1 and 1 are the outer edges of the map, with align_corners=True the centres of its outer pixels",
        BLENDED + "; PyTorch also has border and reflection", "to the right, times W/2 and H/2 (align_corners: (W-1)/2 and (H-1)/2)",
        "none", "documentation; values and gradients measured, torch 1.13"),
)


def find(name: str) -> Convention:
    """The convention of this name; `ValueError` lists the names."""
    for convention in CONVENTIONS:
        if convention.name == name:
            return convention
    raise ValueError(f"no convention is called {name!r}; there are: {', '.join(c.name for c in CONVENTIONS)}")


def convert(offset: Array, mask: Array | None = None, *, source: str, target: str, kernel_size: int | Pair,
            offset_groups: int = 1) -> tuple[Array, Array | None]:
    """Offsets and masks of one convention in the order of another; new arrays, same dtype, bit by bit.

    What is converted is the order alone: a mask is not put through a sigmoid, and other border rules stay other border rules. Where offsets
    and masks are one array ("ascend"), that array is `offset` and `mask` is None.
    """
    old, new = _with_offsets("source", source), _with_offsets("target", target)
    kernel, groups = pair("kernel_size", kernel_size), integer("offset_groups", offset_groups)
    for convention in (old, new):
        if convention.name == "blocks" and groups != 1:
            raise ValueError(f"the convention 'blocks' has one offset group; got offset_groups = {groups}")
    if old.packed:
        if mask is not None:
            raise ValueError(f"{source!r} has offsets and masks in one array: give it as offset, and no mask; got mask = {describe(mask)}")
        offset, mask = _unpacked(old, offset, kernel, groups)
    plain = _to_canonical(old, "offset", offset, kernel, groups)
    weights = None if mask is None else _to_canonical(old, "mask", mask, kernel, groups)
    if weights is not None and (weights.shape[0], *weights.shape[5:]) != (plain.shape[0], *plain.shape[5:]):
        raise ValueError(f"mask must be for the images and outputs of offset, {describe(offset)}; got {describe(mask)}")
    offset = _from_canonical(new, plain)
    mask = None if weights is None else _from_canonical(new, weights)
    if new.packed:
        if mask is None:
            raise ValueError(f"{target!r} has offsets and masks in one array: a mask is needed; 1 everywhere stands for none")
        return np.concatenate([offset, mask.astype(offset.dtype, copy=False)], axis=1), None
    return offset, mask


def channels(name: str, *, kernel_size: int | Pair = 3, offset_groups: int = 1) -> tuple[str, ...]:
    """The names of the channels in the order of a convention: "dy(0,1)" is the vertical offset of tap (0, 1), "m(0,1)" its mask; a
    group number stands before them if there are several."""
    convention, (kh, kw), groups = _with_offsets("name", name), pair("kernel_size", kernel_size), integer("offset_groups", offset_groups)
    lead = [""] if groups == 1 else [f"{g}:" for g in range(groups)]
    named = [f"{g}d{c}({p},{q})" for g in lead for p in range(kh) for q in range(kw) for c in "yx"]
    masks = [f"{g}m({p},{q})" for g in lead for p in range(kh) for q in range(kw)]
    offset, mask = (np.array(texts, object).reshape(1, -1, 1, 1) for texts in (named, masks))
    ordered, _ = convert(offset, mask if convention.packed else None, source="pyhybrid", target=name, kernel_size=(kh, kw),
                         offset_groups=groups)
    return tuple(ordered.ravel().tolist())


def to_grid(offset: Array, *, size: Pair, kernel_size: int | Pair, stride: int | Pair = 1, padding: int | Pair = 0,
            dilation: int | Pair = 1, offset_groups: int = 1, align_corners: bool = False) -> Array:
    """Offsets (N, 2·Go·K, Ho, Wo) in the order of this project as a grid (N·Go, K·Ho, Wo, 2) of normalised positions (x, y) on a map of
    `size`: grid_sample of x viewed as (N·Go, C/Go, H, W) reads what the taps read."""
    kernel, groups = pair("kernel_size", kernel_size), integer("offset_groups", offset_groups)
    moved = _to_canonical(find("pyhybrid"), "offset", offset, kernel, groups)
    N, Go, kh, kw, _, Ho, Wo = moved.shape
    base = _taps_at_rest(kernel, (Ho, Wo), stride, padding, dilation).astype(offset.dtype)
    normalised = [2 * (moved[:, :, :, :, c] + base[c] + shift) / length - 1
                  for c, (length, shift) in enumerate(_scales(size, align_corners))]
    return np.ascontiguousarray(np.stack(normalised[::-1], -1).reshape(N * Go, kh * kw * Ho, Wo, 2))


def from_grid(grid: Array, *, size: Pair, kernel_size: int | Pair, stride: int | Pair = 1, padding: int | Pair = 0,
              dilation: int | Pair = 1, offset_groups: int = 1, align_corners: bool = False) -> Array:
    """The inverse of `to_grid`, up to rounding: positions as offsets (N, 2·Go·K, Ho, Wo) from the taps at rest."""
    kernel, groups = pair("kernel_size", kernel_size), integer("offset_groups", offset_groups)
    kh, kw = kernel
    if grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] % groups or grid.shape[1] % (kh * kw):
        raise ValueError(f"grid must be (N·{groups}, {kh * kw}·Ho, Wo, 2) for kernel_size {kernel} and offset_groups {groups}; "
                         f"got {describe(grid)}")
    Ho, Wo = grid.shape[1] // (kh * kw), grid.shape[2]
    base = _taps_at_rest(kernel, (Ho, Wo), stride, padding, dilation).astype(grid.dtype)
    positions = grid.reshape(len(grid) // groups, groups, kh, kw, Ho, Wo, 2)[..., ::-1]
    moved = [(positions[..., c] + 1) * length / 2 - shift - base[c] for c, (length, shift) in enumerate(_scales(size, align_corners))]
    return _from_canonical(find("pyhybrid"), np.stack(moved, 4))


def _with_offsets(argument: str, name: str) -> Convention:
    convention = find(name)
    if not convention.axes:
        raise ValueError(f"{argument} = {name!r} has positions, not offsets; see to_grid and from_grid")
    return convention


def _sizes(kernel: Pair, groups: int, components: int) -> dict[str, int]:
    return {"g": groups, "p": kernel[0], "q": kernel[1], "c": components}


def _axes(convention: Convention, components: int) -> list[str]:
    """The words of `axes`; a mask has no component."""
    return [word if components > 1 else word.replace("c", "") for word in convention.axes.split()]


def _to_canonical(convention: Convention, argument: str, array: Array, kernel: Pair, groups: int) -> Array:
    """`array` as (N, Go, kh, kw, 2, Ho, Wo), dy first; a mask has 1 in place of the 2."""
    components = 2 if argument == "offset" else 1
    words, sizes = _axes(convention, components), _sizes(kernel, groups, components)
    wanted = ["·".join(_known(word, sizes)) for word in words]
    fits = array.ndim == len(words) and all(
        length == int(np.prod([sizes[letter] for letter in word])) for word, length in zip(words, array.shape, strict=True)
        if word[0] in sizes)
    if not fits:
        raise ValueError(f"{argument} in the order of {convention.name!r} must be ({', '.join(wanted)}) for kernel_size {kernel} and "
                         f"offset_groups {groups}; got {describe(array)}")
    outer = dict(zip(words, array.shape, strict=True))
    letters = "".join(words)
    split = array.reshape([sizes.get(letter, outer.get(letter, 0)) for letter in letters])
    order = [letters.index(letter) for letter in CANONICAL if letter in letters]
    plain = split.transpose(order)
    if components == 1:
        return np.expand_dims(plain, 4)
    return plain if convention.components == "yx" else plain[:, :, :, :, ::-1]


def _from_canonical(convention: Convention, plain: Array) -> Array:
    components = plain.shape[4]
    if components > 1 and convention.components == "xy":
        plain = plain[:, :, :, :, ::-1]
    words = _axes(convention, components)
    letters = "".join(words)
    lengths = dict(zip(CANONICAL, plain.shape, strict=True))
    if components == 1:
        plain = plain[:, :, :, :, 0]
    kept = [letter for letter in CANONICAL if letter in letters]
    shape = [int(np.prod([lengths[letter] for letter in word])) for word in words]
    return np.array(plain.transpose([kept.index(letter) for letter in letters]), order="C").reshape(shape)


def _known(word: str, sizes: dict[str, int]) -> list[str]:
    names = {"n": "N", "i": "Ho", "j": "Wo"}
    return [names[word]] if word in names else [str(int(np.prod([sizes[letter] for letter in word])))]


def _unpacked(convention: Convention, both: Array, kernel: Pair, groups: int) -> tuple[Array, Array]:
    points = groups * kernel[0] * kernel[1]
    if both.ndim != 4 or both.shape[1] != 3 * points:
        raise ValueError(f"offset in the order of {convention.name!r} must be (N, {3 * points}, Ho, Wo), masks included, for kernel_size "
                         f"{kernel} and offset_groups {groups}; got {describe(both)}")
    return both[:, : 2 * points], both[:, 2 * points :]


def _taps_at_rest(kernel: Pair, outputs: Pair, stride: int | Pair, padding: int | Pair, dilation: int | Pair) -> Array:
    """(2, kh, kw, Ho, Wo): i·stride - padding + p·dilation, vertically and horizontally."""
    (sh, sw), (ph, pw), (dh, dw) = pair("stride", stride), pair("padding", padding, 0), pair("dilation", dilation)
    p, q, i, j = np.ogrid[: kernel[0], : kernel[1], : outputs[0], : outputs[1]]
    return np.stack(np.broadcast_arrays(i * sh - ph + p * dh, j * sw - pw + q * dw))


def _scales(size: Pair, align_corners: bool) -> list[tuple[float, float]]:
    """(length, shift) per direction: u = 2·(position + shift)/length - 1."""
    lengths = pair("size", size)
    if not align_corners:
        return [(float(length), 0.5) for length in lengths]
    if min(lengths) == 1:
        raise ValueError(f"with align_corners=True a side of one pixel has no positions to tell apart; got size = {lengths}")
    return [(length - 1.0, 0.0) for length in lengths]
