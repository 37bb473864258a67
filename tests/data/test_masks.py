"""Masks as people make them: white on black, 0 and 1, painted on a transparent layer, bools."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data.readers.given import input_picture
from scorefield.data.readers.masks import input_mask
from tests.refusal import fails, refused

HALF = np.arange(8)[:, None].repeat(8, 1) < 4
SHAPE = (1, 8, 8)


def grey(low: int, high: int, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.where(HALF, high, low).astype(dtype))


def one_bit() -> Image.Image:
    return grey(0, 255).convert("1")


def palette(*colours: int) -> Callable[[], Image.Image]:
    def make() -> Image.Image:
        indexed = Image.frombytes("P", (8, 8), grey(0, 1).tobytes())
        indexed.putpalette(colours)
        return indexed

    return make


def layer(colour: tuple[int, int, int], under: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """What an editor saves of strokes on a transparent layer."""
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., :3] = np.where(HALF[..., None], colour, under)
    rgba[..., 3] = 255 * HALF
    return Image.fromarray(rgba)


def opaque() -> Image.Image:
    """White on black with an alpha that hides nothing."""
    picture = grey(0, 255).convert("RGBA")
    picture.putalpha(255)
    return picture


def smooth() -> Image.Image:
    rows = np.array([255, 255, 255, 200, 50, 0, 0, 0], np.uint8)
    return Image.fromarray(rows[:, None].repeat(8, 1))


MASKS: dict[str, Callable[[], Image.Image]] = {
    "0 and 255": lambda: grey(0, 255), "0 and 1": lambda: grey(0, 1),
    "0 and 128": lambda: grey(0, 128), "1 bit": one_bit,
    "16 bits, 0 and 1": lambda: grey(0, 1, np.uint16),
    "16 bits, 0 and 4095": lambda: grey(0, 4095, np.uint16),
    "16 bits": lambda: grey(0, 65535, np.uint16),
    "palette, black and white": palette(0, 0, 0, 255, 255, 255),
    "palette, black and red": palette(0, 0, 0, 128, 0, 0),
    "palette, 0 and 1": palette(0, 0, 0, 1, 1, 1),
    "alpha, white strokes": lambda: layer((255, 255, 255)),
    "alpha, red strokes": lambda: layer((255, 0, 0)),
    "alpha, white under all": lambda: layer((255, 255, 255), (255, 255, 255)),
    "alpha that hides nothing": opaque,
    "grey and alpha": lambda: layer((255, 255, 255)).convert("LA"), "smooth edges": smooth,
}  # fmt: skip


def half_law(mask: torch.Tensor) -> None:
    assert mask.dtype == torch.bool
    assert np.array_equal(mask.numpy(), HALF)


@pytest.mark.parametrize("name", MASKS)
def test_the_marked_half_is_found(tmp_path, name):
    MASKS[name]().save(tmp_path / "mask.png")
    half_law(input_mask(tmp_path / "mask.png", SHAPE))


@pytest.mark.parametrize("name", ["alpha, white strokes", "0 and 1", "palette, black and red"])
def test_twin_lighter_than_middle_grey_on_white_fails(tmp_path, name):
    """As a picture is read: transparency white, levels of 0..255."""
    MASKS[name]().save(tmp_path / "mask.png")
    fails("", half_law, input_picture(tmp_path / "mask.png", SHAPE)[0, 0] > 0)


@pytest.mark.parametrize(
    "array", [HALF, HALF[None], HALF[..., None], HALF.astype(float), np.uint8(255) * HALF]
)
def test_arrays_of_bool_0_and_1_or_255(tmp_path, array):
    np.save(tmp_path / "mask.npy", array)
    half_law(input_mask(tmp_path / "mask.npy", SHAPE))
    for name in ("mask", "anything"):
        np.savez(tmp_path / "mask.npz", allow_pickle=False, **{name: array})
        half_law(input_mask(tmp_path / "mask.npz", SHAPE))


def test_everything_or_nothing(tmp_path):
    for name, value, all_marked in (("w", 255, True), ("one", 1, True), ("b", 0, False)):
        grey(value, value).save(tmp_path / f"{name}.png")
        assert bool(input_mask(tmp_path / f"{name}.png", SHAPE).all()) is all_marked


def test_a_larger_mask_of_0_and_1_is_resized_with_its_picture(tmp_path):
    large = HALF.repeat(4, 0).repeat(4, 1).astype(np.uint8)
    Image.fromarray(large).save(tmp_path / "mask.png")
    half_law(input_mask(tmp_path / "mask.png", SHAPE))


def test_a_mask_is_turned_as_its_picture_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.uint8(255) * np.rot90(HALF)).save(tmp_path / "mask.png", exif=exif)
    half_law(input_mask(tmp_path / "mask.png", SHAPE))


def photo_with_a_hole() -> Image.Image:
    rgba = np.random.RandomState(0).randint(0, 256, (8, 8, 4)).astype(np.uint8)
    rgba[..., 3] = 255 * HALF
    return Image.fromarray(rgba)


@pytest.mark.parametrize(
    "make, fact",
    [
        (photo_with_a_hole, "transparent parts beside dark ones"),
        (lambda: layer((0, 0, 0)), "transparent parts beside black ones"),
        (lambda: layer((255, 255, 255)).point(lambda v: 0), "transparent parts"),
        (lambda: grey(100, 100), "100 everywhere"),
        (lambda: grey(10, 20), "2 values from 10 to 20"),
        (lambda: Image.fromarray(np.arange(64).reshape(8, 8).astype(np.uint8) % 4), "4 values"),
    ],
)
def test_what_could_mean_either_is_one_sentence(tmp_path, make, fact):
    make().save(tmp_path / "mask.png")
    refused(f"`mask` .*{fact}.*Paint it in black", input_mask, tmp_path / "mask.png", SHAPE)


@pytest.mark.parametrize(
    "name, save, fact",
    [
        ("none.png", lambda path: None, "there is no such file"),
        ("text.png", lambda path: path.write_text("no"), "as a picture .no known picture format"),
        ("text.npy", lambda path: path.write_text("no"), "not a whole file of plain arrays"),
        ("a.npy", lambda path: np.save(path, np.zeros((4, 4), bool)), "4 x 4 pixels, not 8 x 8"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 8, 8))), r"shape \(2, 8, 8\)"),
        ("a.npy", lambda path: np.save(path, np.full((8, 8), np.nan)), "not finite"),
        ("a.npy", lambda path: np.save(path, np.full((8, 8), "a")), "type <U1"),
        ("a.npz", lambda path: np.savez(path, a=HALF, b=HALF), "holds a, b, and no array mask"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_mask(tmp_path, name, save, fact):
    save(tmp_path / name)
    refused(fact, input_mask, tmp_path / name, SHAPE)
