"""Samples of every verb stay bit-identical at the same seeds: digests of tiny runs, kept.

`digests.json` has, for each array that a verb wrote, a sha256 of its float32 bytes, its root mean
square and numbers spread over it. The machine that wrote the file compares the digests; any other
one, whose rounding differs, the numbers. `python -m tests.cli.test_digests --write` writes it anew:
only where another number is meant, with the reason in the commit.
"""

import contextlib
import csv
import hashlib
import io
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

import scorefield
from scorefield.cli import main
from scorefield.report import picture

KEPT = Path(__file__).with_name("digests.json")
SMALL = "--net.width 8 --net.blocks 1 --batch 32 --images 128 --checkpoint-every 64 --seed 7"
SMALL += " --optimizer adamw --decay cosine --warmup 20000"
DIGITS = f"{SMALL} --net.multipliers 1 --sample.steps 4"
POINTS = "--net.width 16 --batch 64 --images 256 --checkpoint-every 256 --sample.steps 4"
RUNS = {
    "digits": f"digits {DIGITS} --snapshot-every 32",
    "learned": f"digits-likelihood {DIGITS}",
    "dit": f"digits {SMALL} --net.name dit --objective.schedule flow --objective.view flow",
    "hybrid": f"digits {DIGITS} --objective.kind hybrid --objective.schedule ddpm"
    " --objective.view eps --objective.weight simple",
    "moons": f"moons {POINTS}",
    "sliced": f"swiss-roll {POINTS} --objective.kind sliced --objective.schedule edm",
}
"""Run: what trains it."""

SOLVERS = (
    "ddpm ddim heun dpmpp2m dpmpp2s dpmpp3m dpm2 dpm3 deis1 deis2 deis3 unipc2 unipc3 unipc4 lms4"
    " arc exp-arc ipndm4 pndm ge midpoint rk4 mu euler-maruyama stochastic-heun sde-dpmpp2m sa"
    " predictor-corrector restart bogacki-shampine dormand-prince gotta-go-fast"
)
GRIDS = "uniform-t uniform-logsnr karras exponential vp-root lu beta"
SAMPLES = {
    "default": "digits --n 4",
    "ddpm": "digits --n 4 --solver ddpm",
    "guided": "digits --n 4 --solver heun --grid karras --guidance 2 --labels 3,5",
    "classifier": "digits --n 4 --unconditional --guide classifier --guidance 2 --labels 0-9",
    "bulk": "digits --seeds 3-12 --batch 4",
    "average": "digits --n 4 --average 0.1",
    "fitted": "digits --n 4 --grid few",
    **{f"of {run}": f"{run} --n 4 --steps 4" for run in list(RUNS)[1:]},
    **{f"by {solver}": f"moons --n 6 --steps 6 --solver {solver}" for solver in SOLVERS.split()},
    **{f"on {grid}": f"moons --n 6 --grid {grid}" for grid in GRIDS.split()},
}
EDITS = {
    "noise": "--n 3",
    "mask": "--n 3 --mask mask.png --labels 7 --seeds 4-6",
    "strength": "--strength .8 --labels 2 --guidance 2 --n 2 --solver ddpm",
    "encode": "--encode --source 7 --labels 3,5",
}
STRIPS = {
    "slerp": "--to to.png --steps 4",
    "lerp": "--to to.png --steps 4 --mode lerp --label 3",
    "attribute": "--attribute 8,3 --steps 2",
}
ANAGRAMS = {"turned": "--labels 6,9", "parts": "--labels 1,0 --views low:2,high:2"}
RESTORED = {
    **{m: f"--operator box:2,2,4,4 --method {m}" for m in ("dps", "ddrm", "twisted", "repaint")},
    "mmps": "--operator pool:2 --method mmps --labels 3 --guidance 2",
    "tmpd": "--operator blur:1 --method tmpd --solver heun",
    "pigdm": "--operator radon:6 --method pigdm",
    "diffpir": "--operator random:.5 --method diffpir --noise .1",
    "replacement": "--operator random:.3 --method replacement --noise 0",
    "dps-published": "--operator motion:3,30 --method dps-published",
    "clip": "--operator clip:2 --method dps",
    "fourier": "--operator fourier:2 --method dps",
    "project": "--operator project:20 --method dps",
}
BITS = {
    "flow": "digits --steps 4", "elbo": "digits --method elbo", "vlb": "digits --method vlb",
    "bound": "digits --method bound", "density": "moons --steps 4",
}  # fmt: skip

Arrays = dict[str, np.ndarray]


