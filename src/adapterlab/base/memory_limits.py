"""What cannot fit into this machine's memory, refused before anything of it is there."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from adapterlab.base.errors import ConfigError
from adapterlab.base.planned_place import planned_place

_CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where the kernel says what a container may take, in its two versions of groups."""


def machine_bytes() -> int:
    """Return the memory of this machine, or what its limits leave this process of it.

    Where runs are planned for another place, it is that one's.
    """
    if (place := planned_place()) is not None:
        return int(place.memory_gib * 2**30)
    most = int(psutil.virtual_memory().total)
    for path in _CGROUPS:
        try:
            most = min(most, int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return most if limit == resource.RLIM_INFINITY else min(most, limit)


def require_bytes(needed: int, asked: str, what: str) -> None:
    """Refuse what takes more memory than there is.

    Args:
        needed: bytes, at least.
        asked: the options that ask for it, as in an error: ``batch_size=1000``.
        what: takes it: ``its weights alone``.

    Raises:
        ConfigError: it cannot fit.
    """
    _require(needed, machine_bytes(), asked, what)


def _require(needed: int, there: int, asked: str, what: str) -> None:
    if needed > there:
        raise ConfigError(
            f"{asked}: {what} would take {_gib(needed)} of memory, and there are {_gib(there)}"
        )


@contextmanager
def fitting(asked: str, what: str = "its weights alone") -> Iterator[None]:
    """Count the weights of modules as they are made on the meta device, and refuse too many.

    Args:
        asked: the options that ask for them, as in an error.
        what: is counted.

    Raises:
        ConfigError: they cannot fit, or are more than can be counted.
    """
    counted: dict[int, nn.Parameter] = {}
    total, there = 0, machine_bytes()

    def count(_: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal total
        if parameter is not None and id(parameter) not in counted:
            counted[id(parameter)] = parameter  # kept, so that its id stays its own
            total += parameter.numel() * parameter.element_size()
            _require(total, there, asked, what)

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        if "verflow" not in str(error) and not isinstance(error, OverflowError):
            raise
        raise ConfigError(f"{asked}: a tensor of these sizes is too large to be counted") from None
    finally:
        handle.remove()


def _gib(count: int) -> str:
    gib = count / 2**30
    if gib < 0.1:
        return f"{count / 2**20:,.1f} MiB"
    return f"{gib:,.1f} GiB" if gib < 1e6 else f"{gib:.2g} GiB"
