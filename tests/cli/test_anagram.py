"""`scorefield anagram`: rows of views, and what it refuses."""

import json

import numpy as np
from PIL import Image


def test_a_row_for_each_view(cli, run, tmp_path):
    out = tmp_path / "a.png"
    words = ("--labels", "6,9", "--n", 3, "--steps", 2, "--out", out, "--json")
    code, said, err = cli("anagram", run, *words)
    assert code == 0, err
    told = json.loads(said)
    assert told["views"] == ["identity", "rot180"]
    assert told["labels"] == [6, 9]
    picture = Image.open(out)
    pixels = np.asarray(picture.convert("L"))
    assert pixels.shape == (2 * 116 + 8, 3 * 96 + 8)
    for left in (8, 104, 200):
        upright, turned = (pixels[top : top + 88, left : left + 88] for top in (8, 124))
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
    assert picture.size == (4 * 96 + 8, 3 * 116 + 8)
