"""Two torsion angles of a molecule as data on a torus, and the picture of docs/manifolds.md.

    python docs/torsions.py draw angles.npz [--n 5000] [--smiles ...] [--about PATTERN PATTERN]
    scorefield train points --data.path angles.npz --data.kind torus --out runs/torsions
    scorefield eval runs/torsions
    scorefield sample runs/torsions --n 2000 --out made.npz
    python docs/torsions.py picture angles.npz made.npz

draw embeds the molecule, alanine dipeptide unless told, n times by RDKit (KDG, which knows no
torsions, seed 1: of seed 0 all are one), moves each by up to 60 steps of MMFF94 and writes x (n, 2)
in radians: the angles of the four atoms that each SMARTS pattern finds, Ramachandran's phi and psi.
"""

import argparse
from pathlib import Path

import numpy as np

DIPEPTIDE = "CC(=O)N[C@@H](C)C(=O)NC"
PHI_PSI = ("[CX3][NX3][CX4][CX3]", "[NX3][CX4][CX3][NX3]")
PICTURE = Path(__file__).parent / "images" / "torsions.png"
SHOWN = 2000


def torsions(smiles: str, about: tuple[str, ...], n: int) -> np.ndarray:
    """Angles `(n, len(about))`, radians, of n conformers."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    four = [molecule.GetSubstructMatch(Chem.MolFromSmarts(pattern)) for pattern in about]
    how = rdDistGeom.KDG()
    how.randomSeed = 1
    rdDistGeom.EmbedMultipleConfs(molecule, n, how)
    rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=60)
    turned = rdMolTransforms.GetDihedralRad
    return np.array([[turned(c, *atoms) for atoms in four] for c in molecule.GetConformers()])


def picture(rows: dict[str, np.ndarray]) -> None:
    """Degrees, phi to the right and psi up."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(rows), figsize=(8, 4), sharey=True)
    for one, (name, x) in zip(axes, rows.items()):
        one.scatter(*np.degrees(x[:SHOWN]).T, s=2, linewidths=0)
        one.set(title=name, xlabel="phi", xlim=(-180, 180), ylim=(-180, 180), aspect="equal",
                xticks=range(-180, 181, 90), yticks=range(-180, 181, 90))  # fmt: skip
    axes[0].set_ylabel("psi")
    figure.savefig(PICTURE, dpi=100, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["draw", "picture"])
    parser.add_argument("angles", type=Path)
    parser.add_argument("made", type=Path, nargs="?")
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--smiles", default=DIPEPTIDE)
    parser.add_argument("--about", nargs="+", default=PHI_PSI)
    said = parser.parse_args()
    if said.what == "draw":
        return np.savez(said.angles, x=torsions(said.smiles, said.about, said.n))
    made = np.load(said.made)["x"].reshape(-1, 2, 2)  # (cos, sin) of each angle
    picture({"data": np.load(said.angles)["x"], "samples": np.arctan2(made[..., 1], made[..., 0])})


if __name__ == "__main__":
    main()
