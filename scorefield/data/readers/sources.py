"""Where pictures lie: files of a folder, or members of archives, by name; a row of numbers each.

A million names take some 150 MB: no object is kept for a file. Members of a tar, and of a zip that
does not compress them, are read where they lie in it.
"""

import contextlib
import hashlib
import json
import os
import struct
import tarfile
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from scorefield.base import BadInput
from scorefield.data.readers.maps import MappedArray
from scorefield.data.readers.pictures import suffixes

ARCHIVES = (".tar", ".zip")
LABEL = ".cls"
"""Ending of a member that holds the class index of that with the same stem (WebDataset's)."""
TABLE = "dataset.json"
"""The labels that EDM's and StyleGAN's tools write beside pictures."""
INDICES = "Write class indices: 0, 1, ..."
CHANGED = "Leave the files as they are until all are read, then begin again."


class Undecoded(Protocol):
    """Files of pictures, by number."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def digest(self) -> str:
        """Another for other files."""
        ...

    def __len__(self) -> int: ...

    def content(self, number: int) -> bytes | Path: ...


@dataclass(frozen=True, eq=False)
class Sources:
    """Pictures by `names` within `root`, and `at (N, 4)`: number of the archive or -1, offset in
    it, bytes, and time of the last change in nanoseconds."""

    root: str
    archives: list[str]
    names: list[str]
    at: np.ndarray
    others: tuple[tuple[int, str, int, int], ...] = ()
    """Members that say something of pictures: number of the archive, name, offset and bytes."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """Of names, sizes and times, wherever they lie."""
        found = hashlib.sha256("\n".join(self.names).encode(errors="surrogateescape"))
        found.update(np.ascontiguousarray(self.at).data)
        return found.hexdigest()

    def content(self, number: int) -> bytes:
        """The bytes of one, or BadInput if it is another than was listed; OSError if it is gone."""
        archive, offset, size, time = self.at[number].tolist()
        path = os.path.join(self.root, self.names[number])
        with open(self.archives[archive] if archive >= 0 else path, "rb") as file:
            file.seek(max(0, offset))
            content = file.read(size)
            now = os.fstat(file.fileno())
        if now.st_mtime_ns != time or len(content) != size or (archive < 0 and now.st_size != size):
            raise BadInput(f"{self.names[number]} was changed since it was listed.", CHANGED)
        return content

    def each(self) -> Iterator[tuple[str, Path | bytes]]:
        """All of them, by name: paths, or members' bytes."""
        for number, name in enumerate(self.names):
            whole = self.at[number, 0] < 0
            yield name, Path(self.root, name) if whole else self.content(number)

    def within(self, folder: str) -> "Sources":
        """Those below a folder."""
        chosen = [i for i, name in enumerate(self.names) if name.startswith(f"{folder}/")]
        return replace(self, names=[self.names[i] for i in chosen], at=self.at[chosen])

    def beside(self, name: str) -> bytes | None:
        """The content of another file or member of that name."""
        path = Path(self.root, name)
        if not self.archives:
            return path.read_bytes() if path.is_file() else None
        found = [other for other in self.others if other[1] == name]
        return self._read(*found[0]) if found else None

    def labels(self) -> np.ndarray | None:
        """The class index `(N,)` of each member by the `.cls` beside it; None if there are none."""
        known = dict[tuple[int, str], int]()
        for k, name, offset, size in self.others:
            if name.endswith(LABEL):
                text = self._read(k, name, offset, size).decode("ascii", "replace").strip()
                if not text.isdigit() or len(text) > 9:
                    raise BadInput(f"{self.archives[k]} has '{text}' in {name}.", INDICES)
                known[k, _stem(name)] = int(text)
        if not known:
            return None
        label = [known.get((int(k), _stem(n)), -1) for k, n in zip(self.at[:, 0], self.names)]
        if -1 in label:
            missing = self.names[label.index(-1)]
            raise BadInput(f"{missing} has no {_stem(missing)}{LABEL}.", "Give all one, or none.")
        return np.array(label, np.int64)

    def _read(self, archive: int, name: str, offset: int, size: int) -> bytes:
        with open(self.archives[archive], "rb") as file:
            file.seek(offset)
            return file.read(size)

    def then(self, other: "Sources") -> "Sources":
        """These, and after them others of the same place."""
        return replace(self, names=self.names + other.names, at=np.concatenate([self.at, other.at]))


def in_folder(root: Path, kept: Path | None = None) -> Sources:
    """The pictures below a folder in the order of their relative paths, which fixes the held-out
    split on every system; those of hidden files and folders apart. Of a folder of archives their
    members, in the archives' order (`in_archives`)."""
    names, stamps = list[str](), array("q")  # numbers, not a tuple for each file
    for name, size, time in _walk(str(root), ""):
        names.append(name)
        stamps.extend((size, time))
    if not names and (archives := _archives(root)):
        return in_archives(root, archives, kept)
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    at = np.zeros((len(names), 4), np.int64)
    at[:, 0] = -1
    at[:, 2:] = np.frombuffer(stamps, np.int64).reshape(-1, 2)[order]
    return Sources(str(root), [], sorted(names), at)


