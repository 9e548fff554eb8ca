"""How long something took, and how much memory it takes, as people say it."""


def duration(seconds: float) -> str:
    """Write seconds as people say them: ``45 ms``, ``2.3 s``, ``3 min 20 s``, ``2 h 5 min``.

    What is measured is never written as nothing: below a millisecond there are digits.
    """
    if seconds < 0.000_95:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def memory(gib: float) -> str:
    """Write an amount of memory."""
    return f"{gib:.1f} GiB" if gib >= 1 else f"{1024 * gib:.0f} MiB"


def counted(number: int, what: str) -> str:
    """Write a number of things: ``1 seed``, ``5 seeds``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
