"""`scorefield encode RUN`."""

from pathlib import Path

from scorefield.base.errors import BadInput
from scorefield.cli.flags import BatchSize, ByFlow, OutPath, Source
from scorefield.cli.frame import Bar, Found, filed


class Options(ByFlow):
    """Take examples up the model's probability flow, to the noise that the flow would make them
    of, and back again; says how far from themselves they come back. The latents, with the labels
    and levels that lead back, go to an .npz; --decode makes examples of it. The solver is a
    deterministic one of one step: rk4, heun, midpoint, ddim ...

    examples:
      scorefield encode runs/digits --input three.png --label 3 --out three.npz
      scorefield encode runs/digits --input test.npz --out latents.npz
      scorefield encode runs/digits --decode latents.npz --out decoded.npz
    """

    input: Source = None
    decode: Path | None = None
    """Latents to decode, an .npz that encode wrote."""
    out: OutPath = Path("latents.npz")
    batch: BatchSize = 256


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.encode import decode_latents, encode_examples

    if (o.input is None) == (o.decode is None):
        raise BadInput("encode needs one of `input` and `decode`.", "Give one of them.")
    make, given = (encode_examples, o.input) if o.input else (decode_latents, o.decode)
    return filed(make(o.request(bar), Path(str(given))))
