"""The page on latent models: its first session runs, and each of its equations has one number."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "latent-models.md").read_text()


def test_the_first_session_runs():
    names: dict = {}
    (session,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(session.replace("60_000", "2_560"), names)
    assert 3 < float(names["bits"].mean()) < 8


def test_equations_are_numbered_once():
    assert re.findall(r" \((\d+)\)$", PAGE, re.M) == [str(k) for k in range(1, 15)]
