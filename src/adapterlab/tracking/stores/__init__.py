"""Where MLflow keeps runs: a sqlite file, a database elsewhere."""
