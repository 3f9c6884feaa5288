"""Every recorded case is reproduced, on each backend, and each kind of damage to a case is found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyhybrid import backend
from pyhybrid.conformance import replay
from pyhybrid.conformance.compare import compare, tolerance
from pyhybrid.errors import UsageError

FILES = sorted((Path(__file__).parents[1] / "golden").rglob("*.npz"))
BACKENDS = ["numpy", pytest.param("rust", marks=pytest.mark.skipif(not backend.available(), reason="no compiled core"))]


def only_failure(path):
    """The text of the single failure of a single file; it must fail on each backend in the same way."""
    report = replay(path)
    assert not report.passed
    (failures,) = {row.failures for row in report.rows}
    return "; ".join(failures)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recorded_case(file, name):
    report = replay(file, backend=name)
    assert report.passed, str(report)


def test_every_file_has_a_line_in_the_readme(golden):
    text = (golden / "README.md").read_text()
    assert [file.stem for file in FILES if f"`{file.stem}`" not in text] == []


def test_every_gradient_and_intermediate_result_is_compared(golden):
    for file in FILES:
        with np.load(file) as archive:
            kinds = ("output.", "grad.", "aux.", "inter.", "state_after.", "buffer_after.", "after.")
            assert replay(file, backend="numpy").rows[0].arrays == sum(name.startswith(kinds) for name in archive.files)


@pytest.mark.parametrize("case", ["conv_path_s1", "shift_all9", "conv_decomp_k3_s1", "unfold_reflect_k3_s1"])
def test_linear_operators_are_compared_exactly(recorded, case):
    for name in [name for name in recorded(case).arrays if name.startswith(("output.", "grad.", "aux."))]:
        damaged = recorded(case)
        flat = damaged.arrays[name].reshape(-1)
        flat[flat.argmax()] = np.nextafter(flat.max(), np.inf)      # one unit in the last place
        assert f"{name}: relative error" in only_failure(damaged.write())


@pytest.mark.parametrize("case", ["acmix_k5_s2", "local_attn_pos_k3"])
def test_every_perturbed_array_is_found(recorded, case):
    names = [name for name in recorded(case).arrays if name.startswith(("output.", "grad.", "aux."))]
    assert len(names) >= 6
    for name in names:
        damaged = recorded(case)
        flat = damaged.arrays[name].reshape(-1)
        largest = max(np.abs(a).max() for key, a in damaged.arrays.items() if key.startswith("grad."))
        flat[-1] += 1e-8 * largest
        assert f"{name}: relative error" in only_failure(damaged.write())


def test_a_zero_gradient_is_measured_against_the_largest_of_its_case(recorded):
    case = recorded("acmix_k3_s1")
    largest = max(np.abs(a).max() for name, a in case.arrays.items() if name.startswith("grad."))
    case.arrays["grad.param.conv_p.bias"][:] = 0
    assert replay(case.write()).passed
    case.arrays["grad.param.conv_p.bias"][:] = 1e-13 * largest
    assert replay(case.write()).passed
    case.arrays["grad.param.conv_p.bias"][0] = 1e-8 * largest
    assert "grad.param.conv_p.bias: relative error" in only_failure(case.write())


@pytest.mark.parametrize("size", [1.0, 1e-9, 1e12])
def test_the_bound_is_relative_whatever_the_size_of_the_array(size):
    """Of the array itself; beside much larger numbers of the case, a few of their units in the last place."""
    rules, recorded = tolerance(np.dtype(np.float64)), size * np.array([1.0, -0.5])

    def passed(change, **scale):
        return compare("output.y", recorded + size * np.array([0, change]), recorded, rules, exact=False, **scale).passed

    assert passed(0.9e-10) and not passed(1.1e-10)
    assert passed(0.9e-10, largest=size * 1e3) and not passed(1.1e-10, largest=size * 1e3)
    assert passed(0.9e-8, largest=size * 1e6) and not passed(1.1e-8, largest=size * 1e6)
    assert not passed(1.1e-8, largest=size * 1e6, gradient=True)
    assert compare("output.y", np.zeros(2), np.zeros(2), rules, exact=False).passed
    assert not compare("output.y", np.full(2, 1e-300), np.zeros(2), rules, exact=False).passed


def test_nan_and_infinity_are_not_within_any_bound(recorded):
    for value in (np.nan, np.inf):
        case = recorded("acmix_k3_s1")
        case.arrays["output.y"][0, 0, 0, 0] = value
        assert "output.y: relative error inf" in only_failure(case.write())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(operator="no_such"), "operator 'no_such'"),
        (lambda m: m.update(operator=["acmix"]), "meta operator"),
        (lambda m: m.pop("operator"), "meta without 'operator'"),
        (lambda m: m.pop("config"), "meta without 'config'"),
        (lambda m: m.update(tolerance=1), "meta key 'tolerance'"),
        (lambda m: m.update(mode="half"), "meta mode"),
        (lambda m: m["config"].update(colour="red"), "config key 'colour'"),
        (lambda m: m["config"].pop("head"), "config key 'head' is missing"),
        (lambda m: m["config"].update(head=2.0), "config head = 2.0"),
        (lambda m: m["config"].update(head=True), "config head = true"),
        (lambda m: m["config"].update(head=0), "config head = 0"),
        (lambda m: m["config"].update(head=3), "out_planes must be divisible by head"),
        (lambda m: m["config"].update(stride="2"), 'config stride = "2"'),
        (lambda m: m["config"].update(dilation=2), "config dilation = 2"),
        (lambda m: m["config"].update(kernel_att=4), "kernel_att must be odd"),
        (lambda m: m["config"].update(dtype="float16"), 'config dtype = "float16"'),
        (lambda m: m["config"].update(in_planes=7), "in_planes = 7"),
        (lambda m: m["config"].update(kernel_conv=5), "shape"),
        (lambda m: m["config"].update(shape=[2, 6, 5, 7]), "the configuration says"),
    ],
)
def test_configuration_that_is_not_understood(recorded, change, words):
    case = recorded("acmix_k3_s1")
    change(case.meta)
    failure = only_failure(case.write())
    assert failure.startswith("not understood: ")
    assert words in failure


@pytest.mark.parametrize(
    ("case", "key", "value"),
    [
        ("shift_all9", "boundary", "wrap"),
        ("shift_all9", "offsets", []),
        ("shift_all9", "offsets", [[1, 2, 3]]),
        ("conv_decomp_k3_s1", "padding", 0),
        ("conv_decomp_k3_s1", "map_order", "m=q*k+p"),
        ("local_attn_pos_k3", "border", "circular"),
        ("local_attn_pos_k3", "scale", "none"),
        ("local_attn_pos_k3", "positional", 1),
        ("unfold_reflect_k3_s1", "layout", "(B,k*k,C,Ho,Wo)"),
    ],
)
def test_value_that_is_not_understood(recorded, case, key, value):
    damaged = recorded(case)
    assert key in damaged.config
    damaged.config[key] = value
    assert f"not understood: config {key} = " in only_failure(damaged.write())


@pytest.mark.parametrize(
    "case", ["acmix_k3_s1", "conv_path_s1", "local_attn_pos_k3", "conv_decomp_k3_s1", "shift_all9"]
)
def test_renamed_missing_and_extra_arrays(recorded, case):
    for name in recorded(case).arrays:
        renamed = recorded(case)
        renamed.arrays[f"{name}x"] = renamed.arrays.pop(name)
        assert "not understood: " in only_failure(renamed.write()), name
        removed = recorded(case)
        del removed.arrays[name]
        if name.startswith("aux."):
            assert replay(removed.write()).passed       # intermediate results may be left out
        else:
            assert only_failure(removed.write()).startswith("not understood: "), name
    for name in ("input.z", "param.fc.bogus", "output.z", "cotangent.z", "grad.input.z", "aux.z", "state_after.z", "y"):
        extra = recorded(case)
        extra.arrays[name] = np.ones(2)
        assert f"{name.removeprefix('param.')}" in only_failure(extra.write())


def test_gradients_without_cotangents_are_not_understood(recorded):
    case = recorded("acmix_k3_s1")
    del case.arrays["cotangent.y"]
    assert "not understood: array grad.input.x" in only_failure(case.write())
    for name in [name for name in case.arrays if name.startswith("grad.")]:
        del case.arrays[name]
    assert replay(case.write()).passed      # a case without gradients records values only


def test_wrong_precision_and_wrong_shape(recorded):
    case = recorded("acmix_k3_s1")
    case.arrays["input.x"] = case.arrays["input.x"].astype(np.float32)
    assert "not understood: array input.x of float32 in a float64 case" in only_failure(case.write())
    case = recorded("acmix_k3_s1")
    case.arrays["output.y"] = case.arrays["output.y"][:, :, :, :1]
    assert "output.y: has shape (2, 8, 5, 6), recorded (2, 8, 5, 1)" in only_failure(case.write())


def test_a_float64_case_does_not_pass_with_float32_numbers(recorded):
    case = recorded("acmix_k3_s1")
    case.arrays["output.y"] = case.arrays["output.y"].astype(np.float32).astype(np.float64)
    assert "output.y: relative error" in only_failure(case.write())


def test_damaged_files(golden, tmp_path):
    whole = (golden / "acmix" / "acmix_k3_s1.npz").read_bytes()
    path = tmp_path / "damaged.npz"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (b"", b"PK", whole[:100], whole[: len(whole) // 2], whole[:-10], bytes(flipped), b"not a zip file"):
        path.write_bytes(content)
        assert "cannot be read" in only_failure(path)


def test_pickles_and_plain_arrays_are_refused(tmp_path):
    path = tmp_path / "pickle.npz"
    np.savez(path, meta=np.array({"operator": "acmix"}, dtype=object))
    assert "allow_pickle=False" in only_failure(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    assert "not an .npz archive" in only_failure(path)


def test_meta_that_is_no_json_object(tmp_path):
    path = tmp_path / "meta.npz"
    for meta in (np.array("{"), np.array("[]"), np.array("[" * 100_000), np.ones(1), np.array(["{}"])):
        np.savez(path, meta=meta)
        assert "meta" in only_failure(path)
    np.savez(path, output=np.ones(1))
    assert "no `meta`" in only_failure(path)


def test_paths_that_name_no_case(tmp_path):
    for paths in ([], [tmp_path], [tmp_path / "absent.npz"]):
        with pytest.raises(UsageError):
            replay(paths)


def test_folders_are_searched_and_each_file_replayed_once(golden):
    once = replay(golden, backend="numpy")
    assert len(once.rows) == len(FILES)
    assert len(replay([golden, FILES[0]], backend="numpy").rows) == len(FILES)


def test_report_in_words_and_as_json(golden, recorded):
    case = recorded("shift_all9")
    case.meta["operator"] = "bogus"
    report = replay([golden / "acmix" / "shift_all9.npz", case.write()], backend="numpy")
    text, data = str(report), json.loads(report.to_json())
    assert "not understood: operator 'bogus'" in text and "2 replays, 1 failed" in text
    assert data["passed"] is False and [row["passed"] for row in data["rows"]] == [True, False]
    assert {entry["operator"]: entry["passed"] for entry in data["operators"]} == {"shift": 1, "bogus": 0}


def test_replay_leaves_the_backend_as_it_was(golden):
    with backend.use("numpy"):
        replay(FILES[0])
        assert backend.active() == "numpy"
