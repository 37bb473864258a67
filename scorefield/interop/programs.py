"""Our models out as programs: D, or a whole sampler, in one ONNX file or one of torch."""

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import save as pack

from scorefield.base import BadInput, Level
from scorefield.base.extras import library
from scorefield.base.finding import Figure, Findings
from scorefield.base.pairs import Shown
from scorefield.denoise import Denoiser
from scorefield.draw import Plan
from scorefield.interop.outgoing import check_whole, origin_of
from scorefield.interop.unrolled import unrolled
from scorefield.run.open import Run
from scorefield.store import write_bytes
from scorefield.use.plan import plan_of, settings_of

OPSET = 23
"""Below it a query of attention whose keys are all masked gets the mean of all values, so that what
a sample was not to be told leaks into it."""
BATCHES = (1, 3, 8)
CLOSE = 2e-6
"""Of the largest number, between the runtime and torch."""
CLOSE_WALK = 2e-5
"""The same of a whole sampler, whose calls go on from each other's roundings."""


class Program(nn.Module):
    """D(x, alpha, sigma, conditions), levels `(B,)`; `order` names the conditions."""

    def __init__(self, denoiser: Denoiser, order: tuple[str, ...]) -> None:
        super().__init__()
        self.denoiser, self.order = denoiser, order

    def forward(self, x: Tensor, alpha: Tensor, sigma: Tensor, *cond: Tensor) -> Tensor:
        level = Level(alpha.double(), sigma.double())
        return self.denoiser(x, level, dict(zip(self.order, cond)) or None)


