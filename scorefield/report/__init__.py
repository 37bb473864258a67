"""Floor 7: findings, pictures and pages for people."""

from scorefield.base.finding import Findings
from scorefield.report.picture import Pieces, picture, plot, write_npz, write_pictures, write_png


def _shown(findings: Findings) -> str:
    from scorefield.report.html import fragment

    return fragment(findings)


Findings._repr_html_ = _shown  # type: ignore[attr-defined] a notebook asks for it; base draws nothing

__all__ = [
    "Pieces",
    "picture",
    "plot",
    "write_npz",
    "write_pictures",
    "write_png",
]
