"""What must be refused, and what must fail: one line each."""

from collections.abc import Callable
from typing import Any

import pytest

from scorefield.base import BadInput


def refused(says: str, call: Callable, *given: Any, **options: Any) -> None:
    """`call(*given, **options)` is bad input, and the error says so."""
    with pytest.raises(BadInput, match=says or None):
        call(*given, **options)


def fails(says: str, check: Callable, *given: Any, **options: Any) -> None:
    """A planted defect: the check does not pass, and says why."""
    with pytest.raises(AssertionError, match=says or None):
        check(*given, **options)
