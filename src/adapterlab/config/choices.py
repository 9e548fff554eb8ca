"""Groups of conf/ on a command line: each is given the name of a choice."""

from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from adapterlab.base.errors import ConfigError, allowed

MAY_BE_NONE = ("arm", "experiment")
"""Groups of which none need be chosen, or several."""

_HYDRA_GROUPS = (
    "hydra",
    "hydra/launcher",
    "hydra/sweeper",
    "hydra/job_logging",
    "hydra/hydra_logging",
)


def require_names(option: str, conf: Path) -> None:
    """Refuse a group that is given something else than the name of a choice.

    Args:
        option: as it was written.
        conf: the folder of the groups.

    Raises:
        ConfigError: it is.
    """
    try:
        override = OverridesParser.create().parse_override(option)
    except HydraException:  # Hydra is to say it, when it comes to that
        return
    except (ValueError, RecursionError):
        raise ConfigError(f"{option}: a number or a nesting that is too long to be read") from None
    group = str(override.key_or_group)
    if not group:
        raise ConfigError(f"{option} is not of the form option=value")
    is_ours = (conf / group).is_dir()
    if override.is_delete() or not (is_ours or group in _HYDRA_GROUPS):
        return
    several = group in MAY_BE_NONE
    for value in _values(override):
        names: list[object] = value if several and isinstance(value, list) else [value]
        for place in names if group == "dataset" else ():
            if isinstance(place, str) and _is_place(place, conf):
                raise ConfigError(
                    f"dataset={place} should be the name of a data set; {_own(place)}"
                )
        if not all(isinstance(name, str) or (several and name is None) for name in names):
            said = option.partition("=")[2]
            choices = sorted(path.stem for path in (conf / group).glob("*.yaml"))
            what = f"; {allowed('', choices)}" if is_ours else ""
            raise ConfigError(f"{group}={said} should be the name of a choice{what}")


def _is_place(name: str, conf: Path) -> bool:
    if not name or (conf / "dataset" / f"{name}.yaml").is_file():
        return False
    return "/" in name or "." in name or Path(name).exists()


def _own(place: str) -> str:
    """Say how data of the user's own, which are in a file or folder, are named."""
    path = Path(place).expanduser()
    kinds = ["text_files", "image_folder"]
    if path.is_file():
        kinds = ["text_files"]
    elif path.is_dir() and not any(path.glob("*.*")) and any(path.glob("*/*/*.[jpJP]*[gG]")):
        kinds = ["image_folder"]
    ways = " or ".join(f"dataset={kind} dataset.loader.path={place}" for kind in kinds)
    return f"data of your own are {ways}"


def _values(override: Override) -> list[object]:
    """Return the values that an override gives: one, or those of a sweep."""
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            return [None] if override.key_or_group not in MAY_BE_NONE else []
        return [_plain(value) for value in override.sweep_iterator()]
    return [_plain(override.value())]


def _plain(value: object) -> object:
    """Return a quoted text as text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    text = getattr(value, "text", None)
    return text if isinstance(text, str) else value
