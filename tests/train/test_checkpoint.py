"""Checkpoints: complete, compared byte by byte, and never half written, whenever the process ends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from train.synthetic import example

import pyhybrid
from pyhybrid.errors import UsageError
from pyhybrid.train import checkpoint
from pyhybrid.train.checkpoint import FILE

pytest.importorskip("safetensors.numpy")


def consistent(held):
    """Whether all parts are of one epoch."""
    return {int(value.flat[0]) for value in held.weights.values()} == {held.epochs} and \
        held.optimiser["mean.layer.weight"][0, 0] == -held.epochs and int(held.optimiser["steps"]) == held.epochs


def test_everything_comes_back(tmp_path):
    written = example(2)
    checkpoint.save(tmp_path, written)
    held = checkpoint.load(tmp_path)
    assert checkpoint.exists(tmp_path) and not checkpoint.exists(tmp_path / "other")
    for name in ("settings", "classes", "scaling", "digest", "backend", "history"):
        assert getattr(held, name) == getattr(written, name), name
    for kind in ("weights", "optimiser"):
        found, expected = getattr(held, kind), getattr(written, kind)
        assert found.keys() == expected.keys()
        assert all(found[name].dtype == value.dtype and (found[name] == value).all() for name, value in expected.items())


def test_the_next_epoch_replaces_the_files_and_unfinished_ones(tmp_path):
    checkpoint.save(tmp_path, example(1))
    for left in (f".{FILE}.0a1b", ".weights-0002.safetensors.77", "weights-0009.safetensors"):
        (tmp_path / left).write_bytes(b"left by a process that was killed")
    (tmp_path / "notes.txt").write_text("mine")
    checkpoint.save(tmp_path, example(2))
    assert sorted(os.listdir(tmp_path)) == [FILE, "notes.txt", "optimiser-0002.safetensors", "weights-0002.safetensors"]
    assert consistent(checkpoint.load(tmp_path))


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "no space left on device"), KeyboardInterrupt()], ids=["full disk", "interrupt"])
def test_a_save_that_fails_anywhere_leaves_a_whole_checkpoint(tmp_path, monkeypatch, name, error):
    """The call is made to fail at its first, second, … use, until a save passes."""
    real = getattr(os, name)
    for failing in range(20):
        calls = iter(range(1000))

        def fails(*args, failing=failing, calls=calls):
            if next(calls) == failing:
                raise error
            return real(*args)

        checkpoint.save(tmp_path, example(1))
        with monkeypatch.context() as patched:
            patched.setattr(os, name, fails)
            try:
                checkpoint.save(tmp_path, example(2))
                assert failing >= 3, "nothing failed"
                break
            except type(error):
                pass
        held = checkpoint.load(tmp_path)
        assert consistent(held) and held.epochs in (1, 2)
        assert not [left for left in os.listdir(tmp_path) if left.startswith(".")]
    assert consistent(checkpoint.load(tmp_path)) and checkpoint.load(tmp_path).epochs == 2


WRITER = """
import sys
import itertools
from pyhybrid.train import checkpoint
from train.synthetic import example
checkpoint.save(sys.argv[1], example(1))
print("ready", flush=True)
for epoch in itertools.count(2):
    checkpoint.save(sys.argv[1], example(epoch))
"""


def test_a_killed_process_leaves_a_whole_checkpoint(tmp_path):
    places = [str(Path(__file__).parents[1]), str(Path(pyhybrid.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    last = 0
    for turn in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], env=env, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.03 * turn)
        child.kill()
        child.wait()
        child.stdout.close()
        held = checkpoint.load(tmp_path)
        assert consistent(held) and held.epochs >= 1
        last = max(last, held.epochs)
    assert last > 1, "the child never came past its first save: nothing was tested"


DAMAGE = {
    "no json": lambda folder, record: (folder / FILE).write_bytes(b"{"),
    "not text": lambda folder, record: (folder / FILE).write_bytes(b"\xff\xfe\x00"),
    "a list": lambda folder, record: (folder / FILE).write_text("[1]"),
    "a key is gone": lambda folder, record: (folder / FILE).write_text(json.dumps({k: v for k, v in record.items() if k != "scaling"})),
    "another format": lambda folder, record: (folder / FILE).write_text(json.dumps(record | {"format": 99})),
    "a setting is gone": lambda folder, record: (folder / FILE).write_text(json.dumps(record | {"settings": {"model": "x"}})),
    "a setting is wrong": lambda folder, record: (folder / FILE).write_text(
        json.dumps(record | {"settings": record["settings"] | {"batch": 0}})),
    "a file elsewhere": lambda folder, record: (folder / FILE).write_text(
        json.dumps(record | {"files": record["files"] | {"weights": {"file": "../x", "sha256": ""}}})),
    "a file is gone": lambda folder, record: (folder / "weights-0001.safetensors").unlink(),
    "a file is short": lambda folder, record: _edit(folder / "optimiser-0001.safetensors", lambda content: content[:-1]),
    "a bit has turned": lambda folder, record: _edit(
        folder / "weights-0001.safetensors", lambda content: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]),
}


def _edit(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_seen_and_named(tmp_path, what):
    checkpoint.save(tmp_path, example())
    DAMAGE[what](tmp_path, json.loads((tmp_path / FILE).read_text()))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"checkpoint\.json is damaged: "):
        checkpoint.load(tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(UsageError, match=r"holds no run: there is no checkpoint\.json"):
        checkpoint.load(tmp_path)
