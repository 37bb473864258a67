"""Every verb works for each kind of sample, or says in one sentence why not."""

from pathlib import Path

import numpy as np
import pytest

from scorefield.cli import main
from scorefield.data.kind import KINDS

SHAPES = {"vector": (6,), "series": (2, 12), "picture": (1, 8, 8), "volume": (1, 5, 4, 6)}
VERBS = """
sample RUN --n 3 --out s.png
sample RUN --n 3 --out s.npz
sample RUN --n 2 --out s.gif
sample RUN --n 2 --out folder
edit RUN --input test:0 --n 2 --out e.png
edit RUN --input test:0 --mask MASK --n 2 --steps 6 --out e.npz
interpolate RUN --from test:0 --to test:1 --between 1 --out i.png
encode RUN --input ONE --out z.npz
restore RUN --operator random:.5 --input test:0 --n 2 --steps 3 --out r
restore RUN --operator pool:2 --input test:0 --n 2 --steps 3 --out q
anagram RUN --views identity,flip --labels 0,1 --out a.png
compare RUN --solvers ddim --steps 2 --n 4 --out c
eval RUN --n 20
likelihood RUN --n 2 --steps 3
fit-grid RUN --steps 2 --solver ddim --rounds 1 --starts 16
train-classifier RUN --images 64
distill RUN --method consistency --images 32 --out student
report RUN
"""
CANNOT = {
    "vector": {"sample folder": "for single pictures", "restore pool:2": "is of pictures",
               "anagram": "views are of pictures"},
    "series": {"anagram": "views are of pictures"},
    "picture": {},
    "volume": {"restore pool:2": "do not tile a volume", "anagram": "views are of pictures"},
}  # fmt: skip
"""What a kind is refused, and why."""


def key_of(words: list[str]) -> str:
    return next((f"{words[0]} {w}" for w in words if w in ("folder", "pool:2")), words[0])


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_verb_for_every_kind(kind, tmp_path, monkeypatch, cli, refused):
    monkeypatch.chdir(tmp_path)
    rng, shape = np.random.default_rng(0), SHAPES[kind]
    x = rng.normal(size=(40, *shape)).astype("f4")
    np.savez("x.npz", x=x, y=np.arange(40) % 2)
    np.savez("one.npz", x=x[:1])
    np.save("mask.npy", np.arange(np.prod(shape[1:] or shape)).reshape(shape[1:] or shape) % 2)
    monkeypatch.setattr("scorefield.use.judge.SEEN", 100)
    short = ["--batch", "16", "--images", "32", "--checkpoint-every", "32", "--sample.steps", "2"]
    net = "auto:width=8,blocks=1" + ",multipliers=1" * (kind != "vector")
    words = ["--data.path", "x.npz", "--out", "run", *short, "--net", net]
    assert main(["train", "npz", *words]) == 0
    left = dict(CANNOT[kind])
    for line in VERBS.strip().splitlines():
        stand_for = {"RUN": "run", "MASK": "mask.npy", "ONE": "one.npz"}
        words = [stand_for.get(word, word) for word in line.split()]
        if says := left.pop(key_of(words), None):
            assert says in refused(*words), line
            continue
        code, _, err = cli(*words)
        assert code == 0, (line, err)
    assert not left
    assert Path("s.gif").stat().st_size > 100
    assert np.load("s.npz")["x"].shape[1:] == shape
