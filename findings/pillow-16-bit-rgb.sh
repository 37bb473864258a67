#!/usr/bin/env bash
# Pillow 13.0.0 opens a 16-bit RGB PNG as 8-bit "RGB": the low byte of every number is dropped with no
# warning, so that a 12-bit scan (0..4095) keeps 16 of its 4,096 levels. 16-bit grey PNGs keep theirs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.3.5
cd "$folder"
venv/bin/python - <<'PY'
import io
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__)
warnings.simplefilter("error")


def png(levels: np.ndarray, colour: int) -> bytes:
    """A 16-bit PNG by the specification: colour 0 is grey, 2 is RGB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


scan = np.arange(4096, dtype=np.uint16).reshape(64, 64)
grey = Image.open(io.BytesIO(png(scan, 0)))
rgb = Image.open(io.BytesIO(png(np.repeat(scan[..., None], 3, 2), 2)))
kept = [len(np.unique(np.asarray(picture))) for picture in (grey, rgb)]
print("modes", grey.mode, rgb.mode, "levels kept of 4096:", kept)
assert grey.mode == "I;16" and kept[0] == 4096
assert rgb.mode == "RGB" and kept[1] == 16, "16-bit colours are kept now"
PY
