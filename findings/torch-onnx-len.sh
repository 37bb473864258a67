#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export (dynamo, a dynamic batch asked for) of a module that uses `len(x)` writes a file whose
# batch is that of the example, without an error; `x.shape[0]` in its place keeps it free.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxscript==0.7.2
cd "$folder"
venv/bin/python - 2>/dev/null <<'PY'
import torch


class Long(torch.nn.Module):
    def forward(self, x):
        return x + torch.zeros(len(x), 1)


class Shaped(torch.nn.Module):
    def forward(self, x):
        return x + torch.zeros(x.shape[0], 1)


def batch(module) -> object:
    made = torch.onnx.export(module, (torch.ones(3, 2),), dynamo=True, verbose=False,
                             dynamic_shapes=({0: torch.export.Dim("batch")},))
    return made.model.graph.inputs[0].shape[0]


found = batch(Long()), batch(Shaped())
print("torch", torch.__version__, "batch with len(x):", found[0], "with x.shape[0]:", found[1])
assert found[0] == 3 and not isinstance(found[1], int), "len(x) is free now, or is refused"
PY
