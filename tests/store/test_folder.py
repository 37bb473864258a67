"""What lies in a run folder is declared once: the docs and what reads a run go by it."""

import pytest

from docs import folder as pages
from scorefield.store import Folder, Reader, read_json
from tests.refusal import fails, refused


def table_law(page: str) -> None:
    assert pages.with_table(page) == page, "run `python -m docs.folder`"


def test_the_docs_list_what_is_declared(monkeypatch):
    page = pages.PAGE.read_text()
    table_law(page)
    monkeypatch.setattr(pages, "ENTRIES", pages.ENTRIES[1:])
    fails("", table_law, page)


def test_an_entry_is_found_by_its_name(tmp_path):
    for name in ("000064.png", "000128.png", "100-seeds.png", ".000064.png.1.tmp", "x.png"):
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / "samples" / name).touch()
    folder = Folder(tmp_path)
    assert [p.name for p in folder.find("samples/IMAGES.png")] == ["000064.png", "000128.png"]
    assert [p.name for p in folder.find("samples/N-seeds.png")] == ["100-seeds.png"]
    assert not folder.find("eval.json")
    with pytest.raises(KeyError, match=r"judge\.png"):
        folder.find("judge.png")


def test_a_damaged_file_is_left_out_and_said(tmp_path):
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "a.json").write_text('{"b": 1}')
    (tmp_path / "grids" / "z.json").write_text("{")
    reader = Reader(tmp_path)
    assert reader.every("grids/NAME.json", read_json) == {"a": {"b": 1}}
    assert reader.one("eval.json", read_json) is None
    (why,) = reader.left_out
    assert "z.json cannot be read as JSON" in why
    refused("", read_json, tmp_path / "grids" / "z.json")
