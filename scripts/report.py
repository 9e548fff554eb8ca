"""Compare the runs of a study: python scripts/report.py study=demo. It reads MLflow only."""

from adapterlab.app.cli import report

if __name__ == "__main__":
    report()
