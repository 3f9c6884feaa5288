"""Orders of offsets: converted there and back bit by bit; read by each library's own index formula, they give the same result."""

import itertools
import json

import numpy as np
import pytest
from drawn import normal

from pyhybrid import check, cli
from pyhybrid.interop import offsets
from pyhybrid.ops import deform_conv2d, grid_sample

CONVERTIBLE = [row.name for row in offsets.CONVENTIONS if row.axes]
SINGLE = {"blocks"}  # one offset group


def whole(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-8, 9, shape).astype(float)


# The index formulas of the libraries, written down one by one. Each returns dy, dx and m of one tap at one output.


def per_tap(offset, mask, n, g, p, q, i, j, *, kernel, groups):
    k = p * kernel[1] + q
    base = 2 * kernel[0] * kernel[1] * g + 2 * k
    return offset[n, base, i, j], offset[n, base + 1, i, j], mask[n, kernel[0] * kernel[1] * g + k, i, j]


def onnx(offset, mask, n, g, p, q, i, j, *, kernel, groups):
    pairs = offset.reshape(len(offset), groups, *kernel, 2, *offset.shape[2:])
    return *pairs[n, g, p, q, :, i, j], mask.reshape(len(mask), groups, *kernel, *mask.shape[2:])[n, g, p, q, i, j]


def ascend(both, mask, n, g, p, q, i, j, *, kernel, groups):
    assert mask is None
    dx, dy, m = np.split(both, 3, axis=1)
    k = g * kernel[0] * kernel[1] + p * kernel[1] + q
    return dy[n, k, i, j], dx[n, k, i, j], m[n, k, i, j]


def blocks(offset, mask, n, g, p, q, i, j, *, kernel, groups):
    rows, columns = offset[:, : kernel[0] * kernel[1]], offset[:, kernel[0] * kernel[1] :]
    k = p * kernel[1] + q
    return rows[n, k, i, j], columns[n, k, i, j], mask[n, k, i, j]


def dcnv3(offset, mask, n, g, p, q, i, j, *, kernel, groups):
    point = q * kernel[0] + p  # the taps of a column follow one another
    x, y = offset.reshape(*offset.shape[:3], groups, -1, 2)[n, i, j, g, point]
    return y, x, mask.reshape(*mask.shape[:3], groups, -1)[n, i, j, g, point]


READERS = {"pyhybrid": per_tap, "torchvision": per_tap, "mmcv": per_tap, "onnx": onnx, "openvino": per_tap, "ascend": ascend,
           "blocks": blocks, "dcnv3": dcnv3}


def pixel(x, y, column):
    """Bilinear, literally: every pixel with its part."""
    H, W = x.shape
    return sum(max(0.0, 1 - abs(y - r)) * max(0.0, 1 - abs(column - c)) * x[r, c] for r in range(H) for c in range(W))


