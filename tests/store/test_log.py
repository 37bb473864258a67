"""log.jsonl: whole lines, images that rise, nothing twice."""

import json

from scorefield.store import Log


def rows(path):
    return [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]


def row(images: int) -> str:
    return json.dumps({"images": images, "loss": 1.0, "lr": 0.1})


def test_resume_drops_what_lies_past_the_checkpoint_and_a_torn_line(tmp_path):
    torn = row(40)[:-9]
    (tmp_path / "log.jsonl").write_text("\n".join([row(10), row(20), row(30), torn]))
    log = Log(tmp_path, 20)
    log.write({"images": 25, "loss": 1 / 3})
    log.close()
    assert [r["images"] for r in rows(tmp_path)] == [10, 20, 25]
    assert rows(tmp_path)[-1]["loss"] == 1 / 3  # at full precision


def test_lines_that_are_no_rows_are_dropped(tmp_path):
    strange = ["{}", "[]", "3", '{"images": null}', "\x00\x00", row(10), '{"images": "x"}']
    (tmp_path / "log.jsonl").write_text("\n".join(strange))
    Log(tmp_path, 20).close()
    assert [r["images"] for r in rows(tmp_path)] == [10]


def test_a_new_run_starts_empty_and_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    (tmp_path / "log.jsonl").write_text(row(10) + "\n")
    Log(tmp_path, 0).close()
    assert rows(tmp_path) == []
    (tmp_path / "none").mkdir()
    monkeypatch.chdir(tmp_path / "none")
    log = Log(None, 0)
    log.write({"images": 10})
    log.close()
    assert not list((tmp_path / "none").iterdir())
