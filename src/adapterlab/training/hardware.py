"""The machine under a run: what it is, what it can do, and how much memory a block of code took."""

import hashlib
import platform
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, cast, get_args

import psutil
import torch
from torch import device as TorchDevice

from adapterlab.base.errors import ConfigError, allowed
from adapterlab.base.planned_place import planned_place
from adapterlab.base.revision import version_of
from adapterlab.config.hardware import Accelerator, Hardware, Precision
from adapterlab.training.driver import require_driver, require_one_device

PRECISIONS = get_args(Precision)
ACCELERATORS = get_args(Accelerator)

MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""What precisions that mix types multiply in."""

_MOST = {"threads": 256, "workers": 64, "devices": 8}
"""Threads and processes that are let pass on any machine; above, `_A_CORE` of them on each core."""

_A_CORE = 4

_CPUINFO = Path("/proc/cpuinfo")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_BYTES_PER_MIB = 2**20
_KIB_PER_MIB = 2**10


def weights_dtype(precision: str) -> torch.dtype:
    """Return the type of the weights under a Trainer's precision; the mixed ones only autocast."""
    return torch.float64 if precision == "64-true" else torch.float32


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Compute as a Trainer of this precision does around a step."""
    dtype = MIXED.get(precision)
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


def sees_gpu() -> bool:
    """Say whether there is a GPU for torch, here or where runs are planned for."""
    place = planned_place()
    return torch.cuda.is_available() if place is None else place.gpu


def resolve_accelerator(accelerator: str) -> str:
    """Turn ``auto``, ``cpu`` or ``gpu`` into the ``cpu`` or ``gpu`` that Lightning is given.

    ``auto`` is a CUDA (or ROCm) device where torch sees one. Apple's MPS is left out: it has no
    float64.

    Raises:
        ConfigError: if the name is unknown, or ``gpu`` is asked for and torch sees none.
    """
    if accelerator not in ACCELERATORS:
        raise ConfigError(
            f"hardware accelerator {accelerator!r} is unknown; {allowed(accelerator, ACCELERATORS)}"
        )
    if accelerator == "cpu":
        return "cpu"
    if sees_gpu():
        return "gpu"
    if accelerator == "gpu":
        if (place := planned_place()) is not None:
            raise ConfigError(
                f"hardware accelerator 'gpu' was asked for, but {place.words} has none; "
                "hydra.launcher.node.gpu=true says that there is one, hardware=cpu does without"
            )
        raise ConfigError(
            "hardware accelerator 'gpu' was asked for, but "
            f"torch {torch.__version__} sees no CUDA device here; go on with hardware=cpu"
        )
    return "cpu"


def resolve_precision(precision: str, accelerator: str) -> Precision:
    """Turn a precision of the configuration into one of Lightning's.

    Args:
        precision: one of `PRECISIONS`. ``auto`` is ``bf16-mixed`` on a GPU that computes in
            bfloat16 natively, else ``32-true``.
        accelerator: ``cpu`` or ``gpu``, from `resolve_accelerator`.

    Raises:
        ConfigError: if the precision is unknown, or is ``16-mixed`` on a CPU.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"hardware precision {precision!r} is unknown; {allowed(precision, PRECISIONS)}"
        )
    if precision == "16-mixed" and accelerator == "cpu":
        raise ConfigError(
            "hardware precision '16-mixed' needs a GPU; "
            "on a CPU allowed: auto, 32-true, 64-true, bf16-mixed"
        )
    if precision != "auto":
        return cast(Precision, precision)
    native_bf16 = accelerator == "gpu" and (
        # Of a GPU elsewhere only that it is there is known: those since 2020 have it.
        planned_place() is not None or torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16-mixed" if native_bf16 else "32-true"


def cpu_has_bf16() -> bool:
    """Say whether this CPU multiplies in bfloat16 (AMX, AVX-512 BF16), as far as torch tells."""
    said: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(said.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


@dataclass(frozen=True)
class Device:
    """Where a run computes: ``cpu`` or ``gpu``, torch's device, and Lightning's precision.

    Attributes:
        in_parts: whether devices have a part of the model each.
    """

    accelerator: str
    torch: torch.device
    precision: Precision
    in_parts: bool = False

    @property
    def of_whole(self) -> "TorchDevice":
        """Where the whole model has room: one of several devices with a part each has none."""
        return torch.device("cpu") if self.in_parts else self.torch


def choose_device(options: Hardware, *, training: bool = False) -> Device:
    """Resolve what is automatic in the options, and set torch's threads if they say how many.

    Args:
        options: of the hardware.
        training: whether a run is to be trained alone, which several devices can do.

    Returns:
        The device; the first, where there are several.

    Raises:
        ConfigError: the device is not there, cannot compute in the precision, or needs another
            `trainer`; or several are asked for what one does.
    """
    accelerator, precision = require_sound(options)
    device = torch.device("cpu")
    if not training:
        require_one_device(options)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if accelerator == "gpu":
        count = torch.cuda.device_count()
        if options.device >= count:
            raise ConfigError(
                f"hardware.device={options.device} is not there; "
                f"{allowed(options.device, range(count))}"
            )
        if options.device + options.devices > count:
            raise ConfigError(
                f"hardware.devices={options.devices} from hardware.device={options.device} on are "
                f"not there; allowed: up to {count - options.device}"
            )
        device = torch.device("cuda", options.device)
        # Everything that asks torch for "the" GPU, memory counters too, then means this one.
        torch.cuda.set_device(device)
    return Device(accelerator, device, precision, options.strategy == "fsdp")


def require_sound(options: Hardware) -> tuple[str, Precision]:
    """Refuse options that do not go together, or not with this machine.

    Returns:
        Accelerator and precision, resolved.

    Raises:
        ConfigError: they do not.
    """
    accelerator = resolve_accelerator(options.accelerator)
    require_modest(options)
    require_driver(options, accelerator)
    return accelerator, resolve_precision(options.precision, accelerator)


def require_modest(hardware: Hardware) -> None:
    """Refuse threads and workers that would bring the machine down.

    Raises:
        ConfigError: they are many more than it has cores.
    """
    place = planned_place()
    cores = (psutil.cpu_count() or 1) if place is None else place.cores
    there = "this machine" if place is None else place.words
    for option, least in _MOST.items():
        count, most = getattr(hardware, option), max(least, _A_CORE * cores)
        if count is not None and count > most:
            raise ConfigError(
                f"hardware.{option}={count} is too many for the {cores} cores of {there}; "
                f"allowed: up to {most}"
            )


def free_memory_gib(options: Hardware) -> float:
    """Return the memory that is free where a run computes, in GiB."""
    if resolve_accelerator(options.accelerator) == "gpu":
        free, _ = torch.cuda.mem_get_info(options.device)
        return float(free) / 2**30
    return float(psutil.virtual_memory().available) / 2**30


def fingerprint(accelerator: str = "auto", devices: int = 1) -> dict[str, str]:
    """Describe the machine, so that costs are compared only where they are comparable.

    Args:
        accelerator: what the run computes on, as in `resolve_accelerator`. A run on the CPU of
            a machine with a GPU has another ``id`` than a run on its GPU.
        devices: that it computes on, which ``devices`` says where they are several.

    Returns:
        ``cpu`` (model), ``cores`` (logical), ``threads`` (of torch), ``cpu_capability`` (the
        instructions that torch's kernels use), ``torch_build`` (8 hex digits over its compiler,
        libraries and flags), ``platform``, ``python``, ``torch``, ``lightning``, on a GPU
        ``accelerator`` (its model), and ``id``: 8 hex digits over the processor models, cores,
        threads and the torch version. Equal ids mean that times and memory may share a column.

    Raises:
        ConfigError: as `resolve_accelerator`.
    """
    facts = {
        "cpu": _cpu_model(),
        "cores": str(psutil.cpu_count(logical=True)),
        "threads": str(torch.get_num_threads()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_build": hashlib.sha256(torch.__config__.show().encode()).hexdigest()[:8],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        # The installed version, from its metadata: importing Lightning takes seconds.
        "lightning": version_of("pytorch-lightning"),
    }
    if resolve_accelerator(accelerator) == "gpu":
        facts["accelerator"] = torch.cuda.get_device_name()
    decisive = [facts.get(key, "") for key in ("cpu", "accelerator", "cores", "threads", "torch")]
    if devices > 1:
        facts["devices"] = str(devices)
        decisive.append(facts["devices"])
    facts["id"] = hashlib.sha256("\n".join(decisive).encode()).hexdigest()[:8]
    return facts


class PeakMemory:
    """Measure the peak memory inside a ``with`` block.

    On a GPU it is what torch's allocator held at most (`torch.cuda.max_memory_allocated`), on a
    CPU the most that was resident of the whole process: interpreter, libraries and data
    included, but nothing that was freed before the block began. The usual `ru_maxrss` is the
    peak since the process started, and would charge a run with the memory of the one before it.

    There is one peak counter a process, so of overlapping blocks only the one that began last is
    measured.

    Attributes:
        kind: ``rss`` or ``cuda``: the two share no column.
        mib: the peak in MiB after the block; None where it was not measured.
        why: where ``mib`` is None, the reason in one line.

    Example:
        >>> with PeakMemory("cpu") as memory:
        ...     train()
        >>> memory.mib
    """

    _latest: ClassVar["PeakMemory | None"] = None

    def __init__(self, accelerator: str) -> None:
        """Choose what to measure; ``accelerator`` is ``cpu`` or ``gpu``, already resolved."""
        self.kind: Literal["rss", "cuda"] = "cuda" if accelerator == "gpu" else "rss"
        self.mib: float | None = None
        self.why: str | None = "the block has not ended"

    def __enter__(self) -> Self:
        PeakMemory._latest = self
        self.mib, self.why = None, "the block has not ended"
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._unmeasurable = None
        else:
            self._unmeasurable = _reset_peak_rss()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if PeakMemory._latest is not self:
            self.why = "another measurement began inside the block and reset the peak"
        elif self._unmeasurable is not None:
            self.why = self._unmeasurable
        elif self.kind == "cuda":
            self.mib, self.why = torch.cuda.max_memory_allocated() / _BYTES_PER_MIB, None
        else:
            self.mib, self.why = _peak_rss_mib(), None


def _reset_peak_rss() -> str | None:
    """Set the kernel's peak of the resident set to its present size, or say why it cannot be."""
    try:
        # "5" is that one counter: proc(5), clear_refs, since Linux 4.0.
        _CLEAR_REFS.write_text("5")
        _peak_rss_mib()
    except (OSError, ValueError) as error:
        return f"the peak of the resident set needs Linux and its /proc: {error}"
    return None


def _peak_rss_mib() -> float:
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if peak is None:
        raise ValueError(f"{_STATUS} has no VmHWM")
    return int(peak[1]) / _KIB_PER_MIB


def _cpu_model() -> str:
    """Name the processor; only its architecture where the system does not tell more."""
    if _CPUINFO.exists():
        model = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
        if model:
            return model[1].strip()
    return platform.processor() or platform.machine()
