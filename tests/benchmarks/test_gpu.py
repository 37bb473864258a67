"""The script for a GPU, in small, on the processor: every part runs, and its page is whole."""

import argparse

from benchmarks import gpu


def test_everything_in_small(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "SMALL", gpu.Sizes(64, 1, 1, 4, 40, 1, 1.0))

    def beside(way: str, args: argparse.Namespace) -> gpu.Row:
        """In this process: another's imports take longer than all else here."""
        if way != "fp32":
            return {"left out": "not asked"}
        return gpu.peer_speed(gpu.prepared(args)[0], way, gpu.SMALL)

    monkeypatch.setattr(gpu, "peer", beside)
    found = gpu.main(["--small"])
    ours, theirs = found["training"][:2]
    assert (ours["who"], theirs["who"]) == ("scorefield", "diffusers' loop")
    for row in (ours, theirs, found["sampling"][0]):
        assert row["images_per_second"] > 0
        assert row["of_peak"] > 0
    assert found["sampling"][-1] == {"way": "bf16, CUDA graph", "left out": "there is no GPU"}
    marks = found["run"]["marks"]
    assert marks[0]["images"] > 0
    assert [m["images"] for m in marks] == sorted({m["images"] for m in marks})
    page = capsys.readouterr().out
    assert "left out: there is no GPU" in page
    assert f"| {marks[-1]['images']:,} |" in page


def test_the_first_steps_of_words(capsys):
    found = gpu.main(["text", "--small"])
    assert found["images"] > 0
    assert found["what"] == "captioned-digits (1, 8, 8)"
    assert '"loss"' in capsys.readouterr().out
    config = gpu.words_config("data/emoji", small=False)
    assert (config.data.size, config.data.text) == (64, "minilm")
