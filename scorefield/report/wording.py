"""Numbers as people read them."""

import math

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
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


def plus_minus(value: float, spread: float) -> str:
    """A figure and its deviation, if there is one.

    >>> plus_minus(0.5634, 0.0706), plus_minus(2.0, 0.0)
    ('0.563 ± 0.071', '2')
    """
    return f"{number(value)} ± {number(spread, 2)}" if spread else number(value)


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


def share(value: float) -> str:
    """A share as a percentage.

    >>> share(0.9965), share(1.0)
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
