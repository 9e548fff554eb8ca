"""What the notebooks call: the report of a study, by the options of its command line."""

import warnings
from typing import Any

import hydra
from omegaconf import OmegaConf

from adapterlab.app.arguments import REPORT_EXPERIMENT, for_hydra
from adapterlab.config.conf_folder import CONF
from adapterlab.reporting.report import Report, make_report, parse_request


def report(study: str, *options: str) -> Report:
    """Do what ``python scripts/report.py study=NAME`` does, and return the report.

    Args:
        study: its name.
        options: further ones as on the command line, such as ``reference=lora``.

    Raises:
        AdapterLabError: the study has no finished runs.
        ConfigError: the reference is none of its arms.
    """
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        given = [for_hydra(option, of_report=True) for option in options]
        composed = hydra.compose("report", [f"study={study}", *given])
    with warnings.catch_warnings():
        # MLflow brings tqdm, which would have progress bars that notebooks can draw.
        warnings.filterwarnings("ignore", "IProgress not found")
        values: Any = OmegaConf.to_container(composed, resolve=True)
        values["experiment"] = values.pop(REPORT_EXPERIMENT)
        return make_report(parse_request(values))
