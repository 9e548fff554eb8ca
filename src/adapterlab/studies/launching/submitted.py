"""Studies that this command leaves to an engine. Every command line loads this: nothing heavy."""

submitted: list[str] = []
"""Names of those of which `hydra.launcher.wait=false` has submitted tasks, without a result yet."""
