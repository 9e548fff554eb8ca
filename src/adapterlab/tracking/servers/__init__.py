"""An MLflow server, which may be away: what it has not taken yet waits in the run folder."""
