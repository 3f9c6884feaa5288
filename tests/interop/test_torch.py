"""Official PyTorch checkpoints: arrays only, by name, and networks that compute the recorded logits after the conversion."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyhybrid import cli
from pyhybrid.conformance import case, replay
from pyhybrid.errors import UsageError
from pyhybrid.interop import safetensors
from pyhybrid.interop import torch as checkpoints
from pyhybrid.papers import build
from pyhybrid.train import predict

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors.numpy")
GOLDEN = Path(__file__).parents[1] / "golden"
WHOLE = ("net_", "tiny_", "resnet_", "mobilenetv2_", "smt_tiny_", "hornet_")
NETWORKS = sorted(path for path in GOLDEN.rglob("*.npz") if path.stem.startswith(WHOLE))


def tensors(state):
    return {name: torch.from_numpy(np.array(value)) for name, value in state.items()}


def written(tmp_path, held):
    torch.save(held, tmp_path / "official.pth")
    return tmp_path / "official.pth"


def layouts(state):
    """How official codes wrap their weights."""
    parallel = {f"module.{name}": value for name, value in state.items()}
    return {
        "bare": state, "state_dict": {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, "model": {"model": state},
        "parallel": {"state_dict": parallel, "arch": "resnet"}, "parallel_model": {"model": parallel, "epoch": 299, "max_accuracy": 83.0}}


def test_a_whole_network_of_every_paper_is_recorded():
    assert {path.parent.name for path in NETWORKS} == {"acmix", "coatnet", "das", "hornet", "smt"}


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_converted_networks_compute_the_recorded_logits(tmp_path, path):
    """The parameters of a recorded network go through a PyTorch file and a safetensors file; then the case is replayed with them."""
    meta, arrays = case.load(path)
    params = {name.removeprefix("param."): value for name, value in arrays.items() if name.startswith("param.")}
    state = {f"module.{name}": value for name, value in tensors(params).items()}
    official = written(tmp_path, {"state_dict": state, "epoch": 7})
    safetensors.write(checkpoints.read(official), tmp_path / "net.safetensors")
    back = safetensors.read(tmp_path / "net.safetensors")
    assert back.keys() == params.keys()
    others = {name: value for name, value in arrays.items() if not name.startswith("param.")}
    np.savez(tmp_path / "case.npz", meta=json.dumps(meta), **others, **{f"param.{name}": value for name, value in back.items()})
    report = replay(tmp_path / "case.npz")
    assert report.passed, [row.failures for row in report.rows]


@pytest.mark.parametrize(
    ("name", "layout"),
    [("acmix_tiny", "bare"), ("acmix_tiny", "state_dict"), ("coatnet_tiny", "model"), ("das_resnet_tiny", "parallel"),
     ("smt_tiny", "model"), ("hornet_tiny", "parallel_model")],
)
def test_convert_finds_the_weights_and_the_number_of_classes(tmp_path, name, layout, capsys):
    model = build(name, image_size=32, num_classes=6, seed=8)
    official = written(tmp_path, layouts(tensors(model.state_dict()))[layout])
    (tmp_path / "names.txt").write_text("\n".join("abcdef"))
    out = tmp_path / "net.safetensors"
    assert cli.main(["convert", name, str(official), str(out), "--image-size", "32", "--classes", str(tmp_path / "names.txt")]) == 0
    assert "6 classes" in capsys.readouterr().out
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    held = predict.load(out)
    assert held.classes == tuple("abcdef") and held.size == 32
    assert held.model.forward(x)[0].tobytes() == model.forward(x)[0].tobytes()
    by_name = build(name, image_size=32, num_classes=6)
    safetensors.load(by_name, out)
    assert by_name.forward(x)[0].tobytes() == model.forward(x)[0].tobytes()


def test_an_official_swin_file_has_its_buffers_as_well(tmp_path):
    model = build("acmix_swin_t", image_size=224, num_classes=2, seed=1, depths=(1, 1, 1, 1), embed_dim=12)
    state = checkpoints.read(written(tmp_path, {"model": tensors(model.state_dict())}))
    assert any(name.endswith("relative_position_index") for name in state)
    model.load_state_dict(state)


def test_an_smt_file_with_the_first_names_is_written_with_the_later_ones(tmp_path):
    model = build("smt_tiny", image_size=32, num_classes=3, seed=4)
    state = {name.replace(".attn.local_conv.", ".attn.dw_conv."): value for name, value in tensors(model.state_dict()).items()}
    assert any(".dw_conv." in name for name in state)
    out = tmp_path / "smt.safetensors"
    assert cli.main(["convert", "smt_tiny", str(written(tmp_path, {"model": state})), str(out), "--image-size", "32"]) == 0
    assert safetensors.read(out).keys() == model.state_dict().keys()


def test_half_precision_is_widened_exactly(tmp_path):
    values = torch.tensor([1.0, 1 / 3, -1e-6])
    read = checkpoints.read(written(tmp_path, {"a": values.half(), "b": values.bfloat16(), "c": torch.tensor(3), "d": values.double()}))
    assert read["a"].dtype == read["b"].dtype == np.float32 and read["c"].dtype == np.int64 and read["d"].dtype == np.float64
    assert (read["a"] == values.half().float().numpy()).all() and (read["b"] == values.bfloat16().float().numpy()).all()


class Payload:
    """A pickle that would run code."""

    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_nothing_in_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    official = written(tmp_path, {"state_dict": {"a": torch.ones(1)}, "extra": Payload()})
    with pytest.raises(UsageError, match="cannot be loaded as weights alone"):
        checkpoints.read(official)
    assert not (tmp_path / "touched-by-a-pickle").exists()


def test_files_that_do_not_say_what_they_hold_are_refused(tmp_path):
    one = {"a": torch.ones(1)}
    for held, message in (
        ({"model": one, "model_ema": one}, "has arrays under model, model_ema: say with --entry"),
        ({"net": one}, "has no arrays under state_dict, .*, but 'net'"), ([1], "but a list"), ({}, "has no arrays"),
    ):
        with pytest.raises(UsageError, match=message):
            checkpoints.read(written(tmp_path, held))
    official = written(tmp_path, {"model": one, "model_ema": {"a": torch.zeros(1)}, "epoch": 1})
    assert checkpoints.read(official, "model_ema")["a"] == 0
    with pytest.raises(UsageError, match="has no arrays under 'epoch'; it has 'model', 'model_ema', 'epoch'"):
        checkpoints.read(official, "epoch")
    for content in (b"", b"\x80\x02}", official.read_bytes()[:-100]):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(UsageError, match=r"bad\.pth cannot be loaded as weights alone"):
            checkpoints.read(tmp_path / "bad.pth")
    with pytest.raises(UsageError, match="no such file"):
        checkpoints.read(tmp_path / "none.pth")


def test_a_checkpoint_of_another_model_writes_nothing(tmp_path, capsys):
    state = tensors(build("acmix_tiny", num_classes=3).state_dict())
    for change, message in (
        (lambda s: s.pop("bn1.weight"), "missing keys: bn1.weight"), (lambda s: s.update(odd=torch.ones(1)), "unknown keys: odd"),
        (lambda s: s.update({"bn1.weight": torch.ones(5)}), "bn1.weight has shape (5,)"),
        (lambda s: s.pop("fc.weight"), "has no classifier of acmix_tiny: fc.weight is missing"),
    ):
        changed = dict(state)
        change(changed)
        official = written(tmp_path, changed)
        assert cli.main(["convert", "acmix_tiny", str(official), str(tmp_path / "x.safetensors"), "--image-size", "32"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
    (tmp_path / "names.txt").write_text("a\nb\n")
    official, out, names = written(tmp_path, state), tmp_path / "x.safetensors", tmp_path / "names.txt"
    assert cli.main(["convert", "acmix_tiny", str(official), str(out), "--classes", str(names)]) == 2
    assert "must have one line for each of 3 classes; it has 2" in capsys.readouterr().err
