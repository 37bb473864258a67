"""Write docs/errata.md from the lines that its tests hold: `python -m docs.errata`."""

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.errata.table import Erratum

BAR = "\\|"
PAGE = Path(__file__).with_suffix(".md")
CHAPTERS = {
    "processes": "The forward process and its reversal",
    "views": "Views of one prediction",
    "losses": "Losses",
    "samplers": "Samplers",
    "likelihood": "Likelihoods",
    "guidance": "Guidance and composition",
}
PROGRAMS = (
    (
        "third-order multistep DPM-Solver++: the second difference without its factor 2",
        "order 2 in place of 3",
        "tests/laws/test_slips.py::test_3m_takes_twice_the_second_difference",
    ),
    (
        "exponential Adams with the sigma of the level left before the integral",
        "order 1 at every degree",
        "tests/laws/test_slips.py::test_sigma_of_the_wrong_level_is_first_order_at_every_degree",
    ),
    (
        "weights in closed form, `1 - (1 - e^-h)/h`, in float32",
        "digits go as steps shrink",
        "tests/laws/test_slips.py::test_weights_keep_their_digits_in_short_steps",
    ),
    (
        "timesteps by an integer stride, `1000 // steps`",
        "the last stride is not like the others where steps does not divide 1000",
        "tests/process/test_grids.py::test_planted_stride",
    ),
    (
        "quantiles rounded to timesteps",
        "two levels are equal at some counts",
        "tests/process/test_grids.py::test_planted_equal_levels",
    ),
    (
        "g for `g^2`, the whole `g^2` for the half, or a plus before the score in the flow",
        "mean and covariance leave the marginals",
        "tests/process/test_sde.py::test_planted_slips_in_the_flow",
    ),
    (
        "the probability flow with its Jacobian halved",
        "more than .1 nats",
        "tests/likelihood/test_flow.py::test_planted_slips_are_nats_off",
    ),
    (
        "an adaptive SDE step that draws anew after a rejection",
        "the law is biased, 18 standard errors at 4,000 samples",
        "tests/solve/test_gotta.py::test_drawing_anew_is_biased",
    ),
    (
        "a learned schedule trained on the eps loss, without gamma'",
        "the bound depends on the schedule's interior",
        "tests/objective/test_bound.py::test_a_planted_slope",
    ),
    (
        "views of an anagram that are not orthogonal",
        "refused with the defect",
        "tests/guide/test_anagram.py::"
        "test_a_view_that_is_not_orthogonal_is_refused_with_its_defect",
    ),
    (
        "a variational autoencoder trained without its KL term",
        "the loss rises by `V (W^T W) / 2 s^2` with log V: the encoder's variance falls to 0",
        "tests/latent/test_vae.py::test_without_its_kl_the_variance_of_the_encoder_collapses",
    ),
    (
        "a consistency loss that says nothing of the boundary",
        "a network that always says the same has no loss at all",
        "tests/distill/test_laws.py::test_twin_a_denoiser_that_does_not_keep_clean_data_pays_nothing",
    ),
)
"""Slips of published programs, what shows them, and the test in which each is planted and fails."""
HEAD = """# Errata: what is often printed, and the number that shows it

Formulas of lectures, papers and programs that look right. Each line has a test that measures one
quantity twice, by this library and by the form printed: the first must round to the number under
"right", the second to that under "printed", and miss the first. [Notation](notation.md).
The page is made of the tests (`python -m docs.errata`) and cannot say anything else.
"""
TAIL = """## Slips of programs

Each is planted in a test of the law that it breaks, and fails there.

| slip | what shows it | test |
| --- | --- | --- |
"""


def lines(chapter: str) -> list[tuple[str, Erratum]]:
    """The tests of a chapter and what they hold, in the order of the file."""
    module: Any = import_module(f"tests.errata.test_{chapter}")
    return [(name, f.erratum) for name, f in vars(module).items() if hasattr(f, "erratum")]


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |\n"


def section(chapter: str, title: str) -> str:
    file = f"tests/errata/test_{chapter}.py"
    rows = "".join(
        row(e.printed, e.right, e.of, f"**{e.numbers[0]}**", e.numbers[1], f"`{name}`")
        for name, e in lines(chapter)
    )
    return (
        f"## {title}\n\n[{file}](../{file})\n\n"
        "| often printed | right | what tells them apart | right | printed | test |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}"
    )


def page() -> str:
    programs = "".join(
        row(slip, shown, f"[`{name}`](../{file})")
        for slip, shown, test in PROGRAMS
        for file, name in [test.split("::")]
    )
    return "\n".join([HEAD, *(section(*item) for item in CHAPTERS.items()), TAIL + programs])


if __name__ == "__main__":
    PAGE.write_text(page())