def _walk(folder: str, above: str) -> Iterator[tuple[str, int, int]]:
    known = suffixes()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_dir():
                if not entry.is_symlink():
                    yield from _walk(entry.path, f"{above}{name}/")
            elif os.path.splitext(name)[1].lower() in known:
                try:
                    stat = entry.stat()
                    yield f"{above}{name}", stat.st_size, stat.st_mtime_ns
                except FileNotFoundError:  # a link to nothing: unreadable, and named as such
                    yield f"{above}{name}", 0, 0


def _archives(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.suffix.lower() in ARCHIVES and p.is_file())


def in_archives(root: Path, archives: list[Path], kept: Path | None = None) -> Sources:
    """The pictures in archives, each in the order of its members. To read the members of a million
    takes half a minute: their listing is `kept` in a folder, if one is given, under the digest of
    the archives' names, sizes and times."""
    said = [str(archive) for archive in archives]
    if kept is None:
        return _listed(root, archives)
    stamps = [(a.name, a.stat().st_size, a.stat().st_mtime_ns) for a in archives]
    file = kept / f"members-{hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        return replace(open_sources(file), root=str(root), archives=said)
    found = _listed(root, archives)
    keep_sources(file, found)
    return found


def _listed(root: Path, archives: list[Path]) -> Sources:
    names, rows, known = list[str](), list[tuple[int, int, int, int]](), suffixes()
    others = list[tuple[int, str, int, int]]()
    for k, archive in enumerate(archives):
        time = archive.stat().st_mtime_ns
        for name, offset, size in archive_members(archive):
            hidden = any(part.startswith(".") for part in name.split("/"))
            if os.path.splitext(name)[1].lower() in known and not hidden:
                names.append(name)
                rows.append((k, offset, size, time))
            elif name.endswith(LABEL) or name == TABLE:
                others.append((k, name, offset, size))
    return Sources(str(root), [str(a) for a in archives], names, _table(rows), tuple(others))


def _stem(name: str) -> str:
    """Of a member: up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def archive_members(archive: Path, suffix: str = "") -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every file in an archive. BadInput for one that is damaged or
    compressed: its members cannot be read where they lie."""
    again = "Make it without compression: tar cf, or zip -0."
    try:
        if (suffix or archive.suffix.lower()) == ".zip":
            with zipfile.ZipFile(archive) as opened, open(archive, "rb") as file:
                for info in opened.infolist():
                    if info.compress_type != zipfile.ZIP_STORED:
                        raise BadInput(f"{archive} holds {info.filename} compressed.", again)
                    if not info.is_dir():
                        yield info.filename, _begin(file, info.header_offset), info.file_size
            return
        with tarfile.open(archive, "r:") as opened:
            for member in opened:
                if member.isreg():
                    yield member.name.removeprefix("./"), member.offset_data, member.size
                vars(opened)["members"] = []  # a list of all that were read
    except (OSError, tarfile.TarError, zipfile.BadZipFile, struct.error) as error:
        raise BadInput(f"{archive} cannot be read as an archive: {error}.", again) from error


def _begin(file: IO[bytes], header: int) -> int:
    """Where the bytes of a zip's member begin: its own header, of 30 bytes, says how long its name
    and its extra field are."""
    file.seek(header + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return header + 30 + name + extra


def _table(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 4)


def stored_arrays(path: Path) -> dict[str, np.memmap]:
    """The uint8 arrays of an .npz that `numpy.savez` wrote, or of an .npy, mapped where they lie;
    compressed ones and other numbers are left out."""
    found, places = dict[str, np.memmap](), [("x.npy", 0, 0)]
    if path.suffix.lower() != ".npy":
        places = []
        with contextlib.suppress(BadInput):
            places = list(archive_members(path, ".zip"))
    with open(path, "rb") as file:
        for name, offset, _ in places:
            file.seek(offset)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0
            shape, by_column, dtype = (
                read if version == (1, 0) else np.lib.format.read_array_header_2_0
            )(file)
            if dtype == np.uint8:
                order = "F" if by_column else "C"
                mapped = MappedArray.of(path, dtype, "c", file.tell(), shape, order)
                found[name.removesuffix(".npy")] = mapped
    return found


def keep_sources(file: Path, sources: Sources) -> None:
    """Write a listing for other processes of the same job, or for later ones."""
    from scorefield.store.files import new_file  # of torch, which takes a second to load

    text = "\0".join([sources.root, str(len(sources.archives)), *sources.archives, *sources.names])
    flat = np.frombuffer(text.encode(errors="surrogateescape"), np.uint8)
    others = np.frombuffer(json.dumps(sources.others).encode(), np.uint8)
    with new_file(file) as opened:
        np.savez(opened, text=flat, others=others, at=sources.at)


def open_sources(file: Path) -> Sources:
    """Read a listing that `keep_sources` wrote."""
    with np.load(file, allow_pickle=False) as found:
        text, at = found["text"].tobytes().decode(errors="surrogateescape"), found["at"]
        others = tuple(tuple(other) for other in json.loads(found["others"].tobytes()))
    root, count, *names = text.split("\0")
    return Sources(root, names[: int(count)], names[int(count) :], at, others)
