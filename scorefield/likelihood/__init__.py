"""Floor 3: how likely data are under a model, and what the flow encodes them as.

The flow. With `u = x / n`, `n = sqrt(alpha^2 + sigma^2)`, and `theta = atan(sigma/alpha)` the
probability flow and the log density of what it carries are

    du/dtheta = v = (cos(theta) u - D) / sin(theta),   d log p_u/dtheta = -div v,       (eq. 1)
    div v = (d cos(theta) - n tr J) / sin(theta),   J = dD/dx,   tr J = E v.J v         (eq. 2)

over random probes v with `E v v^T = I` (Hutchinson 1990). N(0, I) data stand still, and what is to
be integrated is how the data differ from them: it is finite at both ends. The integral is one more
coordinate, at the scale of x, of the flow itself,

    dl/dtheta = div v,   log p(x_data) = log p(x_noise) + l + d log(n_noise / n_data),  (eq. 3)

so that every solver takes it along at its own order, the adaptive ones under their own control.

Probes that stay the same along the path err the same way along it. Where a method calls once at
each level the integral is a sum over levels instead,

    l = -1/2 int h dlam,   h = d cos(theta)^2 - alpha v.J v,   lam = logsnr,            (eq. 3a)

along the way up, where lam falls, by cubics in `(alpha/sigma)^(1/4)`: v drawn anew at every level
leaves it unbiased for the exact trace's sum, and its variance is that of a sum of as many.

To a solver a flow is a denoiser; the coordinate's is chosen so that its slope is div v:

    D_l = cos(theta) l - sin(theta) div v.                                              (eq. 4)

Solvers walk from noise to data. In `x = alpha x0 + sigma eps` nothing tells the two apart: with
sigma called alpha and alpha called sigma, eps is the data, the flow the same and its ends change
places. The mirror's denoiser is

    D' = eps_hat = (x - alpha D) / sigma,   D'_l = sin(theta) l + cos(theta) div v,     (eq. 5)

and a solver that walks down there walks up here, multistep, adaptive or whatever it is.

The two ends lie beyond the levels that a model has seen. Between data and the first noisy level
y = x/alpha moves, in `r = sigma/alpha`, with the slope eps_hat,

    dy/dr = (y - D) / r,   d log p(y)/dr = -(d - alpha tr J) / r,                       (eq. 6)

finite at r = 0 for any smooth velocity; that of a posterior mean is odd in r, and 0 there. Slopes
at 1, 4/3, 5/3 and 2 times the first level's r are extrapolated to 0 as a + b r + c r^3 + e r^5, and
what r^2 or r^7 would add is an estimate of the error. Where r is not small beside the data's own
spread, no slope from there on says what the density of clean data is.

At the other end w = x/sigma moves in `rho = alpha/sigma` with D,

    dw/drho = D,   d log p(w)/drho = -sigma tr J,                                       (eq. 7)

to N(0, I) at rho = 0, if the schedule gets there. Where it ends before, a posterior mean tells the
density at its last level. D gives a score, which leads from x to a centre alpha b, b about the mean
of the data; and there, by Bayes's rule, with q = rho^2 the spread that is left about b,

    log p(x) = log N(0; 0, sigma^2 I) + int_0^1 (x - alpha b).score(alpha b + u (x - alpha b)) du
               - 1/2 int_0^q E[|x0 - b|^2 | x = alpha b] dq.                            (eq. 8)

The first integral is Gauss's and Kronrod's, at this level. The second is over noisier ones, and
extrapolated from 1, 5/4, 3/2 and 7/4 q: of an isotropic Gaussian of variance v the spread is
`d v / (1 + q v)`, and what is extrapolated is the difference from that with the same value at q.

Levels. A density is not the probability of a picture with finitely many levels. With x drawn about
the picture from q,

    log P(x0) >= E_q [log p(x) - log q(x | x0)],                                        (eq. 9)

with q uniform on the bin (Theis et al. 2016) or a normal truncated to it, the model's own noise,

    -E log q = d [log(sigma sqrt(2 pi e) Z) - tau phi(tau) / Z],                        (eq. 10)

tau half the bin in units of sigma/alpha and Z = 2 Phi(tau) - 1.

Bounds. For a chain of levels, for infinitely many, and for the controlled process (lam = logsnr):

    log p(x0) >= -L_T - sum_k KL(q(x_{k-1} | x_k, x0) || p(x_{k-1} | x_k)) - L_0       (eq. 11)
    log p(x0) >= -L_T - 1/2 int E |eps - eps_hat|^2 dlam - L_0                         (eq. 12)
    log p(x0) >= E log p(x_1) + int d f dt
                 + int E [(d - alpha tr J) - |eps_hat|^2 / 2] dlam                     (eq. 13)

Both KL arguments of a step are laws of x_{k-1} given x_k. The KL of the forward kernel
q(x_k | x_{k-1}) to p compares laws of different variables and is half a nat a step off.
"""

from scorefield.likelihood.bound import even_edges, sde_bound, vlb
from scorefield.likelihood.decoder import Discretised, Logistic, gaussian
from scorefield.likelihood.dequantise import Dequantised, bits_per_dim, truncated_normal, uniform
from scorefield.likelihood.elbo import elbo
from scorefield.likelihood.ends import start_log_prob
from scorefield.likelihood.estimate import Bound
from scorefield.likelihood.flow import FlowLogProb, Rough, flow_log_prob, path
from scorefield.likelihood.latent import direction, lerp, slerp

__all__ = [
    "Bound", "Dequantised", "Discretised", "FlowLogProb", "Logistic", "Rough", "bits_per_dim",
    "direction", "elbo", "even_edges", "flow_log_prob", "gaussian", "lerp", "path", "sde_bound",
    "slerp", "start_log_prob", "truncated_normal", "uniform", "vlb",
]  # fmt: skip
