"""Names with dots between: of options, of modules and their parameters, and Python's own."""

from functools import lru_cache


def within(name: str, places: tuple[str, ...]) -> bool:
    """Say whether a name is one of some places, or lies inside one: ``a.b`` lies in ``a``."""
    return name in places or name.startswith(_inside(places))


@lru_cache(maxsize=1000)  # a report asks of all options of all its runs, again and again
def _inside(places: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{place}." for place in places)
