"""A network as a denoiser: `D = c_skip x + c_out F(c_in x, noise, cond)`.

What a network is trained to predict is nothing but a pair (c_skip, c_out) (Karras et al. 2022,
eq. 7). With s = sigma_data, the standard deviation of the data, and a = alpha, b = sigma:

    view   c_skip                          c_out                           F means
    x0     0                               1                               x0
    eps    1/a                             -b/a                            eps
    score  1/a                             b^2/a                           score = -eps/b
    v      a / (a^2 + b^2)                 -b / (a^2 + b^2)                a eps - b x0
    flow   1 / (a + b)                     -b / (a + b)                    eps - x0
    edm    a s^2 / (a^2 s^2 + b^2)         s b / sqrt(a^2 s^2 + b^2)       unit-variance residual

In every view `c_in = 1 / sqrt(a^2 s^2 + b^2)`, so that the network's input has unit variance at
every level of every schedule. At pure noise (alpha = 0) the eps and score views are undefined; the
others hold at every level. The score view's F grows like 1/b, out of reach of a network whose
outputs are about 1: it is what score networks predict (Song and Ermon 2019), best at levels near
b = 1; the other views are of unit size at every level.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from scorefield.base import BadInput, Cond, Level, like, unknown
from scorefield.base.bucket import BUCKET, SMALL, lacking
from scorefield.data import Scaling
from scorefield.data.codec import Codec
from scorefield.process import Schedule, Spectral, basis_of, level_of

Precision = Literal["fp32", "bf16"]
NOISE_RANGE = 10.0
"""The network's noise input `log(sigma/alpha)` is clamped here, so that it is finite everywhere."""
EVEN_RANGE = 5.0
"""The same of what is taught at uniform t of `flow`: log(t/(1-t)) is beyond for one draw in 75, and
a number that is hardly ever told is answered at random. (A bridge's first D, told 10: RMSE .381;
told 5: .352.)"""


def noise_number(level: Level, x: Tensor, most: float = NOISE_RANGE) -> Tensor:
    """How a network is told a level: log(sigma/alpha) `(B,)`, of one per coordinate that of the
    means of both, clamped to +-most."""
    return level.overall.ratio.log().clamp(-most, most).to(x).expand(x.shape[0])


class Parameterisation(Protocol):
    """A parameterisation: `(c_skip, c_out)` at a level, float64 leaves like the level's."""

    def __call__(self, level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]: ...


def x0_view(level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]:
    """F = x0."""
    return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


def eps_view(level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]:
    """F = eps; undefined where alpha = 0."""
    return 1 / level.alpha, -level.sigma / level.alpha


def score_view(level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]:
    """F = the score, -eps/sigma; undefined where alpha = 0."""
    return 1 / level.alpha, level.sigma**2 / level.alpha


def v_view(level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]:
    """F = alpha eps - sigma x0 (Salimans and Ho 2022)."""
    norm = level.alpha**2 + level.sigma**2
    return level.alpha / norm, -level.sigma / norm


def flow_view(level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]:
    """F = eps - x0, the straight path's velocity."""
    norm = level.alpha + level.sigma
    return 1 / norm, -level.sigma / norm


def edm_view(level: Level, sigma_data: Any) -> tuple[Tensor, Tensor]:
    """F has unit variance and its errors are amplified least (Karras et al. 2022, app. B.6)."""
    a, b, s = level.alpha, level.sigma, sigma_data
    norm = a**2 * s**2 + b**2
    return a * s**2 / norm, s * b / norm.sqrt()


views: Mapping[str, Parameterisation] = {
    "x0": x0_view,
    "eps": eps_view,
    "score": score_view,
    "v": v_view,
    "flow": flow_view,
    "edm": edm_view,
}


class Manner(NamedTuple):
    """How a model of few steps is sampled: by `plan`, the spec of one, unless it is said; with the
    scale of guidance as the condition "guidance", up to `guidance`, that was distilled in.

    `learned` says what else it can: nothing, made for that "plan" alone; from every level the
    "ends" of the flow, in any number of the plan's steps; of "maps" between any two levels,
    D = E[x0 | x] too, for every solver; or "mean", that D alone, in which the plan's steps are few
    by what else it has: `Denoiser.slope`, or `Denoiser.sampler` and its teacher's guidance."""

    plan: str
    guidance: float = 1.0
    learned: Literal["plan", "ends", "maps", "mean"] = "maps"

    @property
    def has_mean(self) -> bool:
        """Whether D = E[x0 | x], which every solver can walk by."""
        return self.learned in ("maps", "mean")


