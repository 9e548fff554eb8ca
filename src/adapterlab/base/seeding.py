"""Independent random streams from one seed."""

import hashlib


def stream(seed: int, *key: str | int) -> int:
    """Return a seed for the stream `key` of `seed`: a number below 2⁶³.

    Streams of different keys or seeds are unrelated, and each is a function of its arguments
    alone: a resumed run draws in epoch 7 what it would have drawn anyway.
    """
    text = "/".join(str(part) for part in (seed, *key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
