"""One training at a time in a run folder."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from scorefield.base import BadInput
from scorefield.store.files import unwritable

NAME = ".lock"
UNLOCKABLE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What a file system answers that has no locks."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run folder, which is made if it is not there, for this process.

    The lock is the system's (`flock` on a file in the folder), which it drops with the process
    however that ends: a file that a kill left blocks nobody. At the end the file goes, and a
    folder that was made and stayed empty. A file system without locks is used without.

    Raises BadInput at once if another process holds the folder, or if it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / NAME
    try:
        handle = _locked(path)
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


def _locked(path: Path) -> int:
    """The handle of the locked file. It is locked again if its last holder removed it between the
    opening and the locking, or two would hold two files of one name."""
    import fcntl

    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise BadInput(
                f"another training is at work in {path.parent}.",
                "Wait for its end or stop it, or give another `out`.",
            ) from None
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                os.close(handle)
                raise
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)
