"""Walking over rows in blocks, so that no N x M matrix is ever held whole."""

BLOCK = 2**22  # numbers in one block: 32 MiB of float64


def blocks(rows: int, cost: int) -> list[slice]:
    """Slices that cover `rows`, each of at most BLOCK numbers when a row costs `cost` of them.

    >>> [(b.start, b.stop) for b in blocks(5, BLOCK // 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, BLOCK // max(1, cost))
    return [slice(i, min(i + step, rows)) for i in range(0, rows, step)]
