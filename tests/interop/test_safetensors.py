"""safetensors files: complete, by name, all or nothing, and nothing lost when something goes wrong."""

import os
import sys

import numpy as np
import pytest

from pyhybrid.errors import UsageError
from pyhybrid.interop import safetensors
from pyhybrid.nn import StateDictError
from pyhybrid.papers.acmix import ResNet, SwinBlock

TINY = {"layers": (1,), "planes": (4,), "stem": 4, "k_att": 3, "head": 2, "num_classes": 3}
library = pytest.importorskip("safetensors.numpy")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_comes_back_bit_by_bit(tmp_path, dtype):
    first, second = ResNet(**TINY, dtype=dtype, seed=1), ResNet(**TINY, dtype=dtype, seed=2)
    first.train().forward(np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(dtype))
    safetensors.save(first, tmp_path / "net.safetensors", {"note": "of a test"})
    safetensors.load(second, tmp_path / "net.safetensors")
    for name, value in first.state_dict().items():
        loaded = second.state_dict()[name]
        assert loaded.dtype == value.dtype and (loaded == value).all(), name
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_buffers_of_a_swin_block_are_in_the_file(tmp_path):
    safetensors.save(SwinBlock(4, (4, 4), 2, 2, 1), tmp_path / "block.safetensors")
    held = safetensors.read(tmp_path / "block.safetensors")
    assert held["attn_mask"].shape == (4, 4, 4) and held["attn.relative_position_index"].dtype == np.int64


def test_half_precision_is_widened(tmp_path):
    half = {name: value.astype(np.float16) if value.dtype.kind == "f" else value for name, value in ResNet(**TINY).state_dict().items()}
    library.save_file(half, tmp_path / "half.safetensors")
    net = ResNet(**TINY, dtype=np.float32)
    safetensors.load(net, tmp_path / "half.safetensors")
    assert (net.state_dict()["fc.weight"] == half["fc.weight"].astype(np.float32)).all()


def test_a_file_of_another_model_lists_what_differs(tmp_path):
    safetensors.save(ResNet(**TINY), tmp_path / "net.safetensors")
    other = ResNet(**{**TINY, "layers": (2,)})
    before = other.state_dict()
    with pytest.raises(StateDictError, match=r"missing keys: layer1\.1\.conv1\.weight"):
        safetensors.load(other, tmp_path / "net.safetensors")
    assert all((before[name] == value).all() for name, value in other.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"no such format", b"\xff" * 64])
def test_damaged_files_are_errors(tmp_path, content):
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match="not a readable safetensors file"):
        safetensors.read(tmp_path / "bad.safetensors")


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "net.safetensors"
    safetensors.save(ResNet(**TINY), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UsageError):
        safetensors.load(ResNet(**TINY), path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    safetensors.save(ResNet(**TINY), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        safetensors.save(ResNet(**TINY, seed=9), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.safetensors"]


def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UsageError, match=r"pip install 'pyhybrid\[safetensors\]'"):
        safetensors.save(ResNet(**TINY), tmp_path / "net.safetensors")
