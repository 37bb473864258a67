"""The arrows of the house: a denoiser, a guide; and what a condition is."""

from collections.abc import Callable, Mapping

from torch import Tensor

from scorefield.base.level import Level

Cond = Mapping[str, Tensor]
"""Conditions, batch-first: `label (B,) int64`, `vector (B, d)`, `image (B, C', H, W)`,
`tokens (B, L) int64` or `(B, L, d)` and their `mask (B, L) bool` (False: a place that is filled up
and not read), `null (B,) bool` (True: that sample is unconditional, as is one of which no token is
read). `None` in place of a `Cond` means that every sample is unconditional."""

Denoise = Callable[[Tensor, Level, Cond | None], Tensor]
"""`D(x, level, cond) = E[x0 | x]`: noisy tensor, noise level, condition -> posterior mean."""

Map = Callable[[Tensor, Level, Level, Cond | None], Tensor]
"""`Map(x, here, there, cond) = x_there`: where the flow takes x from one level to another, in one
call. What has learned one is a `Denoise` (`solve.map_of`)."""

Guide = Callable[[Denoise], Denoise]
"""Anything that changes what a solver sees: wraps a denoiser, so it composes with all of them."""
