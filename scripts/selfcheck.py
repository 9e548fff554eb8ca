"""Try out how often verdicts are false, with a stored study's runs: selfcheck.py study=NAME."""

from adapterlab.app.cli import selfcheck

if __name__ == "__main__":
    selfcheck()