def cli(words: str) -> str:
    """What the command says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main(words.split())
    assert code == 0, words
    return said.getvalue()


def figures(words: str) -> dict:
    return json.loads(cli(f"{words} --json"))


def npz(words: str, name: str = "x") -> np.ndarray:
    """The array of that name in the file that the command writes."""
    cli(f"{words} --out out.npz")
    with np.load("out.npz", allow_pickle=False) as arrays:
        return arrays[name]


def pixels(file: str | Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def uncaptioned(file: str) -> np.ndarray:
    """The 8 x 8 pictures of a sheet with captions, on one without."""
    sheet = pixels(file)[..., 0]
    rows, columns = sheet.shape[0] // 116, sheet.shape[1] // 96
    corners = [(8 + 116 * i, 8 + 96 * j) for i in range(rows) for j in range(columns)]
    cells = np.stack([sheet[top : top + 88 : 11, left : left + 88 : 11] for top, left in corners])
    return np.asarray(picture(torch.tensor(cells)[:, None] / 127.5 - 1, columns))


def weights(file: str) -> np.ndarray:
    return np.concatenate([x.ravel() for _, x in sorted(load_file(file).items())])


def bits(words: str) -> np.ndarray:
    cli(f"likelihood {words} --n 4 --out bits.csv")
    with open("bits.csv") as file:
        return np.array([float(row["bits_per_dim"]) for row in csv.DictReader(file)])


def draw_inputs() -> None:
    """Two pictures and a mask."""
    random = np.random.RandomState(0)
    half = np.where(np.arange(8)[:, None] < 4, 255, 0).repeat(8, 1)
    drawn = {"in": random.randint(0, 256, (8, 8)), "to": random.randint(0, 256, (8, 8))}
    for name, x in {**drawn, "mask": half}.items():
        Image.fromarray(x.astype(np.uint8)).save(f"{name}.png")


def made() -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of what each verb makes, in the working directory."""
    draw_inputs()
    for run, words in RUNS.items():
        cli(f"train {words} --out {run}")
        yield f"train {run}", weights(f"{run}/ema.safetensors")

    said = figures("train-classifier digits --images 256 --width 8 --blocks 1")
    hits = np.array(list(said["accuracy_by_logsnr"].values())) * said["examples"]
    yield "train-classifier", weights("digits/classifier.safetensors")
    yield "train-classifier hits", np.rint(hits).astype(int)
    cli("ema digits --length 0.1")
    yield "ema", weights("digits/averages/0.1.safetensors")
    fit = figures("fit-grid digits --starts 16 --rounds 2 --steps 3 --name few --labels 3,5")
    yield "fit-grid", np.array([*fit["alpha"], *fit["sigma"], *fit["stretch"]])

    for name, words in SAMPLES.items():
        yield f"sample {name}", npz(f"sample {words}")
    cli("sample digits --n 4 --out sheet.png")
    yield "sample sheet", pixels("sheet.png")
    cli("sample digits --n 4 --out single")
    yield "sample single", np.stack([pixels(file) for file in sorted(Path("single").iterdir())])
    model = scorefield.load("digits")
    x0 = scorefield.generate(model, 5, labels=[3, 5], guidance=1.5, steps=4, seeds=range(2, 7))
    yield "generate", x0.numpy()

    for name, words in EDITS.items():
        yield f"edit {name}", npz(f"edit digits --input in.png {words}")
    for name, words in STRIPS.items():
        yield f"interpolate {name}", npz(f"interpolate digits --from in.png --between 2 {words}")
    for name, words in ANAGRAMS.items():
        cli(f"anagram digits --n 3 {words} --out anagram.png")
        yield f"anagram {name}", uncaptioned("anagram.png")
    yield "encode", npz("encode digits --input in.png --label 3", "z")
    Path("out.npz").rename("z.npz")
    yield "decode", npz("encode digits --decode z.npz")
    for name, words in RESTORED.items():
        cli(f"restore digits --input test:3 --n 3 --steps 6 {words} --out restored")
        with np.load("restored/restore.npz", allow_pickle=False) as arrays:
            yield f"restore {name}", np.concatenate([arrays["x"].ravel(), arrays["y"].ravel()])
    for name, words in BITS.items():
        yield f"likelihood {name}", bits(words)
    frechet = figures("eval moons --n 50")["frechet"]
    yield "eval moons", np.array([frechet["value"], frechet["floor"]])


