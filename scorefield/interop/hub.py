"""Runs pushed to a hub and pulled from one, by huggingface_hub.

What goes is what a run needs to be opened (config.json, state.json, the averaged weights) and a
model card; what comes is a snapshot of safetensors and JSON alone, as a run or as a folder of
diffusers. Nothing of it is run.
"""

from pathlib import Path
from typing import Any

from scorefield.base import BadInput
from scorefield.base.extras import library
from scorefield.base.finding import Findings
from scorefield.interop.card import card
from scorefield.run.open import Run, open_run
from scorefield.store import exists, write_bytes

PARTS = ("config.json", "state.json", "ema.safetensors", "eval.json", "README.md")
WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")
HEAD = "hub:"
USE = """```
pip install scorefield
scorefield import hub:{name}
scorefield sample runs/{last}
```"""


def name_of(target: str) -> str:
    """The repository that `hub:owner/name` names.

    >>> name_of("hub:me/digits")
    'me/digits'
    """
    name = target.removeprefix(HEAD)
    if not target.startswith(HEAD) or not all(name.split("/")) or name.count("/") > 1:
        raise BadInput(f"'{target}' names no repository.", "Write it like hub:owner/name.")
    return name


def push(
    run: Run, target: str, licence: str = "other", private: bool = True, api: Any = None
) -> Findings:
    """Send a run, with its card; `api` stands in for the client of huggingface_hub.

    The other parts of a run (optimiser, log, snapshots) stay. Raises BadInput, in one sentence,
    without a network or rights.
    """
    name, api = name_of(target), api or library("huggingface_hub").HfApi()
    text = card(run, USE.format(name=name, last=name.split("/")[-1]), licence, "scorefield")
    write_bytes(run.path / "README.md", text.encode())
    sent = [part for part in PARTS if exists(run.path / part)]
    _asked(lambda: api.create_repo(name, private=private, exist_ok=True), name)
    _asked(
        lambda: api.upload_folder(
            repo_id=name, folder_path=str(run.path), allow_patterns=sent,
            commit_message=f"{run.images_seen:,} images",
        ),
        name,
    )  # fmt: skip
    record = {"hub": name, "files": sent, "private": private}
    how = f"{len(sent)} files to {name}{' (private)' if private else ''}"
    return Findings("push", str(run.path), how, (), record)


def pull(target: str, api: Any = None) -> Path:
    """The folder of a snapshot of a repository: settings and safetensors alone."""
    name, client = name_of(target), api or library("huggingface_hub")
    return Path(_asked(lambda: client.snapshot_download(name, allow_patterns=list(WANTED)), name))


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of ours."""
    return exists(folder / "state.json") and exists(folder / "config.json")


def copied(folder: Path, out: Path) -> Findings:
    """A run of ours, pulled, in a place of its own: read whole before anything is written."""
    from scorefield.run.stored import to_json
    from scorefield.store import Folder

    run, place = open_run(folder), Folder(out)
    place.check_new()
    if place.has_config:
        raise BadInput(f"{out} already holds a run.", "Give another `out`.", "out")
    place.keep_config(to_json(run.config, run.info))
    place.commit({"ema": run.denoiser.state_dict()}, run.images_seen, place.meaning())
    how = f"a run of Scorefield, {run.images_seen:,} images"
    return Findings("import", str(out), how, (), {"out": str(out), "images": run.images_seen})


def _asked(call: Any, name: str) -> Any:
    """What the client answers, or one sentence of why not."""
    try:
        return call()
    except Exception as error:  # of many kinds: no network, no rights, no such name
        lines = [line for line in str(error).splitlines() if line.strip()]
        first = (lines or [type(error).__name__])[0]
        raise BadInput(
            f"the hub cannot be asked for {name}: {first[:160]}.",
            "Check the name, the network, and `hf auth login`.",
        ) from error
