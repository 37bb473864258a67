"""Floor 7: findings, pictures and pages for people."""

from scorefield.base.finding import Findings
from scorefield.report.lines import line_chart
from scorefield.report.picture import picture, plot
from scorefield.run.open import Run


def _html(shown: Findings | Run) -> str:
    from scorefield.report.html import fragment
    from scorefield.report.overview import summary

    return fragment(shown) if isinstance(shown, Findings) else summary(shown.path)


for _kind in (Findings, Run):  # a notebook asks for it, and what is below draws nothing
    _kind._repr_html_ = _html  # type: ignore[attr-defined] they have none of their own

__all__ = [
    "line_chart",
    "picture",
    "plot",
]
