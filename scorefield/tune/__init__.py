"""Floor 4: levels, and the length of each step, fitted to a denoiser, a solver and a budget.

A grid is a choice of n+1 levels. As angles theta = atan(sigma/alpha) they fall from the first to
the last, which are kept, in fractions of a softmax, so that any real numbers p make a legal grid:

    theta_i = theta_0 + (theta_n - theta_0) sum_{j<=i} softmax(p_1, ..., p_{n-1}, 0)_j       (eq. 1)

A step of any solver is, apart from the step with D held, a correction; its length may be fitted:

    x_there = held + c_i (moved - held),   held = the step of eq. 1 of `solve`      (eq. 2)

With c = 1 it is the solver's own. In a multistep method c_i multiplies the weights of the past; in
gradient estimation it is a gamma per step, 1 + c_i (gamma - 1). Where a method holds D itself, in
a first step or one to clean data, c_i does nothing and stays 1.

Both are chosen to bring the ends of runs from `starts` noises to the ends of the probability flow
of the same denoiser, solved finely: least squares in p and c by Levenberg and Marquardt (Marquardt
1963, "An algorithm for least-squares estimation of nonlinear parameters"; Nocedal and Wright 2006,
"Numerical optimization", chapter 10). A Jacobian is one run of the solver, on a batch of copies
with one parameter moved in each: it needs no derivative of the solver or of the denoiser.

Three sets of starts that share none: one is fitted, one chooses among the iterates, and the
errors that are reported are of the third.
"""

from typing import TYPE_CHECKING

from scorefield.base.source import lazy

if TYPE_CHECKING:
    from scorefield.tune.fit import fit_grid
    from scorefield.tune.fitted import FittedGrid, Stretched
    from scorefield.tune.flow import flow_levels
    from scorefield.tune.halving import Rung, successive_halving
    from scorefield.tune.runs import Fitting

__all__ = [
    "FittedGrid", "Fitting", "Rung", "Stretched", "fit_grid", "flow_levels", "successive_halving",
]  # fmt: skip

__getattr__ = lazy(__name__)
