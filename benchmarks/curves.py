"""Curves of the service under locust, with batching and without.

    python -m benchmarks.curves runs/digits --locust LOCUST --out docs/benchmarks/serving/curves

1 to 64 clients, each of which asks again when it has its answer; writes OUT.json and OUT.svg.
"""

import argparse
import csv
import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.serving import served

COLUMNS = {"a second": "Requests/s", "p50": "50%", "p95": "95%", "p99": "99%"}


def told(url: str, users: int, seconds: int, locust: str) -> dict[str, float]:
    """Requests a second, quantiles of their milliseconds, and how many failed."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-f", "benchmarks/locustfile.py", "--headless", "--only-summary", "-u", users,
                 "-r", users, "-t", f"{seconds}s", "-H", url, "--csv", f"{folder}/x"]  # fmt: skip
        subprocess.run([locust, *map(str, words)], check=False, capture_output=True)
        *_, row = csv.DictReader(Path(f"{folder}/x_stats.csv").read_text().splitlines())
    found = {name: float(row[column]) for name, column in COLUMNS.items()}
    return {"clients": users, **found, "failed": int(row["Failure Count"])}


def drawn(found: dict[str, list[dict[str, float]]], out: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, sides = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for colour, (batching, rows) in zip(("C0", "C1"), found.items()):
        users = [row["clients"] for row in rows]
        sides[0].plot(
            users,
            [row["a second"] for row in rows],
            "o-",
            color=colour,
            label=f"batching {batching}",
        )
        for name, line in (("p50", "o-"), ("p99", "o:")):
            latency = [row[name] / 1000 for row in rows]
            sides[1].plot(users, latency, line, color=colour, label=f"{name}, batching {batching}")
    for side, name in zip(sides, ("requests a second", "latency, s")):
        side.set(xscale="log", yscale="log", xlabel="clients", ylabel=name)
        side.legend(fontsize=7)
    figure.savefig(out.with_suffix(".svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--locust", default="locust")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"off": [], "on": []}
    with served(o.run, "--batching", "off") as off, served(o.run) as on:
        for users in (1, 4, 16, 64):
            for batching, server in (("off", off), ("on", on)):
                before = server.seconds()
                row = told(server.url, users, o.seconds, o.locust)
                row["processor s"] = round(server.seconds() - before, 2)
                found[batching].append(row)
                print(batching, row, flush=True)
    o.out.parent.mkdir(parents=True, exist_ok=True)
    o.out.with_suffix(".json").write_text(json.dumps(found, indent=1))
    drawn(found, o.out)


if __name__ == "__main__":
    main()
