"""`scorefield reconstruct RUN`."""

from scorefield.cli.flags import OnRun, OutPath, Source
from scorefield.cli.frame import Bar, Found, filed


class Options(OnRun):
    """What an autoencoder keeps: examples, what it makes of them, and the error between. RUN is an
    autoencoder's, or a run on latents, which has a copy of one. A .png shows the first eight; an
    .npz has all: x, reconstruction, and the latents z with their deviations z_std.

    examples:
      scorefield reconstruct runs/digits-autoencoder
      scorefield reconstruct runs/digits-autoencoder --input seven.png --out seven-again.png
      scorefield reconstruct runs/digits-autoencoder --input digits.npz --out latents.npz
    """

    input: Source = None
    out: OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.reconstruct import reconstruct

    return filed(reconstruct(o.request(bar), o.input))
