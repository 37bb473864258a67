"""Floor 3: populations that reach a density known up to a constant, and learn nothing."""

from scorefield.smc.annealed import Annealing, Reached
from scorefield.smc.hamiltonian import Hamiltonian
from scorefield.smc.tempering import Tempering

__all__ = ["Annealing", "Hamiltonian", "Reached", "Tempering"]
