"""Batches of augmented images over those of a DataLoader: `sides/batches.py` has both."""

from collections.abc import Mapping
from functools import partial

from benching.rows import Clock, Quantity, Race, Row, Side, Turn, whole
from benching.setting import Setting

OURS = "AdapterLab"
WORKERS = (0, 1, 2)
MOST = {
    "crop and flip": 0.035,
    "trivial": 0.15,
    "randaugment": 0.15,
    "color": 0.15,
    "resized_crop": 0.15,
}


def _loader(workers: int) -> str:
    return f"DataLoader, workers: {workers}"


def _best() -> Quantity:
    """Return what a DataLoader takes with the number of workers that is the quickest by wall."""

    def of(turn: Turn, clock: Clock) -> float:
        best = min((_loader(n) for n in WORKERS), key=lambda side: turn[side]["wall"])
        return turn[best][clock]

    return Quantity("torchvision in a DataLoader, best of 0, 1, 2 workers", sides_of_loaders(), of)


def sides_of_loaders() -> tuple[str, ...]:
    """Return the sides that are a DataLoader's."""
    return tuple(_loader(n) for n in WORKERS)


def _race(recipe: str) -> Race:
    def sides(setting: Setting) -> Mapping[str, Side]:
        ask = setting.inside("batches.py")
        theirs = {_loader(n): partial(ask, recipe, str(n)) for n in WORKERS}
        return {OURS: partial(ask, recipe, OURS), **theirs}

    return Race(f"augment {recipe}", "2,000 images of 3x32x32, batch 128", sides)


RACES = [_race(recipe) for recipe in MOST]

ROWS = [
    Row(
        f"augment_{recipe.replace(' ', '_')}",
        f"Training batches, {recipe}",
        f"augment {recipe}",
        whole(OURS),
        _best(),
        most,
        "Draws are not the same; sizes and kinds are.",
    )
    for recipe, most in MOST.items()
]
