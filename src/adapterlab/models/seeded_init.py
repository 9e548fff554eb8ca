"""Seeded initialisation: first values drawn from a generator where a library takes none."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let what is inside draw from a CPU generator, and leave torch's default one as it was.

    Args:
        generator: None lets it draw from torch's default one.
    """
    if generator is None:
        yield
        return
    seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
