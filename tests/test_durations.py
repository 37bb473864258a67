"""The list of slow tests names tests that are there."""

from pathlib import Path

from tests.durations import LISTED

ROOT = Path(__file__).parents[1]


def absent(names: list[str]) -> list[str]:
    """A doctest has no function of its own: its file is enough."""

    def is_there(name: str) -> bool:
        file, *_, test = name.split("::")
        source = (ROOT / file).read_text() if (ROOT / file).exists() else ""
        return bool(source) and (not test.startswith("test_") or f"def {test}(" in source)

    return [name for name in names if not is_there(name)]


def test_every_line_names_a_test():
    assert absent(LISTED.read_text().split()) == []


def test_a_planted_name():
    here = "tests/test_durations.py::test_a_planted_name"
    assert absent([here, f"{here}_of_old", "tests/gone.py::test_a"]) == [
        f"{here}_of_old", "tests/gone.py::test_a",
    ]  # fmt: skip
