"""Push and pull, against a folder that stands in for the hub's client."""

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from scorefield.base import Level
from scorefield.interop import hub
from scorefield.interop.incoming import taken_in
from scorefield.run.open import open_run
from tests.interop.foreign import keep, network, scheduler
from tests.refusal import refused


class Folder:
    """The client's interface, on a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create_repo(self, name: str, private: bool, exist_ok: bool) -> None:
        (self.root / name).mkdir(parents=True, exist_ok=exist_ok)
        (self.root / name / "private").write_text(str(private))

    def upload_folder(
        self, repo_id: str, folder_path: str, allow_patterns: list[str], commit_message: str
    ) -> None:
        for file in Path(folder_path).iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copy(file, self.root / repo_id / file.name)

    def snapshot_download(self, name: str, allow_patterns: list[str]) -> str:
        if not (self.root / name).exists():
            raise OSError(f"no repository {name}")
        return str(self.root / name)


def test_there_and_back(runs, tmp_path, monkeypatch):
    run, api = open_run(runs["ours"]), Folder(tmp_path / "hub")
    found = hub.push(run, "hub:me/digits", "apache-2.0", api=api)
    there = tmp_path / "hub/me/digits"
    assert found.record["files"] == ["config.json", "state.json", "ema.safetensors", "README.md"]
    assert (there / "private").read_text() == "True"
    text = (there / "README.md").read_text()
    assert text.startswith("---\nlicense: apache-2.0")
    assert "256 images" in text
    assert not (there / "optimizer.safetensors").exists()
    monkeypatch.setattr(hub, "library", lambda name: api)
    taken_in(Path("hub:me/digits"), tmp_path / "back")
    x, level = torch.randn(1, 1, 8, 8), Level.of(0.6, 0.8)
    assert torch.equal(open_run(tmp_path / "back").denoiser(x, level), run.denoiser(x, level))
    refused("already holds", taken_in, Path("hub:me/digits"), tmp_path / "back")
    refused("no repository me/other", taken_in, Path("hub:me/other"), tmp_path / "c")


def test_a_folder_of_diffusers_from_there(tmp_path, monkeypatch):
    keep(tmp_path / "hub/me/theirs", network(), scheduler())
    monkeypatch.setattr(hub, "library", lambda name: Folder(tmp_path / "hub"))
    found = taken_in(Path("hub:me/theirs"), tmp_path / "run")
    assert found.record["network"] == "UNet2DModel"


def test_one_sentence_offline(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    class Down:
        def __getattr__(self, name: str) -> Any:
            def call(*given: Any, **options: Any) -> None:
                raise ConnectionError("Cannot reach the hub\nand much more")

            return call

    refused("^the hub cannot be asked for me/x: Cannot reach the hub\\. ", hub.push,
            open_run(runs["ours"]), "hub:me/x", api=Down())  # fmt: skip
    for wrong in ("me/x", "hub:", "hub:a/b/c", "hub:/x"):
        refused("names no repository", hub.name_of, wrong)
