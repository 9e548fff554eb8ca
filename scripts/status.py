"""Say how a study stands: python scripts/status.py study=NAME."""

from adapterlab.app.status_command import status

if __name__ == "__main__":
    status()
