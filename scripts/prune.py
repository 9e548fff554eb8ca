"""Cut ranks out of a finished run's adapter: python scripts/prune.py run=<id or folder>."""

from adapterlab.app.prune_command import prune

if __name__ == "__main__":
    prune()
