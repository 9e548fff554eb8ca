"""Benchmarks as rows: two sides each, taken in turn, kept as JSON, written to a page, compared."""
