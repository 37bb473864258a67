from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from scorefield.data.readers.pictures import formats, read_picture, stack_pictures, suffixes
from tests.refusal import fails, refused

RED = (255, 0, 0)


def png(picture: Image.Image, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def read(source: Path | bytes, size: int | None = None, channels: int | None = None) -> np.ndarray:
    return read_picture(source, size, channels).levels


def test_rgb_is_read_bit_for_bit_in_channel_order():
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(read(png(Image.fromarray(colours))), colours)


def test_grey_stays_grey_and_one_bit_is_black_and_white():
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(read(png(Image.fromarray(levels))), levels)
    picture = Image.new("1", (2, 1))
    picture.putpixel((1, 0), 1)
    assert read(png(picture)).tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_fixed_range_are_refused(tmp_path, mode):
    file = tmp_path / "wide.tiff"
    Image.new(mode, (2, 2), 70000).save(file)
    with pytest.raises(ValueError, match="no fixed range"):
        read(file)


def test_palette_becomes_its_colours():
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.putpixel((1, 0), 1)
    assert read(png(picture)).tolist() == [[[0, 0, 0], [10, 200, 30]]]


def test_alpha_is_laid_on_white():
    picture = Image.new("RGBA", (3, 1))
    for column, alpha in enumerate((0, 51, 255)):
        picture.putpixel((column, 0), (255, 0, 0, alpha))
    # 255 * (1 - 51/255) = 204
    assert read(png(picture)).tolist() == [[[255, 255, 255], [255, 204, 204], [255, 0, 0]]]
    grey = Image.new("LA", (2, 1), (0, 0))
    grey.putpixel((1, 0), (40, 255))
    assert read(png(grey)).tolist() == [[255, 40]]


@pytest.mark.parametrize(
    "mode, colour, transparency, expected",
    [
        ("P", 1, 1, [255, 255, 255]),
        ("L", 7, 7, 255),
        ("RGB", RED, RED, [255, 255, 255]),
        ("P", 1, bytes([255, 0]), [255, 255, 255]),
    ],
)
def test_a_transparent_colour_becomes_white(mode, colour, transparency, expected):
    picture = Image.new(mode, (1, 1), colour)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 0, 0])
    assert read(png(picture, transparency=transparency))[0, 0].tolist() == expected


def test_cmyk_becomes_rgb(tmp_path):
    file = tmp_path / "print.tiff"
    Image.new("CMYK", (1, 1), (0, 255, 255, 0)).save(file)
    assert read(file).tolist() == [[[255, 0, 0]]]
    jpeg = tmp_path / "print.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(jpeg, quality=100)
    assert np.abs(read(jpeg)[8, 8].astype(int) - RED).max() <= 3  # JPEG is lossy


def corner_marked() -> Image.Image:
    """6 wide, 4 high, black, with a red top left corner and a green top right one."""
    picture = Image.new("RGB", (6, 4))
    picture.putpixel((0, 0), RED)
    picture.putpixel((5, 0), (0, 255, 0))
    return picture


# Orientation k says which turn displays the stored picture; storing applies its inverse.
STORED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.mark.parametrize("orientation, turn", STORED.items())
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation, turn, kind, tmp_path):
    shown = corner_marked()
    stored = shown if turn is None else shown.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"turned.{kind.lower()}"
    stored.save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(read(file), np.asarray(shown))


def test_size_keeps_the_middle_square():
    picture = Image.new("RGB", (90, 30), (0, 0, 255))
    ImageDraw.Draw(picture).rectangle((30, 0, 59, 29), fill=RED)
    out = read(png(picture), size=10)
    two_steps = picture.resize((30, 10), Image.Resampling.LANCZOS).crop((10, 0, 20, 10))
    assert np.array_equal(out, np.asarray(two_steps))
    assert (out[:, 3:7] == RED).all()  # Lanczos reaches 3 pixels in from the blue sides


