"""All runs of MLflow that a query finds: a store gives them page by page."""

from collections.abc import Iterator
from typing import Any


def searched(client: Any, experiment_id: str, query: str, **options: Any) -> Iterator[Any]:
    """Yield the runs of an experiment that a query finds.

    A page is asked for when it is needed: who changes what the query looks at makes a list first.

    Args:
        client: an MLflow client.
        experiment_id: where to look.
        query: in MLflow's language.
        **options: of `MlflowClient.search_runs`.
    """
    token = None
    while True:
        page = client.search_runs([experiment_id], query, page_token=token, **options)
        yield from page
        if not (token := page.token):
            return
