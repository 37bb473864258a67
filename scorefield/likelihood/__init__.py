"""Floor 3: how likely data are under a model, and what the flow encodes them as.

The flow. With `u = x / n`, `n = sqrt(alpha^2 + sigma^2)`, and `theta = atan(sigma/alpha)` the
probability flow and the log density of what it carries are

    du/dtheta = v = (cos(theta) u - D) / sin(theta),   d log p_u/dtheta = -div v,       (eq. 1)
    div v = (d cos(theta) - n tr J) / sin(theta),   J = dD/dx,   tr J = E v.J v         (eq. 2)

over random probes v with `E v v^T = I` (Hutchinson 1990). N(0, I) data stand still, and what is to
be integrated is how the data differ from them: it is finite at both ends. The integral is one more
coordinate, at the scale of x, of the flow itself,

    dl/dtheta = div v,   log p(x_data) = log p(x_noise) + l + d log(n_noise / n_data),  (eq. 3)

so that every solver takes it along at its own order, the adaptive ones under their own control. To
a solver a flow is a denoiser; the coordinate's is chosen so that its slope is div v:

    D_l = cos(theta) l - sin(theta) div v.                                              (eq. 4)

Solvers walk from noise to data. In `x = alpha x0 + sigma eps` nothing tells the two apart: with
sigma called alpha and alpha called sigma, eps is the data, the flow the same and its ends change
places. The mirror's denoiser is

    D' = eps_hat = (x - alpha D) / sigma,   D'_l = sin(theta) l + cos(theta) div v,     (eq. 5)

and a solver that walks down there walks up here, multistep, adaptive or whatever it is.

Data have no noise and levels have. Between the two y = x/alpha moves, in `s = (sigma/alpha)^2`,
with the slope `(y - D) / 2s` and log p(y) with `(d - alpha tr J) / 2s`, both smooth down to s = 0
where the data have a density. Their values at s and 2s are a step of second order in s:

    y(s) = y(0) + s (3 k_1 - k_2) / 2.                                                  (eq. 6)

At the other end, with `w = x/sigma` held and `rho = alpha/sigma`, Bayes gives

    log p(x) = log N(x; 0, sigma^2 I) + int_0^rho [w.D - rho |D|^2 - sigma tr J] drho,  (eq. 7)

an integral over levels noisier than any that a model has seen, extrapolated from its integrand at
1, 2, 3 and 4 rho (Adams's weights). The error is of the fifth power of rho |x0|.

Levels. A density is not the probability of a picture with finitely many levels. With x drawn about
the picture from q,

    log P(x0) >= E_q [log p(x) - log q(x | x0)],                                        (eq. 8)

with q uniform on the bin (Theis et al. 2016) or a normal truncated to it, the model's own noise,

    -E log q = d [log(sigma sqrt(2 pi e) Z) - tau phi(tau) / Z],                        (eq. 9)

tau half the bin in units of sigma/alpha and Z = 2 Phi(tau) - 1.

Bounds. For a chain of levels, for infinitely many, and for the controlled process (lam = logsnr):

    log p(x0) >= -L_T - sum_k KL(q(x_{k-1} | x_k, x0) || p(x_{k-1} | x_k)) - L_0       (eq. 10)
    log p(x0) >= -L_T - 1/2 int E |eps - eps_hat|^2 dlam - L_0                         (eq. 11)
    log p(x0) >= E log p(x_1) + int d f dt
                 + int E [(d - alpha tr J) - |eps_hat|^2 / 2] dlam                     (eq. 12)

Both KL arguments of a step are laws of x_{k-1} given x_k. The KL of the forward kernel
q(x_k | x_{k-1}) to p compares laws of different variables and is half a nat a step off.
"""

from scorefield.likelihood.bound import sde_bound, vlb
from scorefield.likelihood.decoder import Discretised, gaussian
from scorefield.likelihood.dequantise import Dequantised, bits_per_dim, truncated_normal, uniform
from scorefield.likelihood.elbo import elbo
from scorefield.likelihood.estimate import Bound
from scorefield.likelihood.flow import FlowLogProb, flow_log_prob, path, start_log_prob
from scorefield.likelihood.latent import direction, lerp, slerp

__all__ = [
    "Bound",
    "Dequantised",
    "Discretised",
    "FlowLogProb",
    "bits_per_dim",
    "direction",
    "elbo",
    "flow_log_prob",
    "gaussian",
    "lerp",
    "path",
    "sde_bound",
    "slerp",
    "start_log_prob",
    "truncated_normal",
    "uniform",
    "vlb",
]
