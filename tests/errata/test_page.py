"""docs/errata.md says what the tests hold, and a line that does not hold fails."""

from pathlib import Path

import pytest

from docs import errata
from tests.errata.table import Erratum, agrees, erratum
from tests.refusal import fails

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_would_be_written_now():
    assert errata.PAGE.read_text() == errata.page(), "run `python -m docs.errata`"


def test_every_chapter_is_on_the_page():
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert files - {"page"} == set(errata.CHAPTERS)
    assert all(errata.lines(chapter) for chapter in errata.CHAPTERS)


@pytest.mark.parametrize("test", [test for *_, test in errata.PROGRAMS])
def test_the_slips_of_programs_are_planted_where_the_page_says(test):
    file, name = test.split("::")
    assert f"\ndef {name}(" in (ROOT / file).read_text()


LINE = Erratum("sqrt(b) (e1 + e2)", "with the root", "Var(x_2)", (".36", ".40"))


@pytest.mark.parametrize("pair", [(0.4, 0.4), (0.36, 0.36), (0.37, 0.4), (0.4, 0.36)])
def test_a_planted_line_fails(pair):
    """The printed form in the library's place, the right one in the printed one's, a digit off."""
    fails("measured", LINE.check, *pair)

    def measure() -> tuple[float, float]:
        """printed: sqrt(b) (e1 + e2)
        right: with the
            root
        of: Var(x_2)
        numbers: .36, .40

        How it is measured.
        """
        return pair

    assert erratum(measure).erratum == LINE
    fails("measured", erratum(measure))
    LINE.check(0.36, 0.4)


def test_numbers_that_tell_nothing_apart_are_refused():
    with pytest.raises(ValueError, match="do not tell"):
        Erratum("", "", "", (".4", ".36"))
    with pytest.raises(ValueError, match="no line"):
        Erratum.read("printed: a right: b numbers: 1, 2")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.3551 - 1e-3])
def test_what_does_not_round_to_the_number(value):
    assert not agrees(value, ".36")
