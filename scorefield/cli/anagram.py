"""`scorefield anagram RUN`."""

from scorefield.cli.flags import OnRun, OutPath, Rows, Sampling
from scorefield.cli.frame import Bar, Found, filed


class Options(Rows, Sampling, OnRun):
    """Make pictures (8, or as many as seeds) that show one class or another as one looks at them:
    a row for each view. Writes a .png.

    Views turn, mirror or rearrange a picture: identity, flip, upside-down, rot90, rot180, rot270,
    negate, patches:K (and patches:K,SEED), jigsaw. Parts divide it: low:R with high:R (up to R
    periods a side, and beyond), grey with colour; the first row is then the whole. --labels has the
    class of each.

    examples:
      scorefield anagram runs/digits --labels 6,9 --views identity,rot180
      scorefield anagram runs/digits --labels 3,8 --views identity,flip --guidance 3 --n 16
          --out flips.png
      scorefield anagram runs/digits --labels 1,0 --views low:2,high:2
    """

    views: str = "identity,rot180"
    """Views, or parts, between commas."""
    out: OutPath = None


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.anagram import anagrams

    return filed(anagrams(o.request(bar), o.views))
