"""Evaluate a saved run again: python src/evaluate.py run=<MLflow run id or run folder>."""

from adapterlab.app.cli import evaluate

if __name__ == "__main__":
    evaluate()
