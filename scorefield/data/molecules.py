"""Molecules as SMILES: their tokens, which are taken, and the properties that they have."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from scorefield.base import BadInput, unknown
from scorefield.base.extras import library

Read = TypeVar("Read")
TOKEN = re.compile(r"\[[^\[\]]*\]|%\d\d|Br|Cl|.")
"""An atom in brackets, the number of a ring, an atom of two letters, or a sign. The ring closure
%12 and the atom Cl are one: split, `C` and `l` are no atoms."""
ELEMENTS = frozenset({"B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I", "H"})
PLAIN = re.compile(r"([BCNOPSFIbcnopslr0-9()=#%/\\-]|\[nH\]|\[C@{1,2}H?\])+")
"""SMILES of neutral single molecules of `ELEMENTS`, if of any: an atom of another element or with a
charge is written in brackets otherwise, a second molecule behind a dot."""
PROPERTIES = {
    "logP": ("Crippen", "MolLogP"),
    "QED": ("QED", "qed"),
    "weight": ("Descriptors", "MolWt"),
}
"""By name, the module of RDKit and its function: the partition coefficient of Wildman and Crippen
1999, the drug-likeness of Bickerton et al. 2012, g/mol."""


def tokens_of(smiles: str) -> list[str]:
    """The tokens of SMILES.

    >>> tokens_of("C[C@H](Cl)c1ccc[nH]1")
    ['C', '[C@H]', '(', 'Cl', ')', 'c', '1', 'c', 'c', 'c', '[nH]', '1']
    """
    return TOKEN.findall(smiles)


@cache
def chemistry(module: str) -> Any:
    """A module of RDKit, which says nothing of what it cannot parse; BadInput without it."""
    rdkit = partial(library, extra="molecules", use="molecules are read")
    rdkit("rdkit.RDLogger").DisableLog("rdApp.*")
    return rdkit(f"rdkit.Chem.{module}")


def molecule_of(smiles: str) -> Any:
    """RDKit's molecule of SMILES with at least an atom, or None."""
    found = chemistry("rdmolfiles").MolFromSmiles(smiles) if smiles else None
    return found if found is not None and found.GetNumAtoms() else None


def fault_of(molecule: Any) -> str | None:
    """Why a molecule is not taken, if it is not. Charges that cancel, such as a nitro group's, are
    taken."""
    if molecule is None:
        return "does not parse"
    strange = sorted({a.GetSymbol() for a in molecule.GetAtoms()} - ELEMENTS)
    if strange:
        return f"has the element {strange[0]}"
    if charge := sum(a.GetFormalCharge() for a in molecule.GetAtoms()):
        return f"has the charge {charge:+d}"
    parts = len(chemistry("rdmolops").GetMolFrags(molecule))
    return f"is {parts} molecules" if parts > 1 else None


def parses(smiles: str) -> bool:
    """Whether SMILES are `PLAIN` and parse by those of RDKit's steps that can fail, valences and
    alternating bonds: then they are taken. That is a quarter of the time of `molecule_of`, which
    perceives more, and takes some that these steps alone do not, `c#c` in a ring.

    >>> [parses(text) for text in ("c1ccccc1", "c1cccc1", "C(C)(C)(C)(C)C", "[NH4+]")]
    [True, False, False, False]
    """
    files, ops = chemistry("rdmolfiles"), chemistry("rdmolops")
    if not PLAIN.fullmatch(smiles):
        return False
    molecule = files.MolFromSmiles(smiles, _bare())
    if molecule is None:
        return False
    can_fail = ops.SANITIZE_CLEANUP | ops.SANITIZE_PROPERTIES | ops.SANITIZE_KEKULIZE
    return ops.SanitizeMol(molecule, can_fail, catchErrors=True) == ops.SANITIZE_NONE


@cache
def _bare() -> Any:
    """How RDKit reads letters and nothing more."""
    how = chemistry("rdmolfiles").SmilesParserParams()
    how.sanitize = how.removeHs = False
    return how


def of_molecules(
    smiles: Sequence[str], where: str, law: Callable[[int, Any], Read] | None
) -> list[Read]:
    """`law(number, molecule)` of each of RDKit's molecules, of which one is kept at a time, nothing
    for no law; or BadInput for those that are not taken, the first by its number."""
    found, faults = [], {}
    for k, text in enumerate(smiles):
        if law is None and parses(text):
            continue
        molecule = molecule_of(text)
        if fault := fault_of(molecule):
            faults[k] = fault
        if law is not None and not faults:
            found.append(law(k, molecule))
    for k, fault in faults.items():
        raise BadInput(
            f"{where}: {len(faults):,} of {len(smiles):,} molecules cannot be taken; number "
            f"{k + 1}, {smiles[k][:60]}, {fault}.",
            f"Leave them out: neutral single molecules of {', '.join(sorted(ELEMENTS))} are taken.",
        )
    return found


def placed(molecule: Any, seed: int) -> tuple[list[str], np.ndarray] | None:
    """The heavy atoms of a molecule and where they are (atoms, 3) in Angstrom about their mean, in
    canonical order; None if RDKit cannot embed it.

    >>> kinds, at = placed(molecule_of("OC"), 0)
    >>> kinds, float(np.linalg.norm(at[0] - at[1]).round(1))
    (['C', 'O'], 1.4)
    """
    files, distances = chemistry("rdmolfiles"), chemistry("rdDistGeom")
    own = files.MolFromSmiles(files.MolToSmiles(molecule))
    full = chemistry("rdmolops").AddHs(own)
    how = distances.ETKDGv3()
    how.randomSeed = seed
    if distances.EmbedMolecule(full, how) != 0:
        return None
    chemistry("rdForceFieldHelpers").MMFFOptimizeMolecule(full)
    at = full.GetConformer().GetPositions()[: own.GetNumAtoms()]
    return [a.GetSymbol() for a in own.GetAtoms()], at - at.mean(0)


def properties_of(molecules: Iterable[Any], names: Sequence[str]) -> np.ndarray:
    """Their properties (N, names), float32.

    >>> properties_of([molecule_of("CCO")], ["weight"]).round(2).tolist()
    [[46.06999969482422]]
    """
    laws = laws_of(names)
    rows = [[law(m) for law in laws] for m in molecules]
    return np.array(rows, np.float32).reshape(len(rows), len(laws))


def laws_of(names: Sequence[str]) -> list[Callable[[Any], float]]:
    """RDKit's functions of a molecule for properties; BadInput for others."""
    laws: list[Callable[[Any], float]] = []
    for name in names:
        if name not in PROPERTIES:
            raise unknown("property", name, PROPERTIES)
        module, law = PROPERTIES[name]
        laws.append(getattr(chemistry(module), law))
    return laws
