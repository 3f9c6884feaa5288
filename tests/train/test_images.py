"""Image files of many kinds as the same bytes."""

import numpy as np
import pytest

from pyhybrid.errors import UsageError
from pyhybrid.train.images import read_image

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_square_of_the_right_size_is_taken_as_it_is(tmp_path, colours):
    read = read_image(save(tmp_path / "a.png", colours), 6)
    assert read.shape == (3, 6, 6) and read.dtype == np.uint8 and (read == colours.transpose(2, 0, 1)).all()
    assert (read_image(tmp_path / "a.png", 6, invert=True) == 255 - read).all()


def test_the_middle_of_a_longer_side_is_cut_out(tmp_path, colours):
    wide = np.concatenate([np.zeros((6, 4, 3), np.uint8), colours, np.zeros((6, 4, 3), np.uint8)], 1)
    assert (read_image(save(tmp_path / "wide.png", wide), 6) == colours.transpose(2, 0, 1)).all()


def test_grey_levels_of_8_and_16_bits(tmp_path):
    grey = np.arange(36, dtype=np.uint8).reshape(6, 6) * 7
    assert (read_image(save(tmp_path / "8.png", grey), 6) == grey).all()
    assert (read_image(save(tmp_path / "16.png", grey.astype(np.uint16) * 257), 6) == grey).all()


def test_transparent_pixels_are_black_and_pictures_stand_upright(tmp_path, colours):
    clear = np.concatenate([colours, np.full((6, 6, 1), 255, np.uint8)], 2)
    clear[2, 3, 3] = 0
    read = read_image(save(tmp_path / "clear.png", clear), 6)
    assert (read[:, 2, 3] == 0).all() and (read[:, 0] == colours[0].T).all()
    exif = Image.Exif()
    exif[0x0112] = 6        # to be turned by a quarter clockwise
    read = read_image(save(tmp_path / "turned.png", colours, exif=exif), 6)
    assert (read == np.rot90(colours, -1).transpose(2, 0, 1)).all()


def test_shrinking_counts_every_pixel(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(read_image(save(tmp_path / "board.png", board), 8).astype(int) - 127).max() <= 2


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_files_that_are_no_images_are_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.png cannot be read as an image"):
        read_image(tmp_path / "bad.png", 8)
    with pytest.raises(UsageError, match=r"no such image file: .*none\.png"):
        read_image(tmp_path / "none.png", 8)


def test_a_truncated_file_is_an_error(tmp_path, colours):
    path = save(tmp_path / "cut.png", np.tile(colours, (9, 9, 1)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match="cannot be read"):
        read_image(path, 8)
