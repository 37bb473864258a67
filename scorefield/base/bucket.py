"""Batches filled up, so that a row comes out of a network the same whatever the others are."""

BUCKET, SMALL = 8, 1024
"""Kernels round by the size of their batch, but a row of a batch of whole BUCKETs comes out the
same to the bit whatever the others are, and however many buckets there are from two on (measured on
every network here; one alone has kernels of its own on some processors). Batches of samples of at
most SMALL numbers, and long ones of any, are filled up."""


def lacking(n: int) -> int:
    """The rows that n lack to be whole buckets, two at least.

    >>> [lacking(n) for n in (1, 15, 16, 17)]
    [15, 1, 0, 7]
    """
    return max(2 * BUCKET - n, -n % BUCKET)