def read_by(name, x, offset, mask, weight, *, size, groups, stride, padding, dilation):
    """A deformable convolution that finds its offsets by the formula of the library `name`."""
    (N, C, _, _), (O, _, kh, kw), (Ho, Wo) = x.shape, weight.shape, size
    y = np.zeros((N, O, Ho, Wo))
    for n, c, p, q, i, j in np.ndindex(N, C, kh, kw, Ho, Wo):
        dy, dx, m = READERS[name](offset, mask, n, c // (C // groups), p, q, i, j, kernel=(kh, kw), groups=groups)
        at = i * stride[0] - padding[0] + p * dilation[0] + dy, j * stride[1] - padding[1] + q * dilation[1] + dx
        y[n, :, i, j] += weight[:, c, p, q] * m * pixel(x[n, c], *at)
    return y


def test_there_is_a_reader_for_every_convention_that_has_offsets():
    assert list(READERS) == CONVERTIBLE


KERNELS = [((2, 3), 1), ((2, 3), 2), ((1, 2), 4)]


@pytest.mark.parametrize(
    ("name", "kernel", "groups"), [(name, *case) for name in CONVERTIBLE for case in KERNELS[: 1 if name in SINGLE else None]]
)
def test_each_library_reads_converted_offsets_as_we_read_ours(name, kernel, groups):
    config = {"stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)}
    x, weight = whole(2, 4, 3, 4), whole(2, 4, *kernel)
    points = groups * kernel[0] * kernel[1]
    size = 3 + 2 - 2 * (kernel[0] - 1), (4 - kernel[1]) // 2 + 1
    offset, mask = whole(2, 2 * points, *size) / 4, whole(2, points, *size)
    ours, _ = deform_conv2d.forward(x, offset, weight, mask, offset_groups=groups, **config)
    theirs = offsets.convert(offset, mask, source="pyhybrid", target=name, kernel_size=kernel, offset_groups=groups)
    assert (read_by(name, x, *theirs, weight, size=size, groups=groups, **config) == ours).all()
    back = offsets.convert(*theirs, source=name, target="pyhybrid", kernel_size=kernel, offset_groups=groups)
    again, _ = deform_conv2d.forward(x, back[0], weight, back[1], offset_groups=groups, **config)
    assert (again == ours).all()


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(CONVERTIBLE, 2)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back_are_the_same_bits(source, target, dtype):
    groups = 1 if {source, target} & SINGLE else 2
    ours = normal(2, 12 * groups, 4, 5).astype(dtype), normal(2, 6 * groups, 4, 5).astype(dtype)
    kernel = {"kernel_size": (3, 2), "offset_groups": groups}
    given = offsets.convert(*ours, source="pyhybrid", target=source, **kernel)
    there = offsets.convert(*given, source=source, target=target, **kernel)
    back = offsets.convert(*there, source=target, target=source, **kernel)
    for a, b in zip(given, back, strict=True):
        assert a is b is None or (a.dtype == b.dtype == dtype and a.flags.c_contiguous and (a == b).all())
    through = offsets.convert(*there, source=target, target="pyhybrid", **kernel)
    assert all((a == b).all() for a, b in zip(through, ours, strict=True)), "by way of another order"


@pytest.mark.parametrize("name", [name for name in CONVERTIBLE if name != "ascend"])
def test_offsets_alone_can_be_converted(name):
    offset = normal(1, 18, 4, 5)
    there, none = offsets.convert(offset, source="pyhybrid", target=name, kernel_size=3)
    back, _ = offsets.convert(there, source=name, target="pyhybrid", kernel_size=3)
    assert none is None and (back == offset).all()


def test_results_are_new_arrays():
    offset = normal(1, 18, 4, 5)
    there, _ = offsets.convert(offset, source="pyhybrid", target="torchvision", kernel_size=3)
    there[...] = 0
    assert offset.any()


def test_the_orders_are_really_different():
    """An order that agrees with ours by accident would make the other tests empty."""
    orders = {name: offsets.channels(name, kernel_size=(2, 3)) for name in CONVERTIBLE}
    assert orders["pyhybrid"][:4] == ("dy(0,0)", "dx(0,0)", "dy(0,1)", "dx(0,1)")
    assert orders["torchvision"] == orders["mmcv"] == orders["onnx"] == orders["openvino"] == orders["pyhybrid"]
    assert orders["ascend"][:3] == ("dx(0,0)", "dx(0,1)", "dx(0,2)") and orders["ascend"][-1] == "m(1,2)"
    assert orders["blocks"][:3] == ("dy(0,0)", "dy(0,1)", "dy(0,2)")
    assert orders["dcnv3"][:4] == ("dx(0,0)", "dy(0,0)", "dx(1,0)", "dy(1,0)")
    assert len(set(orders.values())) == 4
    assert offsets.channels("ascend", kernel_size=(1, 2), offset_groups=2)[:4] == ("0:dx(0,0)", "0:dx(0,1)", "1:dx(0,0)", "1:dx(0,1)")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_grid_sample_reads_what_the_taps_read(groups, align_corners):
    x, weight, offset = normal(2, 4, 4, 5), normal(3, 4, 2, 3), 2 * normal(2, 12 * groups, 5, 2)
    config = {"stride": (1, 2), "padding": (1, 0)}
    y, _ = deform_conv2d.forward(x, offset, weight, offset_groups=groups, **config)
    grid = offsets.to_grid(offset, size=(4, 5), kernel_size=(2, 3), offset_groups=groups, align_corners=align_corners, **config)
    samples, _ = grid_sample.forward(x.reshape(2 * groups, 4 // groups, 4, 5), grid, align_corners=align_corners)
    col = samples.reshape(2, 4, 6, 5, 2)
    check.assert_close(np.einsum("ock,nckij->noij", weight.reshape(3, 4, 6), col), y, "y", noise=1e-13)
    back = offsets.from_grid(grid, size=(4, 5), kernel_size=(2, 3), offset_groups=groups, align_corners=align_corners, **config)
    check.assert_close(back, offset, "offset", noise=1e-13)


def test_taps_at_rest_on_a_map_are_the_identity_grid():
    grid = offsets.to_grid(np.zeros((1, 2, 2, 4)), size=(2, 4), kernel_size=1)
    assert grid[0, :, 0].tolist() == [[-0.75, -0.5], [-0.75, 0.5]] and grid[0, 0, :, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]


@pytest.mark.parametrize(
    ("arguments", "config", "told"),
    [
        ((np.zeros((1, 9, 4, 4)),), {}, r"offset in the order of 'torchvision' must be \(N, 18, Ho, Wo\).*\(1, 9, 4, 4\)"),
        ((np.zeros((1, 18, 4)),), {}, r"must be \(N, 18, Ho, Wo\)"),
        ((np.zeros((1, 18, 4, 4)), np.zeros((1, 18, 4, 4))), {}, r"mask in the order of 'torchvision' must be \(N, 9, Ho, Wo\)"),
        ((np.zeros((1, 18, 4, 4)), np.zeros((1, 9, 5, 4))), {}, "mask must be for the images and outputs of offset"),
        ((np.zeros((1, 18, 4, 4)),), {"offset_groups": 2}, r"must be \(N, 36, Ho, Wo\)"),
        ((np.zeros((1, 18, 4, 4)),), {"target": "ascend"}, "a mask is needed"),
        ((np.zeros((1, 18, 4, 4)),), {"target": "caffe"}, "no convention is called 'caffe'; there are: pyhybrid, torchvision"),
        ((np.zeros((1, 18, 4, 4)),), {"target": "grid_sample"}, "target = 'grid_sample' has positions, not offsets"),
        ((np.zeros((1, 36, 4, 4)),), {"target": "blocks", "offset_groups": 2}, "one offset group; got offset_groups = 2"),
        ((np.zeros((1, 18, 4, 4)),), {"source": "ascend"}, r"must be \(N, 27, Ho, Wo\), masks included"),
        ((np.zeros((1, 27, 4, 4)), np.zeros((1, 9, 4, 4))), {"source": "ascend"}, "in one array: give it as offset, and no mask"),
        ((np.zeros((1, 18, 4, 4)),), {"source": "dcnv3"}, r"must be \(N, Ho, Wo, 18\)"),
        ((np.zeros((1, 18, 4, 4)),), {"kernel_size": 0}, "kernel_size must be a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, config, told):
    with pytest.raises(ValueError, match=told):
        offsets.convert(*arguments, **{"source": "torchvision", "target": "mmcv", "kernel_size": 3} | config)


def test_grids_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"grid must be \(N·1, 9·Ho, Wo, 2\).*\(1, 10, 4, 2\)"):
        offsets.from_grid(np.zeros((1, 10, 4, 2)), size=(4, 4), kernel_size=3)
    with pytest.raises(ValueError, match="a side of one pixel has no positions"):
        offsets.to_grid(np.zeros((1, 2, 1, 4)), size=(1, 4), kernel_size=1, align_corners=True)


# The command.


def test_the_command_prints_the_whole_table(capsys):
    assert cli.main(["conventions", "--plain"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for row in offsets.CONVENTIONS:
        assert all(" ".join(getattr(row, field).split()) in printed for field in ("what", "order", "mask", "border", "slopes", "evidence"))


def test_one_convention_with_all_its_channels(capsys):
    assert cli.main(["conventions", "dcnv3", "--plain"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert " ".join(offsets.channels("dcnv3")) in printed and "torchvision.ops" not in printed


def test_json(capsys):
    assert cli.main(["conventions", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found] == [row.name for row in offsets.CONVENTIONS]
    assert found[1]["channels"][:2] == ["dy(0,0)", "dx(0,0)"] and found[-1]["channels"] == []
    assert cli.main(["conventions", "mmcv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["what"].startswith("mmcv.ops")


def test_an_unknown_convention_is_refused(capsys):
    assert cli.main(["conventions", "caffe"]) == 2
    assert "there are: pyhybrid" in capsys.readouterr().err
