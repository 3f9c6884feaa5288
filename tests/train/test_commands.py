"""`pyhybrid train`, `predict` and `convert` as a user meets them: what they write and print, and every refusal with exit status 2."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from train.synthetic import stripes, write_folder

import pyhybrid
from pyhybrid import backend, cli
from pyhybrid.interop import safetensors
from pyhybrid.papers import build
from pyhybrid.train import checkpoint, predict
from pyhybrid.train.loop import Run

pytest.importorskip("safetensors.numpy")
pytest.importorskip("PIL")
QUICK = ["--image-size", "16", "--epochs", "2", "--warmup", "1", "--batch", "6", "--no-pictures"]


@pytest.fixture
def images(tmp_path):
    return write_folder(tmp_path / "images", stripes(5))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of images and a run on them."""
    root = tmp_path_factory.mktemp("trained")
    write_folder(root / "images", stripes(5))
    assert cli.main(["train", "acmix_tiny", "--data", str(root / "images"), "--out", str(root / "run"), *QUICK]) == 0
    return root


def refused(capsys, *arguments):
    """The message of a command that ends with status 2."""
    capsys.readouterr()
    assert cli.main(list(map(str, arguments))) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# Train.


def test_train_writes_a_run_with_pictures_and_says_how_it_ended(images, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    quick = [option for option in QUICK if option != "--no-pictures"]
    assert cli.main(["train", "acmix_tiny", "--data", str(images), "--out", str(tmp_path / "run"), *quick]) == 0
    said = capsys.readouterr().out
    assert "3 classes" in said and "12 images to learn from, 3 held out" in said
    assert "epoch   2/2" in said and "of 3 held-out images right" in said
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoint.json", "confusion.png", "curves.png", "optimiser-0002.safetensors", "weights-0002.safetensors"]
    for picture in ("curves.png", "confusion.png"):
        assert (tmp_path / "run" / picture).read_bytes().startswith(b"\x89PNG")
    state = safetensors.read(tmp_path / "run" / "weights-0002.safetensors")
    build("acmix_tiny", image_size=16, num_classes=3).load_state_dict(state)        # official names, nothing else


def test_an_interrupted_run_resumes_to_the_same_bits(images, tmp_path, capsys, monkeypatch):
    common = ["train", "acmix_tiny", "--data", str(images), *QUICK]
    assert cli.main([*common, "--out", str(tmp_path / "whole")]) == 0
    real, calls = Run._step, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_step", interrupted)
        capsys.readouterr()
        assert cli.main([*common, "--out", str(tmp_path / "cut")]) == 130
    assert "1 complete epochs are saved" in capsys.readouterr().err
    assert cli.main(["train", "acmix_tiny", "--resume", "--no-pictures", "--out", str(tmp_path / "cut")]) == 0
    assert "1 of 2 epochs are done" in capsys.readouterr().out
    for name in ("weights-0002.safetensors", "optimiser-0002.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_ends_a_real_process_with_130_and_a_whole_checkpoint(images, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(pyhybrid.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pyhybrid", "train", "acmix_tiny", "--data", str(images), "--out", str(tmp_path / "run"),
               *QUICK, "--epochs", "5000"]
    # A test run in the background ignores Ctrl-C, and so would the child.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heeding)
    for line in child.stdout:
        if line.startswith("epoch   2/"):
            break
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130 and "--resume goes on from there" in said
    assert checkpoint.load(tmp_path / "run").epochs >= 2


def test_train_refuses_and_overwrites_nothing(trained, tmp_path, capsys):
    images, run = trained / "images", trained / "run"
    before = contents(trained)
    train = ["train", "acmix_tiny", "--data", images, *QUICK]
    assert "holds a run; go on with it by --resume" in refused(capsys, *train, "--out", run)
    assert "no model named 'acmix_tin' (did you mean acmix_tiny?)" in refused(capsys, "train", "acmix_tin", "--data", images)
    assert "begun with epochs 2, not 9" in refused(capsys, "train", "acmix_tiny", "--out", run, "--resume", "--epochs", 9, "--no-pictures")
    assert "begun with model 'acmix_tiny', not 'coatnet_tiny'" in refused(capsys, "train", "coatnet_tiny", "--out", run, "--resume")
    assert "holds no run" in refused(capsys, *train, "--out", tmp_path, "--resume")
    assert "is not there" in refused(capsys, *train[:2], "--data", tmp_path / "none", "--out", tmp_path / "new")
    assert "--learning-rate must be above 0; got 0.0" in refused(capsys, *train, "--out", tmp_path / "new", "--learning-rate", 0)
    assert "has no drop path" in refused(capsys, *train, "--out", tmp_path / "new", "--drop-path", 0.1)
    assert "cannot be a folder" in refused(capsys, *train, "--out", run / "checkpoint.json" / "x")
    if backend.available():
        assert "--threads must be a whole number from 1" in refused(capsys, *train, "--threads", 0)
    (tmp_path / "other").mkdir()
    write_folder(tmp_path / "other", stripes(5, seed=1))
    assert "the data are not those" in refused(capsys, "train", "acmix_tiny", "--out", run, "--resume", "--data", tmp_path / "other")
    assert contents(trained) == before and not (tmp_path / "new").exists()


def test_a_diverged_run_keeps_its_last_epoch(images, tmp_path, capsys, monkeypatch):
    real, calls = Run._step, []

    def spoilt(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            self.model.named_params()["fc.weight"][:] = np.nan
        return real(self, *arguments)

    monkeypatch.setattr(Run, "_step", spoilt)
    said = refused(capsys, "train", "acmix_tiny", "--data", images, "--out", tmp_path / "run", *QUICK)
    assert "loss is not finite any more in epoch 2, batch 1" in said and "1 complete epochs are saved" in said
    held = checkpoint.load(tmp_path / "run")
    assert held.epochs == 1 and all(np.isfinite(value).all() for value in held.weights.values())


def test_a_full_disk_ends_the_run_and_keeps_what_was_saved(images, tmp_path, capsys, monkeypatch):
    real, calls = os.fsync, []

    def full(handle):
        calls.append(1)
        if len(calls) > 7:      # a save flushes three files and the folder after each
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    said = refused(capsys, "train", "acmix_tiny", "--data", images, "--out", tmp_path / "run", *QUICK)
    assert "epoch 2 cannot be saved in" in said and "No space left on device; 1 complete epochs are saved" in said
    assert checkpoint.load(tmp_path / "run").epochs == 1


def test_a_damaged_checkpoint_is_refused_by_train_and_predict(trained, tmp_path, capsys):
    damaged = tmp_path / "run"
    damaged.mkdir()
    for name, content in contents(trained / "run").items():
        (damaged / name).write_bytes(content[:-9] if name.startswith("weights") else content)
    before = contents(damaged)
    for command in (["train", "acmix_tiny", "--resume", "--no-pictures", "--out", damaged], ["predict", damaged, "a.png"]):
        assert "is damaged: weights-0002.safetensors is not the file that was written" in refused(capsys, *command)
    assert contents(damaged) == before


# Predict.


def test_predict_names_classes_as_the_model_does(trained, capsys):
    files = sorted((trained / "images").rglob("*.png"))[::6]
    capsys.readouterr()
    assert cli.main(["predict", str(trained / "run"), *map(str, files), "--json", "--top", "2"]) == 0
    said = json.loads(capsys.readouterr().out)
    held = predict.load(trained / "run")
    assert held.classes == ("leaning", "lying", "upright")
    for answer, file in zip(said, files, strict=True):
        logits, _ = held.model.forward(held.read(file))
        p = np.exp(logits[0].astype(float))
        best = int(logits[0].argmax())
        assert answer["image"] == str(file) and len(answer["classes"]) == 2 and answer["classes"][0]["name"] == held.classes[best]
        assert answer["classes"][0]["probability"] == pytest.approx(p[best] / p.sum(), rel=1e-6)
    assert cli.main(["predict", str(trained / "run" / "checkpoint.json"), str(files[0])]) == 0
    assert "%  l" in capsys.readouterr().out


def test_predict_sees_what_training_saw(trained):
    held = predict.load(trained / "run")
    file = trained / "images" / "lying" / "005.png"
    x = held.read(file)
    assert x.shape == (1, 3, 16, 16) and np.abs(held.shown(x) * 255 - stripes(5).pixels[5]).max() < 1e-3
    assert np.abs(held.shown(held.read(file, invert=True)) + held.shown(x) - 1).max() < 1e-5


def test_predict_draws_where_the_model_looked(trained, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = trained / "images" / "lying" / "005.png"
    other = tmp_path / "005.png"
    other.write_bytes(file.read_bytes())
    assert cli.main(["predict", str(trained / "run"), str(file), str(other), "--explain", "attention", "--out", str(tmp_path / "out")]) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["005-attention-2.png", "005-attention.png"]
    assert str(tmp_path / "out" / "005-attention.png") in capsys.readouterr().out


def test_predict_refuses(trained, tmp_path, capsys):
    file = trained / "images" / "lying" / "005.png"
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "bad.safetensors").write_bytes(b"no arrays")
    safetensors.write({"a": np.ones(1)}, tmp_path / "odd.safetensors")
    run = trained / "run"
    assert "no such image file" in refused(capsys, "predict", run, file, tmp_path / "none.png")
    assert "cannot be read as an image" in refused(capsys, "predict", run, tmp_path / "bad.png")
    assert "--top must be at least 1" in refused(capsys, "predict", run, file, "--top", 0)
    assert "--explain must be one of attention" in refused(capsys, "predict", run, file, "--explain", "magic")
    assert "holds no run" in refused(capsys, "predict", tmp_path, file)
    assert "it is not there" in refused(capsys, "predict", tmp_path / "none", file)
    assert "not a readable safetensors file" in refused(capsys, "predict", tmp_path / "bad.safetensors", file)
    assert "does not say which model it belongs to (no 'model')" in refused(capsys, "predict", tmp_path / "odd.safetensors", file)


def test_predict_takes_a_converted_file(tmp_path, trained, capsys):
    model = build("acmix_tiny", num_classes=2, seed=3)
    noted = {"model": "acmix_tiny", "image_size": "32", "num_classes": "2", "classes": '["no", "yes"]'}
    safetensors.save(model, tmp_path / "net.safetensors", noted)
    file = trained / "images" / "lying" / "005.png"
    assert cli.main(["predict", str(tmp_path / "net.safetensors"), str(file), "--json"]) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)[0]["classes"]} == {"no", "yes"}
    for change, message in (({"num_classes": "3"}, "2 names for 3 classes"), ({"num_classes": "x"}, "invalid literal"),
                            ({"num_classes": "3", "classes": '["a", "b", "c"]'}, "does not fit its model"),
                            ({"model": "acmix_swin_t"}, "cannot be built for images of 32 pixels")):
        safetensors.save(model, tmp_path / "odd.safetensors", noted | change)
        assert message in refused(capsys, "predict", tmp_path / "odd.safetensors", file)


# Convert, as far as it needs no PyTorch.


def test_convert_refuses_before_it_loads(tmp_path, capsys, monkeypatch):
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    there = tmp_path / "there.safetensors"
    assert "exists; name another file, or replace it by --force" in refused(capsys, "convert", "acmix_tiny", "x.pth", there)
    assert "there is no folder" in refused(capsys, "convert", "acmix_tiny", "x.pth", tmp_path / "none" / "x.safetensors")
    assert "no model named" in refused(capsys, "convert", "nothing", "x.pth", tmp_path / "x.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "need the package `torch`" in refused(capsys, "convert", "acmix_tiny", "x.pth", tmp_path / "x.safetensors")
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine" and os.listdir(tmp_path) == ["there.safetensors"]
