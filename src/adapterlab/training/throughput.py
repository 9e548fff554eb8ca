"""Training samples a second, without warm-up and without validation; for both loops."""

import torch

from adapterlab.training.outcome import now

WARM_UP_STEPS = 10
"""Steps left out of the throughput: allocators fill, kernels are chosen, code is compiled."""


class Throughput:
    """A clock that runs while a training takes steps, from the end of the warm-up on."""

    def __init__(self) -> None:
        self._steps = 0
        self._samples = 0
        self._seconds = 0.0
        self._since: float | None = None
        self._told: tuple[float | None, str] | None = None

    def told(self, samples_per_second: float | None, why: str) -> None:
        """Take the figure of other processes, who have measured it."""
        self._told = samples_per_second, why

    @property
    def samples_per_second(self) -> float | None:
        """Samples a second over all steps after the warm-up; None where there are none."""
        if self._told is not None:
            return self._told[0]
        return self._samples / self._seconds if self._samples else None

    @property
    def why(self) -> str:
        """Why there is no figure."""
        return f"the training has no more than the {WARM_UP_STEPS} steps of warm-up"

    def begin_step(self, device: torch.device) -> None:
        """Start the clock after the warm-up, and after each pause."""
        if self._since is None and self._steps >= WARM_UP_STEPS:
            self._since = now(device)

    def end_step(self, samples: int) -> None:
        """Count a step."""
        self._steps += 1
        if self._since is not None:
            self._samples += samples

    def pause(self, device: torch.device) -> None:
        """Stop the clock after an epoch's last step."""
        if self._since is not None:
            self._seconds += now(device) - self._since
            self._since = None
