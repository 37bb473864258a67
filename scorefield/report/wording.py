"""Numbers as people read them."""

import math
from collections.abc import Sequence

from scorefield.base.finding import Figure, Spread, Value
from scorefield.base.rank import within_floor

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ROUNDING = 1e-12
"""Relative to a figure: a spread below is that of float64's rounding, and says nothing."""
SIZES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, digits: int = 3) -> str:
    """To a few digits, without a computer's exponent.

    >>> number(0.56340), number(12.0), number(0.00002961), number(0.0), number(1234567)
    ('0.563', '12', '2.96·10⁻⁵', '0', '1,234,567')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    plain = f"{value:.{digits}g}"
    if "e" not in plain:
        return plain.replace("-", "−")
    factor, _, power = plain.partition("e")
    return f"{factor.replace('-', '−')}·10{str(int(power)).translate(SUPERSCRIPT)}"


def worded(value: float, spread: Spread = None, unit: str = "") -> str:
    """A figure with its deviation or interval, if there is one; "%" is a fraction in percent.

    >>> worded(0.5634, 0.0706), worded(0.9965, unit="%"), worded(1.25, (1.0, 2.0), "dB")
    ('0.563 ± 0.071', '99.7%', '1.25 dB (1 to 2)')
    >>> worded(1.812345, 0.0021, "bits")
    '1.8123 ± 0.0021 bits'
    >>> worded(1.825748, 4.1e-17)
    '1.83'
    """
    fine = 3
    if value and spread and not isinstance(spread, tuple) and spread < ROUNDING * abs(value):
        spread = None
    if value and spread and not isinstance(spread, tuple):  # to the digits of its spread
        fine = max(3, 2 + math.floor(math.log10(abs(value))) - math.floor(math.log10(abs(spread))))
    text = percent(value) if unit == "%" else number(value, fine)
    after = f" {unit}" if unit not in ("", "%") else ""
    if isinstance(spread, tuple):
        low, high = (worded(v, unit="%" * (unit == "%")) for v in spread)
        return f"{text}{after} ({low} to {high})"
    if not spread:
        return text + after
    return f"{text} ± {percent(spread) if unit == '%' else number(spread, 2)}{after}"


def compact(value: float, unit: str = "") -> str:
    """A large number with a letter for its size.

    >>> compact(100096), compact(999999), compact(80), compact(0.25), compact(18.8e6, "FLOP")
    ('100k', '1M', '80', '0.25', '18.8\xa0MFLOP')
    """
    space = "\N{NO-BREAK SPACE}" if unit else ""
    value = float(f"{value:.3g}")
    for size, letter in SIZES:
        if abs(value) >= size:
            return f"{value / size:.3g}{space}{letter}{unit}".replace("-", "−")
    return f"{number(value)}{space}{unit}"


def duration(seconds: float) -> str:
    """Two units at most.

    >>> duration(4.2), duration(133), duration(3720), duration(100_000), duration(59.7)
    ('4 s', '2 min 13 s', '1 h 02 min', '1 d 3 h', '1 min 00 s')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def percent(value: float) -> str:
    """A fraction as a percentage.

    >>> percent(0.9965), percent(1.0)
    ('99.7%', '100.0%')
    """
    return f"{100 * value:.1f}%"


def setting(value: object) -> str:
    """The value of a setting.

    >>> [setting(v) for v in (None, True, (1, 2, 2), (), 0.003, 50_000, "edm")]
    ['none', 'yes', '1 2 2', 'none', '0.003', '50,000', 'edm']
    """
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return " ".join(setting(v) for v in value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return str(value)


def cell(value: Value) -> str:
    """What stands in a table.

    >>> [cell(v) for v in (None, 3, 0.12345, "a")]
    ['', '3', '0.123', 'a']
    """
    if isinstance(value, float):
        return number(value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value


def aligned(rows: Sequence[Sequence[Value]]) -> list[tuple[str, ...]]:
    """A table's cells; the fractions of a column have as many digits as one another.

    >>> aligned([("n", 30.0), ("m", 28.14), ("k", None)])
    [('n', '30.0'), ('m', '28.1'), ('k', '')]
    """
    return list(zip(*map(_column, zip(*rows, strict=True)), strict=True))


def _column(values: Sequence[Value]) -> list[str]:
    cells = [cell(value) for value in values]
    numbers = [c for c, v in zip(cells, values) if isinstance(v, float)]
    digits = max((len(c.partition(".")[2]) for c in numbers), default=0)
    if digits > 4 or any("·" in c for c in numbers):
        return cells
    return [
        f"{v:,.{digits}f}".replace("-", "−") if isinstance(v, float) else c
        for c, v in zip(cells, values)
    ]


def verdict(figure: Figure) -> str:
    """How a figure stands to real data; within the floor it is not told from them.

    >>> verdict(Figure("d", 0.6, floor=0.4)), verdict(Figure("p", 0.7, floor=0.88, unit="%"))
    ('1.5 × real data', '18.0 points below real data')
    >>> verdict(Figure("d", 0.6, 0.1, 0.4, 0.1, best="low"))
    '1.5 × real data, within its floor'
    """
    if figure.floor is None:
        return ""
    words = _beside(figure, figure.floor)
    return ", ".join(filter(None, (words, "within its floor" * within_floor(figure))))


def _beside(figure: Figure, floor: float) -> str:
    if figure.unit != "%":
        same = floor > 0 and figure.value > 0
        return f"{number(figure.value / floor)} × real data" if same else ""
    points = 100 * (figure.value - floor)
    if abs(points) < 0.05:
        return "as real data"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} real data"