class SamplerProgram(nn.Module):
    """A sampler: noise `(B, *shape)`, draws `(Z, B, *shape)` if it has any, conditions -> x0."""

    def __init__(
        self, denoiser: Denoiser, plan: Plan, scale: float, order: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.denoiser, self.order, self.scale = denoiser, order, scale
        self.walk, self.top = unrolled(plan), float(plan.levels.sigma[0])

    def forward(self, noise: Tensor, *rest: Tensor) -> Tensor:
        draws, *leaves = rest if self.walk.draws else (noise[None], *rest)
        cond = dict(zip(self.order, leaves))
        basis = [self.top * noise]
        for call in self.walk.calls:
            x = self._sum(call.x, basis, draws)
            level = Level(*(x.new_full((x.shape[0],), v, dtype=torch.float64) for v in call.level))
            more = {k: noise.new_full((x.shape[0],), v) for k, v in call.cond.items()}
            basis.append(self._guided(x, level, {**cond, **more}))
        return self._sum(self.walk.end, basis, draws)

    def _sum(self, weights: tuple[float, ...], basis: list[Tensor], draws: Tensor) -> Tensor:
        """Eq. 1 of `unrolled`."""
        calls = len(self.walk.calls)
        parts = [w * b for w, b in zip(weights, basis) if w]
        parts += [w * draws[i] for i, w in enumerate(weights[1 + calls :]) if w]
        return sum(parts[1:], parts[0])

    def _guided(self, x: Tensor, level: Level, cond: dict[str, Tensor]) -> Tensor:
        manner = self.denoiser.manner
        if manner and self.order:
            cond = {**cond, "guidance": x.new_full((x.shape[0],), self.scale)}
        if manner or self.scale == 1 or "null" not in cond:
            return self.denoiser(x, level, cond or None)
        both = {
            k: torch.cat([v, v if k != "null" else torch.ones_like(v)]) for k, v in cond.items()
        }
        twice = Level(*(torch.cat([v, v]) for v in level))
        rows = self.denoiser(torch.cat([x, x]), twice, both)  # `chunk` would fix their count
        with_cond, without = rows.unflatten(0, (2, -1)).unbind(0)
        return without + self.scale * (with_cond - without)


def _program(run: Run, loop: int | None) -> tuple[nn.Module, list[str], list[Tensor]]:
    """What is exported, the names of its inputs, and an example of each."""
    denoiser, info = run.denoiser.eval(), run.info
    denoiser.to(torch.float32)  # the runtime has no convolution of 16 or 64 bits on processors
    cond = _conditions(run)
    order = tuple(cond)
    x = torch.randn(3, *info.shape)
    if loop is None:
        check_whole(run)
        alpha, sigma = (v.float() for v in run.schedule(torch.tensor([0.3, 0.6, 0.8])))
        names = ["x", "alpha", "sigma", *order]
        return Program(denoiser, order).eval(), names, [x, alpha, sigma, *cond.values()]
    settings = settings_of(run, loop)
    plan = plan_of(denoiser, bool(order), **settings)
    if isinstance(plan.levels, Shown) and getattr(plan.solver, "pairs", False):
        raise BadInput(
            f"the run's solver {plan.solver!r} walks pairs of position and velocity, and a graph "
            "of a sampler walks what is seen of them.",
            "Set `sample.solver` of config.json to arc.",
        )
    scale = settings["guidance"] if "null" in order or denoiser.manner else 1.0
    walk = SamplerProgram(denoiser, plan, scale, order)
    draws = [torch.randn(walk.walk.draws, *x.shape)] if walk.walk.draws else []
    names = ["noise", *["draws"] * len(draws), *order]
    return walk.eval(), names, [x, *draws, *cond.values()]


def _conditions(run: Run) -> dict[str, Tensor]:
    """An example of each condition, of three samples; the last has none, if that may be."""
    said, found = run.info.conditions, {}
    if run.info.classes:
        found["label"] = torch.arange(3) % len(run.info.classes)
    for key in said.keys:
        if key == "vector":
            found[key] = torch.randn(3, said.vector or 1)
        elif key == "image":
            found[key] = torch.randn(3, said.image or 1, *run.info.shape[1:])
        elif said.vocabulary:
            found[key] = torch.randint(said.vocabulary, (3, said.length or 1))
        else:
            found[key] = torch.randn(3, 8, said.tokens or 1)
    if found and run.denoiser.reads_null:
        found["null"] = torch.tensor([False, False, True])
    return found


def _batched(names: list[str]) -> list[dict[int, Any]]:
    """Which axis of each input is the batch."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    return [{1 if name == "draws" else 0: batch} for name in names]


def to_onnx(run: Run, out: Path, loop: int | None = None) -> Findings:
    """One ONNX file of float32, any batch, agreed by onnxruntime at batches 1, 3 and 8.

    Raises BadInput where the runtime says other numbers than torch by more than CLOSE of the
    largest, or the network cannot be traced.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        library(name)
    program, names, args = _program(run, loop)
    output = ["denoised" if loop is None else "x0"]
    with torch.no_grad():
        made = _traced(lambda: torch.onnx.export(
            program, tuple(args), input_names=names, output_names=output, opset_version=OPSET,
            dynamo=True, dynamic_shapes=_varying(program, names, args), verbose=False,
        ))  # fmt: skip
        made.model.metadata_props.update(origin_of(run))
    content = made.model_proto.SerializeToString()  # weights and all: one file
    apart = agreed(content, program, names, args)
    write_bytes(out, content)
    record = {"out": str(out), "to": "onnx", "inputs": names, "opset": OPSET, "apart": apart,
              "batches": list(BATCHES), "bytes": len(content)}  # fmt: skip
    how = f"{out}: {', '.join(names)} -> {output[0]}, opset {OPSET}, any batch"
    words = "of the largest number, by onnxruntime at batches 1, 3, 8"
    items = (Figure("apart", apart, best="low", words=words),)
    return Findings("export", str(run.path), how, items, record)


def _varying(program: nn.Module, names: list[str], args: list[Tensor]) -> Any:
    """Batch axes by the arguments of `forward`: those behind * are one."""
    shapes = _batched(names)
    own = 3 if isinstance(program, Program) else 1
    return (*shapes[:own], tuple(shapes[own:])) if shapes[own:] else tuple(shapes)


def _traced(export: Any) -> Any:
    """What `export` makes, without the words of those who make it."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export()
    except BadInput:
        raise
    except Exception as error:  # whatever the tracer says
        message = str(error.__cause__ or error)  # the tracer's own words, not where it was
        first = next((line for line in message.splitlines() if line.strip()), repr(error))
        raise BadInput(f"the network cannot be traced: {first[:200]}.", "Report it.") from error
    finally:
        logging.disable(logging.NOTSET)


def agreed(content: bytes, program: nn.Module, names: list[str], args: list[Tensor]) -> float:
    """The largest difference of the runtime from torch, as a part of the largest number."""
    session, worst = session_of(content), 0.0
    for batch in BATCHES:
        rows = [arg.index_select(1 if name == "draws" else 0, torch.arange(batch) % 3)
                for name, arg in zip(names, args)]  # fmt: skip
        with torch.no_grad():
            wanted = program(*rows)
        try:
            said = session.run(None, {n: r.numpy() for n, r in zip(names, rows)})[0]
        except Exception as error:  # whatever the runtime says
            first = str(error).strip().splitlines()[0]
            raise BadInput(
                f"onnxruntime cannot run the graph at batch {batch}: {first[:160]}.", "Report it."
            ) from error
        got = torch.from_numpy(said)
        worst = max(worst, float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1)))
    if not worst <= (CLOSE_WALK if isinstance(program, SamplerProgram) else CLOSE):
        raise BadInput(
            f"onnxruntime differs from torch by {worst:.1e} of the largest number.", "Report it."
        )
    return worst


def session_of(content: bytes) -> Any:
    """A session of the runtime on one thread, whose numbers depend on nothing else."""
    ort = library("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def to_torch(run: Run, out: Path, loop: int | None = None) -> Findings:
    """The same program by torch.export, as a .pt2 archive."""
    program, names, args = _program(run, loop)
    with torch.no_grad():
        made = _traced(lambda: torch.export.export(
            program, tuple(args), dynamic_shapes=_varying(program, names, args), strict=False
        ))  # fmt: skip
    packed = io.BytesIO()
    pack(made, packed)
    content = packed.getvalue()
    write_bytes(out, content)
    record = {"out": str(out), "to": "torch", "inputs": names, "bytes": len(content)}
    return Findings("export", str(run.path), f"{out}: {', '.join(names)}, any batch", (), record)
