"""The only door to MLflow: what is written there, and what is read back."""
