"""Pictures of more than 8 bits: their own levels, one scale for a whole set, nothing lost."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.base import BadInput
from scorefield.data import Data, Scaling, load
from scorefield.data.readers.given import input_picture
from scorefield.data.readers.pictures import Picture, read_picture, stack_pictures
from scorefield.likelihood.cells import cell_of
from tests.refusal import fails

RNG = np.random.default_rng(0)


def png16(levels: np.ndarray, transparent: int | None = None) -> bytes:
    """A PNG of 16 bits of (H, W, C) levels, 1 to 4 channels, of which Pillow writes 1 alone; one
    grey level may be transparent."""
    height, width, bands = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[bands - 1], 0, 0, 0)
    clear = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    tail = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + clear + tail


def tiff16(levels: np.ndarray, order: str, zipped: bool, photometric: int = 2) -> bytes:
    """A TIFF of 16 bits of (H, W, C) levels."""
    height, width, bands = levels.shape
    pixels = levels.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if zipped else pixels
    at = 8 + 2 + 12 * 10 + 4
    bits = at if bands > 2 else 16
    tags = [(256, width), (257, height), (258, bits), (259, 8 if zipped else 1)]
    tags += [(262, photometric), (273, at + 2 * bands), (277, bands), (278, height)]
    tags += [(279, len(pixels)), (284, 1)]
    wide = (273, 279)
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, value in tags:
        count = bands if tag == 258 else 1
        kind = "I" if tag in wide or (tag == 258 and bands > 2) else "H"
        code = 4 if tag in wide else 3
        out += struct.pack(f"{order}HHI", tag, code, count)
        out += struct.pack(f"{order}{kind}", value).ljust(4, b"\0")
    return out + bytes(4) + struct.pack(f"{order}{bands}H", *[16] * bands) + pixels


def grey(levels: object) -> bytes:
    return png16(np.asarray(levels, np.uint16)[..., None])


def shallow(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def stack(*files: bytes, size: int | None = None, channels: int | None = None):
    sources = [(str(i), file) for i, file in enumerate(files)]
    return stack_pictures(sources, len(files), size, channels, "here")


# -- every level survives


Read = Callable[[bytes], np.ndarray]


def levels_law(read: Read) -> None:
    """Levels of a 12-bit scan come back, all of them, grey and in colour."""
    for bands in (1, 3):
        levels = RNG.integers(0, 4096, (9, 7, bands))
        assert np.array_equal(read(png16(levels)).reshape(levels.shape), levels)


def test_every_level_of_a_png_is_read():
    levels_law(lambda file: read_picture(file, None, None).levels)


def by_257(file: bytes) -> np.ndarray:
    return (read_picture(file, None, None).levels + 128) // 257


def as_pillow(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(file)))


@pytest.mark.parametrize("defect", [by_257, as_pillow])
def test_twin_17_levels_or_the_high_bytes_are_caught(defect):
    fails("", levels_law, defect)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("bands", [1, 3])
def test_every_level_of_a_tiff_is_read(order, zipped, bands):
    levels = RNG.integers(0, 65536, (5, 6, bands))
    found = read_picture(tiff16(levels, order, zipped, 1 if bands == 1 else 2), None, None)
    assert np.array_equal(found.levels.reshape(levels.shape), levels)


def test_a_negative_tiff_is_turned_to_black_on_white():
    levels = np.array([[[0], [65535], [100]]])
    found = read_picture(tiff16(levels, "<", False, photometric=0), None, None)
    assert found.levels.tolist() == [[65535, 0, 65435]]


def test_shades_between_the_levels_of_8_bits_survive_resizing():
    ramp = np.tile(np.linspace(2000, 2100, 64).round(), (64, 1))
    small = read_picture(grey(ramp), 16, None)
    assert len(np.unique(np.rint(small.levels))) == 16
    assert small.levels.max() <= 2100  # Lanczos does not make a brighter white


def test_grey_and_colour_are_made_of_each_other_without_loss():
    colour = RNG.integers(0, 65536, (4, 4, 3))
    found = read_picture(png16(colour), None, 1).levels
    np.testing.assert_allclose(found, colour @ [0.299, 0.587, 0.114], rtol=1e-6)
    assert read_picture(grey([[7, 300]]), None, 3).levels.tolist() == [[[7] * 3, [300] * 3]]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_as_its_exif_says(tmp_path, orientation):
    levels = RNG.integers(0, 4096, (4, 6)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(levels).save(tmp_path / "a.png", exif=exif)
    quarter = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    shown = read_picture(tmp_path / "a.png", None, None).levels
    assert np.array_equal(shown, np.rot90(levels, quarter))


# -- one scale for the whole set


@pytest.mark.parametrize(
    "peak, full",
    [(255, 255), (256, 1023), (1023, 1023), (3071, 4095), (9000, 16383), (65535, 65535)],
)
def test_the_largest_level_of_the_set_says_how_many_bits(peak, full):
    x, _, white, _ = stack(grey([[0, 5]]), grey([[peak, 1]]))
    assert (white, x[:, 0, 0].tolist()) == (full, [[0, 5], [peak, 1]])
    assert x.dtype == (np.uint8 if full == 255 else np.int32)


def test_pictures_of_8_bits_beside_deep_ones_keep_their_black_and_white():
    shades = Image.fromarray(np.array([[0, 255]], np.uint8))
    x, _, full, _ = stack(shallow(shades), grey([[3, 3000]]))
    assert (full, x[:, 0, 0].tolist()) == (4095, [[0, 4095], [3, 3000]])


def test_the_size_asked_for_does_not_change_the_scale():
    dot = np.zeros((32, 32))
    dot[3, 5] = 4000
    assert stack(grey(dot)).full == stack(grey(dot), size=4).full == 4095


def test_transparency_is_laid_on_the_white_of_the_set():
    pixels = np.array([[[900, 65535], [40000, 0], [800, 32768]]])
    x, _, full, _ = stack(png16(pixels), grey([[0, 0, 4000]]))
    assert full == 4095  # hidden levels do not count
    half = 32768 / 65535
    assert x[0, 0, 0].tolist() == [900, 4095, round(800 * half) + round(4095 * (1 - half))]


def test_a_transparent_level_of_16_bits_is_white():
    file = png16(np.array([[[300], [301]]]), transparent=300)
    assert stack(file).x[0, 0, 0].tolist() == [1023, 301]


def test_depth_that_is_lost_is_said():
    ppm = b"P6 2 1 4095\n" + np.array([0, 1, 100, 4095, 2000, 15], ">u2").tobytes()
    with pytest.warns(UserWarning, match="1 of the pictures in here have colours of more than 8"):
        assert stack(ppm).x.dtype == np.uint8


@pytest.mark.parametrize("kind, deep", [("GIF", False), ("PNG", False), ("TIFF", True)])
def test_frames_that_are_not_read_are_said(tmp_path, kind, deep):
    dtype = np.uint16 if deep else np.uint8
    frames = [Image.fromarray(np.full((4, 4), 40 * k + 9, dtype)) for k in range(3)]
    file = tmp_path / f"scan.{kind.lower()}"
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="1 of the pictures in here have several frames.*: scan"):
        found = stack_pictures([("scan", file)], 1, None, None, "here")
    assert found.x[0, 0, 0, 0] == 9
    with pytest.warns(UserWarning, match="`input` .* has several frames, of which the first"):
        input_picture(file, (1, 4, 4))


def folder_of(place: Path, peak: int, count: int = 6) -> Data:
    place.mkdir()
    for i in range(count):
        levels = np.random.default_rng(i).integers(0, peak + 1, (8, 8))
        levels[0, 0] = peak
        (place / f"{i}.png").write_bytes(grey(levels))
    return load(str(place))


def range_law(data: Data, full: int) -> None:
    """Black is -1 and the white of the bits 1, and no two levels are taken for one."""
    x0, _ = data.batch(data.train, torch.arange(len(data.train)))
    assert data.scaling == Scaling.range(0, full)
    assert len(x0.unique()) == len(data.train.x.unique()) > 200
    assert float(x0.max()) == pytest.approx(2 * int(data.train.x.max()) / full - 1, abs=1e-6)
    back = data.scaling.decode(x0).round().int()
    assert torch.equal(back, data.train.x.int())


@pytest.mark.parametrize("peak, full", [(4095, 4095), (1000, 1023)])
def test_a_folder_of_scans_fills_the_range(tmp_path, peak, full):
    data = folder_of(tmp_path / "scans", peak)
    range_law(data, full)
    assert cell_of(data) == 2 / full


def test_twin_a_fixed_range_fails(tmp_path):
    data = folder_of(tmp_path / "scans", 4095)
    wrong = Data(data.name, data.train, data.test, (), Scaling.range(0, 65535))
    fails("", range_law, wrong, 4095)


def test_hugging_face_has_the_same_rule(tmp_path):
    hf = pytest.importorskip("datasets")
    pictures = [Image.fromarray(RNG.integers(0, 4096, (8, 8)).astype(np.uint16)) for _ in range(6)]
    rows = hf.Dataset.from_dict({"image": pictures}, features=hf.Features({"image": hf.Image()}))
    rows.save_to_disk(tmp_path / "saved")
    range_law(load("huggingface", path=str(tmp_path / "saved")), 4095)


# -- a picture for a run


def test_an_input_has_the_map_of_the_run(tmp_path):
    (tmp_path / "dark.png").write_bytes(grey([[0, 900], [900, 450]]))
    x0 = input_picture(tmp_path / "dark.png", (1, 2, 2), scaling=Scaling.range(0, 4095))
    assert x0[0, 0, 0, 1].item() == pytest.approx(2 * 900 / 4095 - 1)


def test_an_input_of_8_bits_keeps_its_black_and_white(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "a.png")
    x0 = input_picture(tmp_path / "a.png", (1, 1, 2), scaling=Scaling.range(0, 4095))
    assert x0.flatten().tolist() == [-1, 1]


def test_a_deep_input_to_a_run_of_8_bits_has_its_own_white_which_is_said(tmp_path):
    (tmp_path / "scan.png").write_bytes(grey([[0, 3000]]))
    with pytest.warns(UserWarning, match=r"levels up to 3000: 0\.\.4095 are taken as black"):
        x0 = input_picture(tmp_path / "scan.png", (1, 1, 2))
    assert x0.flatten().tolist() == pytest.approx([-1, 2 * 3000 / 4095 - 1])


def test_an_input_of_more_bits_than_the_run_is_refused(tmp_path):
    (tmp_path / "scan.png").write_bytes(grey([[0, 60000]]))
    with pytest.raises(BadInput, match="levels up to 60000, the run's data go to 4095"):
        input_picture(tmp_path / "scan.png", (1, 1, 2), scaling=Scaling.range(0, 4095))


def test_a_picture_without_a_range_says_why(tmp_path):
    Image.new("F", (2, 2), 0.5).save(tmp_path / "float.tiff")
    with pytest.raises(BadInput, match="floating-point pixels have no fixed range"):
        input_picture(tmp_path / "float.tiff", (1, 2, 2))


def test_levels_of_a_picture_are_whole():
    assert Picture(np.array([[0.4, 300.6]], np.float32), 301).on(1023).tolist() == [[0, 301]]
