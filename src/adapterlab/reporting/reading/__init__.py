"""A study read back from MLflow: its runs, what they are called, and what they answered."""
