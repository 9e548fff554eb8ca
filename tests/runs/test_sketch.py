"""A sweep sketches runs that differ in rates or seeds once; between commands nothing is kept."""

from pathlib import Path

import pytest

from adapterlab.base.errors import ConfigError
from adapterlab.config.schema import Config
from adapterlab.runs import sketch
from lab import tiny


def text_run(root: Path, *more: str) -> Config:
    return tiny(
        root, "dataset=emotion", "model=bert_tiny", "base=scratch", "dataset.max_length=64", *more
    )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were made."""
    models: list[str] = []
    real = sketch.make_model

    def make_model(config: Config, *arguments: object) -> object:
        models.append(config.model["name"])
        return real(config, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sketch, "make_model", make_model)
    return models


def test_runs_of_a_sweep_that_differ_in_rate_and_seed_are_sketched_once(
    tmp_path: Path, made: list[str]
) -> None:
    runs = [
        tiny(tmp_path, f"optimizer.lr={lr}", f"seed={seed}", f"init_seed={seed}", "budget=3000")
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ]
    with sketch.sketched_once():
        with sketch.sketched_once():  # a sweeper's launcher
            first = [sketch.sketch(run, None) for run in runs]
        again = [sketch.sketch(run, None) for run in runs]
        fitted = [sketch.fit_to_budget(run, None) for run in runs]
    assert len(made) == 2  # one to adapt, one to fit
    assert all(one is first[0] for one in (*first, *again))
    assert all(one is fitted[0] for one in fitted)
    sketch.sketch(runs[0], None)
    assert len(made) == 3  # by now the user may have changed it


@pytest.mark.parametrize(
    ("run", "other"),
    [
        (("adapter=lora", "adapter.rank=1"), ("adapter=lora", "adapter.rank=2")),
        (("model.widths=[8]",), ("model.widths=[4]",)),
        (("dataset=fashion_mnist",), ("dataset=cifar10",)),
    ],
)
def test_what_its_size_hangs_on_is_sketched_anew(
    run: tuple[str, ...], other: tuple[str, ...], tmp_path: Path
) -> None:
    configs = [tiny(tmp_path, "base=scratch", *options) for options in (run, other)]
    alone = [sketch.sketch(config, None).count() for config in configs]
    with sketch.sketched_once():
        together = [sketch.sketch(config, None).count() for config in configs]
    assert together == alone
    assert together[0] != together[1]


def test_two_budgets_are_fitted_apart(tmp_path: Path) -> None:
    with sketch.sketched_once():
        fitted = [
            sketch.fit_to_budget(tiny(tmp_path, "adapter=lora", f"budget={budget}"), None)
            for budget in (2000, 3000)
        ]
    assert [one.trained for one in fitted] == sorted({one.trained for one in fitted})


def test_texts_longer_than_the_model_takes_are_refused_after_others_fitted(tmp_path: Path) -> None:
    with sketch.sketched_once():
        sketch.sketch(text_run(tmp_path), None)
        with pytest.raises(ConfigError, match="max_length=600"):
            sketch.sketch(text_run(tmp_path, "dataset.max_length=600"), None)
