#!/usr/bin/env bash
# datasets 5.2.0: `with_format("numpy")` hands float64 columns out as float32, with no warning, though
# the table keeps float64: 1e8 + .25 and 1e8 + .5 are one number then. `dtype=np.float64` keeps them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0
cd "$folder"
HF_HOME="$folder" HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import datasets
import numpy as np

values = [1e8 + 0.25, 1e8 + 0.5]
table = datasets.Dataset.from_dict({"x": values})
print("datasets", datasets.__version__, "column", table.features["x"])
plain = table.with_format("numpy")["x"][:]
asked = table.with_format("numpy", dtype=np.float64)["x"][:]
print("numpy:", plain.dtype, plain, "asked:", asked.dtype, asked)
assert table.features["x"].dtype == "float64" and table["x"][:] == values
assert plain.dtype == np.float32 and plain[0] == plain[1], "float64 is kept now"
assert asked.dtype == np.float64 and asked.tolist() == values
PY
