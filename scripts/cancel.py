"""End a study that is under way: python scripts/cancel.py study=NAME."""

from adapterlab.app.cancel_command import cancel

if __name__ == "__main__":
    cancel()
