"""Molecules as RDKit draws them."""

from collections.abc import Sequence
from io import BytesIO

from PIL.Image import Image, open

from scorefield.data.molecules import chemistry, molecule_of

MOST = 40
"""Molecules on a sheet."""


def molecules_drawn(smiles: Sequence[str], side: int = 220) -> Image:
    """A sheet of the first 40, five in a row, each above its SMILES; of what is no molecule the
    place is empty."""
    some, draw = smiles[:MOST], chemistry("Draw.rdMolDraw2D")
    wide, high = min(5, len(some)), -(-len(some) // 5)
    sheet = draw.MolDraw2DCairo(side * wide, side * high, side, side)
    sheet.drawOptions().legendFontSize = 12
    empty = chemistry("rdchem").Mol
    sheet.DrawMolecules([molecule_of(text) or empty() for text in some], legends=list(some))
    sheet.FinishDrawing()
    return open(BytesIO(sheet.GetDrawingText())).convert("RGB")
