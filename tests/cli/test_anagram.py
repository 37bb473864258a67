"""`scorefield anagram`: rows of views, and what it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import refused_by

pytestmark = pytest.mark.slow


def test_a_row_for_each_view(cli, run, tmp_path):
    out = tmp_path / "a.png"
    words = ("--labels", "6,9", "--n", 3, "--steps", 2, "--out", out, "--json")
    code, said, err = cli("anagram", run, *words)
    assert code == 0, err
    told = json.loads(said)
    assert told["views"] == ["identity", "rot180"]
    assert told["labels"] == [6, 9]
    picture = Image.open(out)
    pixels = np.asarray(picture)
    pixels = pixels[:: len(pixels) // 19, :: len(pixels) // 19]  # undo the magnification
    assert pixels.shape == (19, 28)
    for left in (1, 10, 19):
        upright, turned = pixels[1:9, left : left + 8], pixels[10:18, left : left + 8]
        assert (turned == upright[::-1, ::-1]).all()
    code, _, err = cli("anagram", run, *words[:-1])
    assert code == 0, err
    assert Image.open(out).tobytes() == picture.tobytes()  # the same seeds


def test_parts_show_the_whole_first(cli, run, tmp_path):
    out = tmp_path / "h.png"
    code, _, err = cli(
        "anagram", run, "--views", "low:2,high:2", "--n", 4, "--steps", 2, "--out", out
    )
    assert code == 0, err
    picture = Image.open(out)
    assert picture.height / picture.width == pytest.approx(3 / 4, abs=0.02)


@pytest.mark.parametrize("words, said", refused_by("anagram", split=True))
def test_bad_input_is_one_sentence(refused, run, words, said):
    assert said in refused("anagram", run, *words)
