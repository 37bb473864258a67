"""Digits in two network calls beside their teacher's twenty: the recipe trained, distilled, and
both judged by `scorefield eval`, same judge and seeds. Processor time; all in under 5 minutes."""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

METHOD, IMAGES, PICTURES = "progressive:first=32,last=2", 23_000, 1000


def spent(*words: str) -> tuple[float, str]:
    """Processor seconds of a command of scorefield, and what it says."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-m", "scorefield", *words], check=True, capture_output=True, text=True
    ).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, told


def judged(name: str, run: Path, training: float) -> dict[str, Any]:
    """What eval says of a run, and its seconds of training and of samples."""
    told = json.loads(spent("eval", str(run), "--n", str(PICTURES), "--json")[1])
    few, many = (
        spent("sample", str(run), "--n", str(n), "--labels", "0-9", "--out", str(run / "x.npz"))[0]
        for n in (PICTURES // 10, PICTURES)
    )
    return {
        "name": name, "calls": told["network_calls"], "training": training,
        "ms": 1e3 * (many - few) / (PICTURES - PICTURES // 10),
        "frechet": told["frechet"]["value"], "spread": told["frechet"]["value_std"],
        "real": told["frechet"]["floor"], "agreement": told["agreement"]["total"]["share"],
        "precision": told["precision_recall"]["precision"],
        "recall": told["precision_recall"]["recall"],
    }  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Teacher and student."""
    with tempfile.TemporaryDirectory() as folder:
        teacher, student = Path(folder) / "digits", Path(folder) / "student"
        taught = spent("train", "digits", "--out", str(teacher))[0]
        words = ["--method", METHOD, "--images", str(IMAGES), "--out", str(student)]
        learned = spent("distill", str(teacher), *words)[0]
        first = judged("teacher", teacher, taught)
        for part in ("judge", "judge.json", "judge.safetensors"):  # the same judge for both
            source = teacher / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, student / part)
        return [first, judged(METHOD, student, learned)]


def table(found: list[dict[str, Any]]) -> list[str]:
    """As lines of Markdown."""
    heads = ("calls", "training", "ms", "frechet", "spread", "agreement", "precision", "recall")
    lines = [
        f"| {row['name']} | " + " | ".join(f"{row[key]:.4g}" for key in heads) + " |"
        for row in found
    ]
    return [
        "| run | calls | seconds of training | ms a picture | Frechet | +- | agreement | precision "
        "| recall |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *lines,
    ]