def check_antialiased(shrink: Callable[[np.ndarray], np.ndarray]) -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    out = shrink(board.astype(np.uint8)).astype(int)
    assert out.shape == (8, 8)
    assert np.abs(out - 127.5).max() < 2  # one-pixel checks average to grey


def test_shrinking_is_antialiased():
    check_antialiased(lambda board: read(png(Image.fromarray(board)), size=8))
    fails("", check_antialiased, lambda board: board[::8, ::8])


def test_a_picture_of_the_asked_size_is_untouched_and_a_small_one_enlarged():
    colours = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(read(png(Image.fromarray(colours)), size=8), colours)
    assert read(png(Image.new("L", (2, 3), 9)), size=8).tolist() == [[9] * 8] * 8


def test_reducing_a_jpeg_while_decoding_changes_it_little(tmp_path):
    y, x = np.mgrid[:600, :800]
    smooth = np.stack([x / 800 * 255, y / 600 * 255, 128 + 100 * np.sin(x / 40)], axis=-1)
    file = tmp_path / "photo.jpg"
    Image.fromarray(smooth.astype(np.uint8)).save(file, quality=95, subsampling=0)
    whole = Image.open(file).convert("RGB")
    square = whole.resize((32, 32), Image.Resampling.LANCZOS, box=(100, 0, 700, 600))
    gap = np.abs(read(file, size=32).astype(int) - np.asarray(square).astype(int))
    # The DCT of a block is averaged instead of its pixels: a few levels of 255 at most.
    assert gap.max() <= 6
    assert gap.mean() < 1


def test_channels_force_grey_or_rgb_and_a_colour_profile_does_no_harm():
    assert read(png(Image.new("RGB", (1, 1), RED)), channels=1).tolist() == [[76]]  # ITU-R 601
    assert read(png(Image.new("L", (1, 1), 5)), channels=3).tolist() == [[[5, 5, 5]]]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read(png(Image.new("RGB", (1, 1), RED), icc_profile=profile)).tolist() == [[list(RED)]]


def test_postscript_is_not_run():
    file = BytesIO()
    Image.new("RGB", (2, 2)).save(file, "EPS")
    with pytest.raises(OSError, match="cannot identify"):
        read(file.getvalue())
    assert "EPS" not in formats()
    assert ".eps" not in suffixes()
    assert {".png", ".jpg", ".jpeg", ".webp", ".tiff", ".gif", ".bmp"} <= suffixes()


def test_one_colour_picture_makes_all_rgb_and_the_rest_grey_triples():
    sources = [("a", png(Image.new("L", (2, 2), 9))), ("b", png(Image.new("RGB", (2, 2), RED)))]
    x, kept, full, _ = stack_pictures(sources, 2, None, None, "here")
    assert ((x.dtype, full), x.shape, kept.tolist()) == ((np.uint8, 255), (2, 3, 2, 2), [0, 1])
    assert x[:, :, 0, 0].tolist() == [[9, 9, 9], [255, 0, 0]]


def test_all_grey_is_one_contiguous_channel():
    x, *_ = stack_pictures([("a", png(Image.new("L", (2, 2), 9)))] * 3, 3, None, None, "here")
    assert x.shape == (3, 1, 2, 2)
    assert x.flags.c_contiguous
    assert x.base is None  # not a view that keeps three channels alive


def test_order_survives_the_threads():
    sources = [(str(i), png(Image.new("L", (1 + i % 3, 1 + i % 3), i % 256))) for i in range(1500)]
    x, kept, *_ = stack_pictures(sources, 1500, 1, None, "here")
    assert x.flatten().tolist() == [i % 256 for i in range(1500)]
    assert kept.tolist() == list(range(1500))


def test_impossible_sizes_and_channels():
    refused("`data.size`", stack_pictures, [], 0, 0, None, "here")
    refused("`data.channels`", stack_pictures, [], 0, 8, 2, "here")
