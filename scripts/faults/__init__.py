"""Faults that AdapterLab is put to: one module a kind, found by its function `tries`.

A kind's module holds `COUNT`, how many trials are made unless told, and
``tries(setting) -> Iterator[Trial]``; its docstring's first line says what is done.
"""