class Denoiser(nn.Module):
    """A network with its preconditioning: `D(x, level, cond) = E[x0 | x]`, shaped like x.

    The only class that knows a network. `net(x, noise, cond)` sees the scaled input, the number
    `noise = log(sigma/alpha)` per sample `(B,)`, clamped to +-10, and the conditions. It never
    sees a schedule or a time, so the schedule can change after training. `schedule`, `shape` (of
    one sample), `scaling` and `classes` say what it was trained with; sampling does not need them.
    Of a model on latents `codec` says what they
    are of (`encode`, `decode`), and it has no scaling of its own. If the schedule has a level for
    each coordinate of a basis, x are coordinates, `shape` theirs (`encode`, `decode`), and levels
    those of `lift`; a network sees places, or coordinates that lie in places. The data's deviation
    is then each band's own, where the schedule knows it. A schedule with weights
    (`Learned`) trains, averages and saves with the network's. A model of
    few steps brings its `manner`; its D is where it leads.

    `precision` is that of the network's products and of what it keeps between its layers; weights,
    x and D keep their dtype. "bf16" rounds D by about 1% of c_out, alike in every batch.

    With `variance` the network returns twice the channels; the second half says, for each number
    of x, which fraction of the log-variance of a reverse step is beta's (`moments`).

    >>> zero = Denoiser(lambda x, noise, cond: 0 * x, view="v")
    >>> zero(torch.tensor([[2.0]]), Level.of(0.6, 0.8))  # alpha x / (alpha^2 + sigma^2)
    tensor([[1.2000]])
    """

    precision: Precision = "fp32"
    reads_null = True
    """A row with `cond["null"]` is one without condition."""
    manner: Manner | None = None
    codec: Codec | None = None
    space: Any = None
    """Of a model that is not on R^n, where it is (`Spaced`)."""
    sampler: nn.Module | None
    """Of a learned sampler, whose `solver` and `levels` take the place of the plan's."""

    def __init__(
        self,
        net: Callable[[Tensor, Tensor, Cond | None], Tensor],
        view: str = "edm",
        sigma_data: float = 0.5,
        *,
        variance: bool = False,
        schedule: Schedule | None = None,
        shape: tuple[int, ...] = (),
        scaling: Scaling | None = None,
        classes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.register_module("sampler", None)
        if view not in views:
            raise unknown("view", view, views)
        if not sigma_data > 0:
            raise BadInput(f"sigma_data is {sigma_data}.", "Give the data's standard deviation.")
        self.net, self.view, self.sigma_data, self.variance = net, view, sigma_data, variance
        self.schedule, self.scaling, self.classes = schedule, scaling, classes
        self.basis = basis_of(schedule)
        self.shape = tuple(self.basis.shape(shape)) if shape else shape
        self.units: Tensor | float = sigma_data
        if isinstance(schedule, Spectral):
            if scaling and scaling.constant:
                raise BadInput(
                    f"coordinate {scaling.constant[0]} of the data is constant, and the schedule "
                    f"{type(schedule).__name__} mixes coordinates.",
                    "Leave the constant ones out of the data, or use another schedule.",
                )
            own = schedule.units(self.shape) if self.shape else None
            self.units = sigma_data if own is None else own

    def __repr__(self) -> str:
        """One line: what it predicts, of what, and how large its network is."""
        count = sum(p.numel() for p in self.parameters())
        shape = "x".join(map(str, self.shape)) or "any shape"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        net = type(self.net).__name__
        return f"Denoiser({net}, {self.view}, {count:,} parameters, {shape}{classes})"

    def encode(self, data: Tensor) -> Tensor:
        """What data `(B, ...)` are to the model, x0: latents, if it has a codec."""
        return self.basis.forward(data if self.codec is None else self.codec.encode(data))

    def decode(self, x0: Tensor) -> Tensor:
        """What x0 is as data, pictures in [-1, 1]: the inverse of `encode`, as far as it has
        one."""
        x0 = self.basis.inverse(x0)
        return x0 if self.codec is None else self.codec.decode(x0)

    @property
    def net_shape(self) -> tuple[int, ...]:
        """The shape of what the network reads: places, or coordinates that lie in places."""
        return self.shape

    def lift(self, level: Level) -> Level:
        """The level of x where the schedule's clock is at `level`."""
        return level_of(self.schedule, level, self.shape)

    def forward(
        self, x: Tensor, level: Level, cond: Cond | None = None, *, moments: bool = False
    ) -> Any:
        """D, or with `moments` the pair (D, v): here, so that wrappers of a module see it."""
        denoised, rest = self._both(x, level, cond)
        if not moments:
            return denoised
        if rest is None or not self.variance:
            raise BadInput(
                "this denoiser has not learned a variance.",
                "Train it with the hybrid objective, or use a fixed variance from 0 to 1.",
            )
        return denoised, (rest + 1) / 2

    def _both(self, x: Tensor, level: Level, cond: Cond | None) -> tuple[Tensor, Tensor | None]:
        """D, and the second half of the channels of a network that has twice those of x."""
        if isinstance(self.schedule, Spectral) and not level.per_coordinate:
            raise BadInput(
                f"the model's process, {type(self.schedule).__name__}, has a level for each "
                "coordinate, and one for all was given.",
                "Use what takes such a process (docs/processes.md), or another model.",
            )
        c_skip, c_out, c_in = self.coefficients(level)
        given, rest = like(c_in, x) * x, None
        given = given if self.basis.places else self.basis.inverse(given)
        out = self.evaluated(given, self.c_noise(x, level), cond)
        if self.variance or self._sloped:
            out, rest = self._halves(out, x)
        out = out if self.basis.places else self.basis.forward(out.to(x))
        denoised = like(c_skip, x) * x + like(c_out, x) * out
        if self.scaling and self.scaling.constant:  # x0 is 0 there, and so is its mean
            constant = torch.tensor(self.scaling.constant, device=x.device)
            denoised = denoised.index_fill(1, constant, 0.0)
        return denoised, rest

    def evaluated(self, x: Tensor, noise: Tensor, cond: Cond | None) -> Tensor:
        """The network's own output of what it is given, in the precision of this."""
        plain = torch.is_grad_enabled() or torch.compiler.is_exporting()
        call = self.net if plain else self._in_buckets
        half = self.precision == "bf16"  # else as around this: training has a context of its own
        with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
            return call(x, noise, cond)

    @property
    def _sloped(self) -> bool:
        return hasattr(getattr(self.net, "out", None), "slope")

    @property
    def slope(self) -> Callable[..., tuple[Tensor, Tensor]] | None:
        """`(x, level, cond) -> (D, dD/dlog(sigma/alpha))` along the flow in one call, of a network
        with a head k for it (`nets.slopes`); None without.

            dD/dlog(sigma/alpha) = s sin(a) cos(a) k,   tan(a) = sigma / (s alpha),  s = sigma_data
        """
        return self._slope if self._sloped else None

    def _slope(self, x: Tensor, level: Level, cond: Cond | None = None) -> tuple[Tensor, Tensor]:
        denoised, k = self._both(x, level, cond)
        data = self.sigma_data * level.alpha
        size = self.sigma_data * data * level.sigma / (data**2 + level.sigma**2)
        return denoised, like(size, x) * cast(Tensor, k)

    def moments(self, x: Tensor, level: Level, cond: Cond | None = None) -> tuple[Tensor, Tensor]:
        """`(D, v)`: a reverse step's `log s^2 = v log large + (1 - v) log small`, v a fraction,
        with the posterior's variance as small and beta as large (Nichol and Dhariwal 2021, eq. 15).

        A network's output of -1, 0 or 1 is a v of 0, 1/2 or 1; nothing keeps it in between.
        """
        return self(x, level, cond, moments=True)

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor, Tensor]:
        """`(c_skip, c_out, c_in)` at a level."""
        c_in = 1 / (level.alpha**2 * self.units**2 + level.sigma**2).sqrt()
        return *views[self.view](level, self.units), c_in

    def c_noise(self, x: Tensor, level: Level) -> Tensor:
        """The number `(B,)` by which the network is told the level of x."""
        return noise_number(level, x)

    def target(self, x: Tensor, x0: Tensor, level: Level) -> Tensor:
        """What F must be for D to be x0: `(x0 - c_skip x) / c_out`."""
        c_skip, c_out, _ = self.coefficients(level)
        return (x0 - like(c_skip, x) * x) / like(c_out, x)

    def _in_buckets(self, x: Tensor, noise: Tensor, cond: Cond | None) -> Tensor:
        """The network's output on a batch filled up with its last row."""
        more = lacking(len(x))
        if not more or (x[0].numel() > SMALL and len(x) < 8 * BUCKET):
            return self.net(x, noise, cond)
        rows = torch.arange(len(x) + more, device=x.device).clamp(max=len(x) - 1)
        full = None if cond is None else {name: leaf[rows] for name, leaf in cond.items()}
        return self.net(x[rows], noise[rows], full)[: len(x)]

    def _halves(self, out: Tensor, x: Tensor) -> Any:
        if out.ndim != x.ndim or out.shape[1] != 2 * x.shape[1]:
            raise BadInput(
                f"a denoiser with a variance got {tuple(out.shape)} from its network for x of "
                f"shape {tuple(x.shape)}.",
                "Give a network with twice the channels in its output.",
            )
        return out.chunk(2, 1)


def quicker(own: Precision) -> Precision:
    """The precision to sample in: the model's own where the device computes it the faster.

    A function of the machine, never of a clock: a pause changes no sample. A processor is faster in
    bfloat16 with matrix units (AMX) or products of pairs (AVX512_BF16), but not where it has
    AVX512_FP16 and no matrix units: Intel's cores do those products at .53 of the rate of float32
    there, and a U-Net takes 1.3 times as long (`make bench-wait`: sampling).
    """
    if own == "fp32" or torch.cuda.is_available():
        bf16 = own == "bf16" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if bf16 else "fp32"
    able = getattr(torch.cpu, "get_capabilities", dict)()
    pairs = able.get("avx512_bf16") and not able.get("avx512_fp16")
    return "bf16" if pairs or able.get("amx_bf16") else "fp32"
