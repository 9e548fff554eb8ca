"""The rows, one module a theme: `RACES` and `ROWS` in each."""
