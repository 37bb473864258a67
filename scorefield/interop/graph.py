"""A foreign ONNX denoiser, read: its bytes, its inputs, and the levels that it is said to know."""

from pathlib import Path
from typing import Any

import torch

from scorefield.base import BadInput
from scorefield.data import Conditions, Scaling
from scorefield.data.info import DataInfo
from scorefield.denoise.guest import DIRECT
from scorefield.interop.folder import Foreign
from scorefield.interop.programs import session_of
from scorefield.nets.graph import check_range, roles_of
from scorefield.run.settings import SourceConfig
from scorefield.store import read_bytes

LEVELS = ".002,80"
LARGEST_LABEL = 1000


def read_graph(file: Path, levels: str | None = None) -> Foreign:
    """Read a graph of one file. Raises BadInput for one that the runtime cannot open, that keeps
    weights beside itself, whose sizes are free, or whose inputs are nothing known."""
    content = read_bytes(file)
    least, most = _range(levels or LEVELS)
    try:
        session = session_of(content)
    except BadInput:
        raise
    except Exception as error:  # whatever the runtime says of what is no graph
        first = str(error).strip().splitlines()[0]
        raise BadInput(f"{file} is no ONNX graph: {first[:160]}.", "Export it again.") from error
    inputs: dict[str, Any] = {entry.name: entry for entry in session.get_inputs()}
    roles = roles_of({name: len(entry.shape) for name, entry in inputs.items()})
    shape = inputs[roles["x"]].shape[1:]
    if not shape or not all(isinstance(size, int) for size in shape):
        raise BadInput(
            f"the input {roles['x']} of {file} has the shape {inputs[roles['x']].shape}.",
            "Export it with a free batch axis and sizes of one sample that are numbers.",
        )
    vector, flat = None, False
    if "vector" in roles:
        axes = inputs[roles["vector"]].shape
        flat = len(axes) == 1
        vector = 1 if flat else axes[1]
    network = {"_class_name": "Graph", "size": len(content), "shape": list(shape), "roles": roles,
               "least": least, "most": most, "flat": flat}  # fmt: skip
    scheduler = {"_class_name": DIRECT, "sigma_min": least, "sigma_max": most}
    count = _classes(session) if "label" in roles else 0
    source = SourceConfig(network, scheduler, classes=count)
    info = DataInfo(
        file.stem, tuple(shape), tuple(map(str, range(count))), Scaling((0.0,), (1.0,)), 0.5,
        Conditions(vector=vector),
    )  # fmt: skip
    graph = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return Foreign(source, info, {"": {"graph": graph}})


def _range(levels: str) -> tuple[float, float]:
    try:
        least, most = (float(part) for part in levels.split(","))
    except ValueError:
        raise BadInput(f"`levels` is {levels}.", "Write it like .002,80.", "levels") from None
    check_range(least, most)
    return least, most


def _classes(session: Any) -> int:
    """How many classes it says that it knows, in its metadata."""
    said = session.get_modelmeta().custom_metadata_map.get("classes", "")
    return int(said) if said.isdecimal() and 0 < int(said) <= LARGEST_LABEL else LARGEST_LABEL
