"""What a step or a call of a network frees, kept for the next."""

import ctypes

TRIM, MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
NEVER, LARGE, OLD, SMALL = -1, 2**30, 2**25, 2**20


def keep_freed_memory() -> bool:
    """Have the C library keep the memory that is freed for what is asked for next.

    A step of training frees its activations, which else go back to the system and are taken again
    page by page in the next: on processors 10 to 20% of the step of a U-Net, 5% of a call. It holds
    for the whole process and for blocks below 1 GiB (32 MiB where glibc is older than 2.35); a
    process then keeps about its largest size.

    Returns whether it was taken: the C library must be glibc.
    """
    return (_tuned(MAP, LARGE) or _tuned(MAP, OLD)) and _tuned(TRIM, NEVER)


def give_back_memory() -> bool:
    """Have the C library give blocks of 1 MiB and more back to the system as they are freed, where
    memory is what is short: weights that are gathered and let go block by block leave holes that
    the next does not fit into. Of itself glibc keeps blocks of up to 32 MiB once one was freed.

    Returns whether it was taken.
    """
    return _tuned(MAP, SMALL) and _tuned(TRIM, SMALL)


def _tuned(what: int, size: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).mallopt(what, size))
    except (AttributeError, OSError, TypeError):
        return False
