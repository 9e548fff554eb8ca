"""What is said of a model that MLflow has: where it is, how it is loaded and served."""

from pathlib import Path

from adapterlab.app.console import number, print_paths
from adapterlab.base.redaction import redacted
from adapterlab.config.parsing import absolute
from adapterlab.runs.export.logged import Logged
from adapterlab.runs.export.merged import Request
from adapterlab.tracking.stores.uris import default_uri


def print_logged(logged: Logged, request: Request) -> None:
    """Print by what an MLflow model is loaded, and that it answers as the run does."""
    store = request.tracking_uri or default_uri(Path(absolute(request.root)) / "mlruns")
    uri = logged.registered or logged.uri
    served = logged.served
    print_paths(
        {
            "MLflow model of": logged.name,
            "kept as": logged.uri + (f", {logged.registered}" if logged.registered else ""),
            "probabilities": f"at most {served.difference:.3g} from the run's, over "
            f"{number(served.examples)} examples",
            "it needs": ", ".join(served.requirements),
            "load it": f"MLFLOW_TRACKING_URI={redacted(store)}, then "
            f"mlflow.pyfunc.load_model({uri!r})",
            "serve it": f"mlflow models serve --env-manager local --model-uri {uri}",
        }
    )
