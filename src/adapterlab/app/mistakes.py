"""What ends a command for the person at the keyboard: one line of error, and an exit code.

Nothing heavy is imported here: every command line loads this.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from adapterlab.app.explaining import as_mistake, one_line
from adapterlab.app.started_studies import started
from adapterlab.base.end_line import ended_by
from adapterlab.base.errors import USER_ERROR, AdapterLabError
from adapterlab.base.full_disk import said_where_full
from adapterlab.base.interrupts import INTERRUPTED
from adapterlab.base.redaction import shown
from adapterlab.base.signals import as_signalled
from adapterlab.config.conf_folder import CONF
from adapterlab.studies.launching.failures import tell_failed


@contextmanager
def mistakes_in_one_line(*, sweep: bool = False) -> Iterator[None]:
    """Turn a user's mistake into one line and exit code 2; Ctrl-C into one, and 130.

    It is used around a job, too, because Hydra announces every exception that leaves one. In a
    sweep, a run that fails for another reason than a mistake, a diverged training say, is noted
    and left to Hydra, which goes on with the other runs and raises it at the end.
    """
    try:
        with said_where_full(), as_signalled():
            yield
    except AdapterLabError as error:
        if sweep and error.exit_code != USER_ERROR:
            run = " ".join(HydraConfig.get().overrides.task)
            tell_failed(run, error, counted=bool(started))  # processes of joblib's have no end
            raise
        fail(str(error), error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if sweep or (mistake := as_mistake(error, CONF)) is None:
            raise
        fail(str(mistake), mistake.exit_code)
    except (HydraException, OmegaConfBaseException, OSError) as error:
        if (mistake := as_mistake(error, CONF)) is None:
            raise
        fail(str(mistake), mistake.exit_code)
    except KeyboardInterrupt:
        fail(ended_by("interrupted"), INTERRUPTED)


def fail(message: str, code: int) -> NoReturn:
    """End the command by a line of error and an exit code."""
    print(one_line(shown(f"error: {message}")), file=sys.stderr)
    sys.exit(code)
