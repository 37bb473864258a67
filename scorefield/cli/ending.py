"""How a command ends, once for all of them: done, stopped, refused or broken, in one line and an
exit code. It imports nothing heavy, so that it stands before anything that can be interrupted.
"""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]
STOPPED = 130
"""The exit code of a command that a signal stopped, as shells give it to Ctrl-C."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt inside, but end the process where it imports.

    An import has nothing to lose, and an exception does not come through it: it is swallowed,
    becomes another, or aborts in C++ (6 of 40 at random moments of importing torch). Signals that
    the caller ignores or handles stay his, and so do those of a thread, where none can be handled.
    """
    main = threading.current_thread() is threading.main_thread()
    usual = (signal.SIG_DFL, signal.default_int_handler) if main else ()
    with _handled([s for s in STOPS if signal.getsignal(s) in usual], stop_now):
        yield


@contextlib.contextmanager
def _handled(signals: Iterable[int], handler: Handler) -> Iterator[None]:
    """Inside, these signals have that handler."""
    before = {signum: signal.signal(signum, handler) for signum in signals}
    try:
        yield
    finally:
        for signum, own in before.items():
            signal.signal(signum, own)


def stop_now(signum: int, frame: FrameType | None) -> None:
    """The handler of a signal: see `stoppable`."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            with contextlib.suppress(OSError):
                os.write(2, b"stopped\n")
            os._exit(STOPPED)
        frame = frame.f_back
    raise KeyboardInterrupt


@contextlib.contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C or SIGTERM only asks to stop, and the function that is yielded says
    whether it came; the second, and one before the function was first called, stop at once."""
    asked, began = list[int](), list[bool]()

    def ask(signum: int, frame: FrameType | None) -> None:
        if asked or not began:  # before the first step there is nothing to keep
            stop_now(signum, frame)
        asked.append(signum)
        _said("\nstopping after this step, with a checkpoint (once more: at once)", STOPPED)

    def stop() -> bool:
        began[:] = [True]
        return bool(asked)

    with _handled(STOPS, ask):
        yield stop


def ended(command: Callable[[], int]) -> int:
    """Run a command to its exit code: 0 done, 2 the user can mend it, 1 a bug of ours, 130
    stopped."""
    try:
        code = command()
    except SystemExit as end:  # of --help
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException as error:
        code = _failed(error)
    return _flushed(code)


def _failed(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        exec("")  # the interpreter forgets that one passed through an exec, or would die of it
        return _said(": ".join(("stopped", *error.args)), STOPPED)
    if isinstance(error, BrokenPipeError):
        return 0
    if isinstance(error, OSError) and error.errno:
        return _said(f"error: {_of_system(error)}", 2)
    from scorefield.base.errors import BadInput

    if isinstance(error, BadInput):
        return _said(f"error: {flagged(str(error))}", 2)
    import traceback

    text = "".join(traceback.format_exception(error))
    return _said(f"{text}This is a bug in Scorefield: please report the lines above.", 1)


def flagged(text: str) -> str:
    """A text with the settings that it names in backquotes as their flags.

    >>> flagged("`net.attention_heads` is 0, `run` is no folder.")
    '--net.attention-heads is 0, RUN is no folder.'
    """
    text = re.sub("`run`", "RUN", text)
    return re.sub("`([a-z][a-z0-9_.]*)`", lambda name: f"--{name[1].replace('_', '-')}", text)


def _of_system(error: OSError) -> str:
    what = error.strerror or str(error)
    if error.filename is None:  # of a stream that was open already
        return f"the output cannot be written: {what}. Give it a place with room."
    return f"{error.filename}: {what}. Check the place, its rights and the room on its disk."


def _said(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return code


def _flushed(code: int) -> int:
    """The exit code once all is said; what cannot be said any more is dropped, or the interpreter
    would complain of it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                code = _said(f"error: {_of_system(error)}", 2)
    return code
