"""A fixture that counts what a frozen prefix computes."""

from typing import Any

import pytest

from adapterlab.training.prefix.frozen_layers import FrozenLayers


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits whose features were computed, as they are; trying out does not count."""
    seen: list[str] = []
    fill = FrozenLayers.fill

    def counted(layers: FrozenLayers, *args: Any, title: str | None = None, **options: Any) -> None:
        if title is not None:
            seen.append(title.rpartition(" ")[2])
        fill(layers, *args, title=title, **options)

    monkeypatch.setattr(FrozenLayers, "fill", counted)
    return seen
