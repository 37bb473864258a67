"""What a step of consistency distillation costs beside its network passes, and a slope beside one
forward pass: `python -m benchmarks.distilled.cost`, processor time, in turn, medians."""

import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.distilled import ring
from scorefield.distill import METHODS, student_of
from scorefield.distill.distil import as_data
from scorefield.distill.trigflow import along
from scorefield.nets import MLP, UNet
from scorefield.train import Training, fit

BATCH, ROUNDS = {"ring": 1024, "pictures": 64}, 25


def clocked(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.process_time()
            call()
            found[name].append(1e3 * (time.process_time() - began))
    return {name: median(values[3:]) for name, values in found.items()}


def measured(name: str, net: torch.nn.Module, shape: tuple[int, ...]) -> None:
    """Print the figures of one network, its own copy the teacher where there is none exact."""
    n = BATCH[name]
    data = as_data(torch.randn(4 * n, *shape))
    student = student_of(None, shape, ring.SCHEDULE, data, net)
    exact = ring.DATA.denoise if shape == (2,) else None
    teacher = exact or student_of(None, shape, ring.SCHEDULE, data, net)
    task = METHODS["consistency"](student, teacher)
    steps = fit(task, data, Training(images=2 * ROUNDS * n, batch=n))
    x, angle = data.train.x[:n], torch.linspace(0.1, 1.4, n, dtype=torch.float64)

    def forward(x=x, angle=angle):
        with torch.no_grad():
            return student(x, task.level(angle))

    def both() -> None:
        student(x, task.level(angle)).square().mean().backward()
        student.zero_grad()

    ms = clocked({
        "step": lambda: next(steps), "forward": forward, "both": both,
        "teacher": lambda: task.teach(x, task.level(angle), None, angle),
        "slope": lambda: along(forward, x, angle, x, angle.sin() * angle.cos()),
    })  # fmt: skip
    passes = ms["both"] + ms["forward"] + 2 * ms["teacher"]
    told = ", ".join(f"{key} {value:.2f} ms" for key, value in ms.items())
    print(f"{name}: {told}; step / passes {ms['step'] / passes:.2f}, "
          f"slope / forward {ms['slope'] / ms['forward']:.2f}")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    measured("ring", MLP((2,), width=64, blocks=3), (2,))
    measured("pictures", UNet((1, 8, 8), width=32, multipliers=(1, 2)), (1, 8, 8))
