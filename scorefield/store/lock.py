"""One writer at a time: a training in its folder, a job of many files in its place."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from scorefield.base import BadInput
from scorefield.store.files import unwritable

UNLOCKABLE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What a file system answers that has no locks."""


@contextlib.contextmanager
def alone(folder: Path, name: str = "", wait: bool = False) -> Iterator[None]:
    """Hold a folder, which is made if it is not there, or the files of a `name` in it, for this
    process. Who reads needs no lock: each file is written whole or not at all.

    The lock is the system's (`flock` on `.NAME.lock` in the folder), which it drops with the
    process however that ends: a file that a kill left blocks nobody. At the end the file goes, and
    a folder that was made and stayed empty. A file system without locks is used without.

    If another process holds it, `wait` for its end, as is right for what takes a moment, or raise
    BadInput at once; so too if it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / (f".{name}.lock" if name else ".lock")
    try:
        handle = _locked(path, wait)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


def _locked(path: Path, wait: bool) -> int:
    """The handle of the locked file. It is locked again if its last holder removed it between the
    opening and the locking, or two would hold two files of one name."""
    import fcntl

    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise BadInput(
                f"another job is at work in {path.parent / path.name[1:-5]}.",
                "Wait for its end or stop it, or give another `out`.",
                "out",
            ) from None
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                os.close(handle)
                raise
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)
