"""What knows nothing of runs: errors, files, signals, processes, seeds, versions."""
