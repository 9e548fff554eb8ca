"""Deliver what an MLflow server that was away has not got: python scripts/sync.py."""

from adapterlab.app.sync_command import sync

if __name__ == "__main__":
    sync()
