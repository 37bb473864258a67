"""Packages that some of the work needs and most does not: the extras of scorefield."""

import time
import warnings
from importlib import import_module
from typing import Any

from scorefield.base.errors import BadInput

SLOW = 2.0
"""Seconds that a person waits before being told why."""


def library(name: str, extra: str = "interop", use: str = "", instead: str = "") -> Any:
    """An installed package, or BadInput that says what it is of `use` for, how to get it, and what
    to do `instead`; one that took its time says so.

    >>> library("nothing_so_called", "data", "rows are read")
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: rows are read by nothing_so_called, which is not installed. \
Install it: pip install 'scorefield[data]'.
    """
    began = time.monotonic()
    try:
        found = import_module(name)
    except ImportError as error:
        lacks = f"{use} by {name}, which is not installed." if use else f"{name} is not installed."
        install = f"Install it: pip install 'scorefield[{extra}]'{instead}."
        raise BadInput(lacks, install) from error
    if (seconds := time.monotonic() - began) > SLOW:
        warnings.warn(f"importing {name} took {seconds:.0f} s, once a command", stacklevel=2)
    return found
