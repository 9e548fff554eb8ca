"""Where runs lie: folders, locks, files that are whole, and what MLflow has not got of them."""