def made_slowly() -> Iterator[tuple[str, np.ndarray]]:
    """What takes some seconds: a judge learns, a bound asks a learned schedule often."""
    cli(f"train {RUNS['learned']} --out bound")
    yield "likelihood learned", bits("bound --method vlb --draws 1")
    cli(f"train {RUNS['digits']} --out judged")
    said = figures("eval judged --n 20")
    for name, keys in {
        "frechet": ("value", "floor"),
        "memorisation": ("ratio", "distance", "held_out_distance"),
        "precision_recall_real": ("precision", "recall", "density", "coverage"),
    }.items():
        yield f"eval {name}", np.array([said[name][key] for key in keys])
    said = figures("compare judged --n 10 --steps 2,4 --solvers ddim,heun@karras,ddpm")
    distances = [cell["distance"]["mean"] for cell in said["cells"] if cell["distance"]]
    yield "compare distance", np.array(distances)
    yield "compare frechet", np.array([cell["quality"]["frechet"] for cell in said["cells"]])


def collect(makers: Iterable[Callable[[], Iterator[tuple[str, np.ndarray]]]]) -> Arrays:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return {name: x for maker in makers for name, x in maker()}


# Digests


def machine() -> dict[str, str]:
    """What a sum's last bit depends on."""
    file = Path("/proc/cpuinfo")
    text = file.read_text() if file.exists() else platform.processor()
    cpu = sorted(set(re.findall(r"^(?:cpu family|model|model name)\t.*", text, re.M))) or [text]
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cpu": hashlib.sha256("\n".join(cpu).encode()).hexdigest()[:12],
    }


def mark(x: np.ndarray) -> dict:
    """The digest, the root mean square, and up to eight numbers from the first to the last."""
    x32, flat = x.astype("<f4"), x.astype(float).ravel()
    spread = np.linspace(0, flat.size - 1, min(flat.size, 8)).round().astype(int)
    return {
        "sha256": hashlib.sha256(x32.tobytes()).hexdigest(),
        "unit": int(np.issubdtype(x.dtype, np.integer)),
        "rms": float(f"{np.sqrt(np.square(flat).mean()):.7g}"),
        "numbers": [float(f"{value:.7g}") for value in flat[spread]],
    }


def same_numbers(found: dict, kept: dict, fraction: float = 1e-3) -> bool:
    """Within `fraction` of the root mean square, thirty times what other instruction sets were seen
    to change (3e-5; two threads: 6e-6); pixels and counts may be off by one."""
    if len(found["numbers"]) != len(kept["numbers"]):
        return False
    allowed = fraction * kept["rms"]
    off = np.abs(np.subtract(found["numbers"], kept["numbers"])).max()
    return off <= max(allowed, kept["unit"]) and abs(found["rms"] - kept["rms"]) <= allowed


def differing(arrays: Arrays, kept: dict[str, dict], exact: bool) -> list[str]:
    """Names of the arrays that are others than those kept."""
    marks = {name: mark(x) for name, x in arrays.items()}
    if exact:
        return [name for name, m in marks.items() if m["sha256"] != kept[name]["sha256"]]
    return [name for name, m in marks.items() if not same_numbers(m, kept[name])]


def compare_with_kept(arrays: Arrays) -> None:
    kept = json.loads(KEPT.read_text())
    exact = kept["machine"] == machine()
    assert differing(arrays, kept["arrays"], exact) == [], "exactly" if exact else "nearly"


def test_what_verbs_make_is_what_they_made():
    compare_with_kept(collect([made]))


def test_what_takes_longer_is_what_it_was():
    compare_with_kept(collect([made_slowly]))


def test_twin_another_last_bit_is_seen():
    x = np.random.RandomState(0).randn(4, 8, 8).astype(np.float32)
    kept, other = {"x": mark(x)}, x.copy()
    other[2, 3, 5] = np.nextafter(other[2, 3, 5], np.float32(9))
    assert differing({"x": x}, kept, exact=True) == []
    assert differing({"x": other}, kept, exact=True) == ["x"]
    assert differing({"x": other}, kept, exact=False) == []


def test_twin_one_part_in_a_hundred_is_seen_on_any_machine():
    x = np.random.RandomState(0).randn(4, 8, 8).astype(np.float32)
    picture = np.random.RandomState(0).randint(0, 255, (8, 8)).astype(np.uint8)
    kept = {"x": mark(x), "picture": mark(picture)}
    assert differing({"x": x * 1.01, "picture": picture * 1.01}, kept, exact=False) == [*kept]
    assert differing({"x": x, "picture": picture + (picture == 7)}, kept, exact=False) == []
    assert differing({"x": x[:1], "picture": picture[:1, :5]}, kept, exact=False) == [*kept]


def write() -> None:
    """Keep what this machine makes, a line an array."""
    lines = [
        f"{json.dumps(n)}: {json.dumps(mark(x))}" for n, x in collect([made, made_slowly]).items()
    ]
    arrays = ",\n".join(lines)
    KEPT.write_text(f'{{"machine": {json.dumps(machine())},\n"arrays": {{\n{arrays}\n}}}}\n')


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("python -m tests.cli.test_digests --write")
    write()
