"""Points of manifolds: places on the globe, angles, rotations."""

import csv
import json
from pathlib import Path

import numpy as np
import torch

from scorefield.base import BadInput
from scorefield.data.conditions import finite
from scorefield.data.readers.arrays import read_arrays
from scorefield.data.sets import Data, Scaling, split_off
from scorefield.spaces.manifold import Manifold, Rotations, Sphere, Torus, rotation_of

KINDS_OF_POINTS = ("sphere", "torus", "rotations")
LATITUDE, LONGITUDE = ("lat", "latitude"), ("lon", "lng", "long", "longitude")


def points(path: str, kind: str = "sphere") -> Data:
    """Points of a manifold, a tenth of them held out.

    - `sphere`: a .csv with columns of latitude and longitude in degrees, a GeoJSON file of points,
      or an .npz or .npy of unit vectors x (N, n + 1).
    - `torus`: an .npz or .npy of angles x (N, n) in radians.
    - `rotations`: one of matrices x (N, 3, 3) or unit quaternions (N, 4), real part first.

    Raises BadInput for points that lie more than 1e-4 off.
    """
    space, x = read_points(Path(path), kind)
    spec = {"sphere": f"sphere:{space.dim}", "torus": f"torus:{space.dim}"}.get(kind, kind)
    train, test = split_off(x.astype(np.float32), None)
    return Data("points", train, test, (), Scaling((0.0,), (1.0,)), space=spec)


def read_points(path: Path, kind: str) -> tuple[Manifold, np.ndarray]:
    """A manifold, and points (N, ambient) of it."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise BadInput(f"`data.path` {path}: there is no such file.", "Give one.", "data.path")
    if suffix in (".csv", ".json", ".geojson"):
        if kind != "sphere":
            raise BadInput(f"`data.kind` is {kind}, and {path} has places.", "Use sphere.")
        return Sphere(2), on_globe(*(_csv if suffix == ".csv" else _geojson)(path))
    if kind not in KINDS_OF_POINTS:
        known = ", ".join(KINDS_OF_POINTS)
        raise BadInput(f"`data.kind` is {kind}, and a point is none.", f"Use one of {known}.")
    found = read_arrays(path, "data.path").get("x")
    if found is None or found.ndim < 2 or found.dtype.kind not in "fiu":
        raise BadInput(f"'{path}' holds no numbers x (N, ..).", "Name the points x.", "data.path")
    where, x = f"x in '{path}'", torch.from_numpy(finite(found, f"x in '{path}'")).double()
    if kind == "torus":
        angles = x.flatten(1)
        return Torus(angles.shape[1]), torch.stack([angles.cos(), angles.sin()], 2).flatten(
            1
        ).numpy()
    if kind == "rotations":
        if x.shape[1:] == (4,):
            x = rotation_of(Sphere(3).check(x, where))
        return Rotations(), Rotations().check(x.flatten(1), where).numpy()
    sphere = Sphere(x.shape[1] - 1)
    return sphere, sphere.check(x, where).numpy()


def on_globe(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Unit vectors of degrees: the third axis is the north pole's, the first 0 N 0 E.

    >>> on_globe(np.array([0.0, 90.0]), np.array([90.0, 0.0])).round(6).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    worst = np.abs(np.nan_to_num(latitude, nan=np.inf)).argmax()
    if not abs(latitude[worst]) <= 90:
        raise BadInput(f"place {worst} has the latitude {latitude[worst]}.", "Give -90 to 90.")
    phi, lam = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], 1)


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        names = {name.strip().lower(): name for name in rows.fieldnames or ()}
        keys = [next((names[k] for k in known if k in names), None)
                for known in (LATITUDE, LONGITUDE)]  # fmt: skip
        if None in keys:
            raise BadInput(
                f"'{path}' has the columns {', '.join(names) or 'of nothing'}.",
                "Give it columns lat and lon, in degrees.",
            )
        return _degrees([[row[key] for key in keys if key] for row in rows], path)


def _geojson(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        places = [f["geometry"] for f in json.loads(path.read_text("utf-8"))["features"]]
        pairs = [g["coordinates"][1::-1] for g in places if g and g["type"] == "Point"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"'{path}' is no GeoJSON of points.", "Give one, or a .csv.") from error
    return _degrees(pairs, path)


def _degrees(pairs: list, path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        if not len(found) or not np.isfinite(found).all():
            raise ValueError("none, or not finite")
    except (TypeError, ValueError) as error:
        raise BadInput(f"'{path}' has places that are no numbers.", "Mend the file.") from error
    return found[:, 0], found[:, 1]
