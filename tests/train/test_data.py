"""Data sets: what is read, what is refused, and how it is split, scaled and put in order."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from train.synthetic import CLASSES, stripes, write_folder

from pyhybrid.errors import UsageError
from pyhybrid.train import data
from pyhybrid.train.data import Scaling, batches, folder, split


def test_digits_are_the_ones_of_the_library():
    held = pytest.importorskip("sklearn.datasets").load_digits()
    small = data.load("digits", 8)
    assert small.pixels.shape == (1797, 3, 8, 8) and small.classes == tuple("0123456789")
    assert (small.pixels[:, 0] == np.rint(held.images * 255 / 16)).all() and (small.pixels[:, 1] == small.pixels[:, 2]).all()
    assert (small.labels == held.target).all()
    large = data.digits(16)
    assert large.pixels.shape == (1797, 3, 16, 16)
    assert np.abs(large.pixels[:, 0].mean((1, 2)) - small.pixels[:, 0].mean((1, 2))).max() < 4


def test_a_folder_is_read_class_by_class_in_order(tmp_path):
    pytest.importorskip("PIL")
    images = stripes(3)
    root = write_folder(tmp_path / "images", images)
    (root / "upright" / "notes.txt").write_text("not an image")
    (root / ".hidden").mkdir()
    found = data.load(str(root), 16)
    assert found.classes == tuple(sorted(CLASSES))
    for label, name in enumerate(found.classes):
        assert (found.pixels[found.labels == label] == images.pixels[images.labels == CLASSES.index(name)]).all()
    assert found.digest() == data.load(str(root), 16).digest()


def test_the_digest_sees_pixels_labels_names_and_order():
    images = stripes(2)
    other = images.pixels.copy()
    other[3, 1, 2, 0] ^= 1
    changed = [
        images._replace(pixels=other), images._replace(labels=images.labels[::-1]), images._replace(classes=("a", "b", "c")),
        images.subset(np.array([1, 0, 2, 3, 4, 5])), images.subset(np.arange(5))]
    assert len({images.digest(), *(each.digest() for each in changed)}) == 6
    assert images.digest() == images._replace(pixels=np.asfortranarray(images.pixels), labels=images.labels.astype(np.int32)).digest()


def test_folders_that_cannot_be_learnt_from_are_refused(tmp_path):
    pytest.importorskip("PIL")
    for path, message in ((tmp_path / "nowhere", "is not there"), (__file__, "is a file")):
        with pytest.raises(UsageError, match=message):
            folder(path, 16)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="at least two classes; it has none"):
        folder(empty, 16)
    one = write_folder(tmp_path / "one", stripes(2).subset(np.arange(2)))
    with pytest.raises(UsageError, match="at least two classes; it has only one, 'upright'"):
        folder(one, 16)
    (one / "bare").mkdir()
    with pytest.raises(UsageError, match=r"has fewer in 'bare' \(0\)"):
        folder(one, 16)
    broken = write_folder(tmp_path / "broken", stripes(2))
    (broken / "lying" / "zzz.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(UsageError, match=r"lying.zzz\.png cannot be read as an image"):
        folder(broken, 16)


@given(st.integers(2, 40), st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 1000))
@example(2, 3, 0.99, 0)
@example(2, 3, 0.01, 0)
def test_a_split_takes_the_share_of_every_class_and_loses_nothing(first, second, share, seed):
    count = first + second
    images = data.Images(np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1), np.repeat([0, 1], [first, second]), ("a", "b"))
    trained, held = split(images, share, seed)
    assert sorted([*trained.pixels.ravel(), *held.pixels.ravel()]) == list(range(count))
    for label, size in ((0, first), (1, second)):
        out = int((held.labels == label).sum())
        assert 1 <= out < size and (abs(out - share * size) <= 0.5 or out in (1, size - 1))
    again, _ = split(images, share, seed)
    assert (again.pixels == trained.pixels).all()


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 99))
def test_batches_are_whole_and_no_image_comes_twice(count, size, seed):
    found = list(batches(count, size, np.random.default_rng(seed)))
    seen = np.concatenate(found)
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(count))
    assert len(found) == max(1, count // size) and all(len(batch) == min(size, count) for batch in found)


def test_scaled_pixels_have_mean_0_and_deviation_1():
    pixels = stripes(4).pixels.copy()
    pixels[:, 2] = 51
    scaling = Scaling.of(pixels)
    x = scaling.apply(pixels.astype(np.float32) / np.float32(255))
    assert x.dtype == np.float32 and np.allclose(x.mean((0, 2, 3)), 0, atol=1e-5) and np.allclose(x[:, :2].std((0, 2, 3)), 1, atol=1e-5)
    direct = pixels / 255.0
    assert np.allclose(scaling.mean, direct.mean((0, 2, 3)), rtol=1e-12)
    assert np.allclose(scaling.std[:2], direct.std((0, 2, 3))[:2], rtol=1e-12)
    assert scaling.std[2] == 1.0
