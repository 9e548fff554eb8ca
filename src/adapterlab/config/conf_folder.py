"""The folder conf/, and the functions that its files call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterlab.config.hydra_versions import mend_resolving, register_resolver
from adapterlab.config.multirun import current_multirun

PACKAGE = Path(__file__).parents[1]


def find_conf() -> Path:
    """Return the folder conf/: in the checkout, or inside an installed wheel."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if (checkout / "train.yaml").is_file() else PACKAGE / "conf"


def default_root() -> str:
    """Return the folder that mlruns/ lies in: the checkout, or else the working directory."""
    conf = find_conf()
    return str(Path.cwd() if conf.parent == PACKAGE else conf.parent)


def default_figures() -> str:
    """Return when a run's pictures are drawn: a lone run's at its end, those of a sweep later.

    Runs of a sweep are looked at together first, and in a pack of small ones pictures are more than
    half of what a run costs beside its training.
    """
    return "always" if current_multirun() is None else "report"


CONF = find_conf()


def run_options() -> str:
    """Return the options of conf/train.yaml with their comments, for `--help`."""
    text = (CONF / "train.yaml").read_text()
    options = text[text.index("epochs:") : text.index("hydra:")].strip()
    # Hydra fills in the help text as a template, in which a dollar sign is written twice.
    return options.replace("$", "$$")


def parts_label(parts: Any) -> str:
    """Return what the parts of a combination are called, one after the other.

    What is no part has no name here; whoever makes the strategy says so.
    """
    nodes = parts.values() if isinstance(parts, Mapping) else ()
    named = (part for part in nodes if isinstance(part, Mapping) and "name" in part)
    return "-".join(str(part.get("label", part["name"])) for part in named) or "combined"


def _source_dataset(name: str | None) -> Any:
    from adapterlab.config.parsing import source_dataset  # the schema: not to show what is chosen

    return source_dataset(CONF, name)


def register_resolvers() -> None:
    """Make known the functions that conf/ calls, as in ``${default_root:}``."""
    register_resolver("default_root", default_root)
    register_resolver("default_figures", default_figures)
    register_resolver("run_options", run_options)
    register_resolver("parts_label", parts_label)
    register_resolver("source_dataset", _source_dataset)
    mend_resolving()


# At import, so that whoever composes from the folder knows them.
register_resolvers()
