"""The studies behind docs/results.md: their presets, and what of each the page shows."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """A study that the page shows.

    Attributes:
        preset: its file in conf/experiment.
        options: of the command line, beside the preset's.
        stored: it takes hours, so that it is read from a store and not run.
        tables: titles of the report's tables that are shown; of several data sets, those of each.
        figure: of the report, by its file's stem; None shows none.
    """

    preset: str
    options: tuple[str, ...] = ()
    stored: bool = False
    tables: tuple[str, ...] = ("Arms",)
    figure: str | None = "accuracy"

    @property
    def name(self) -> str:
        """What its runs are tagged with."""
        return self.preset.replace("/", "-")

    @property
    def arguments(self) -> list[str]:
        """What follows `python src/train.py`."""
        return ["-m", f"experiment={self.preset}", *self.options]

    @property
    def command(self) -> str:
        """What a reader types."""
        return f"python src/train.py {shlex.join(self.arguments)}"

    @property
    def picture(self) -> str:
        """The name of its picture in docs/images."""
        return f"results_{self.preset.replace('/', '_')}.png"

    @property
    def drawn(self) -> str:
        """What the picture shows, in words."""
        return "accuracy by arm" if self.figure == "accuracy" else "accuracy by learning rate"


_RATES = ("Best rates", "Test accuracy by rate")

STUDIES = {
    study.preset: study
    for study in (
        Study("mnist_to_fashion/as_published"),
        Study("mnist_to_fashion/controlled"),
        Study("mnist_to_fashion/tuned"),
        Study("cifar10_mlp/as_published"),
        Study("cifar10_mlp/controlled"),
        Study("cifar10_mlp/tuned"),
        Study("efficientnet_cifar10", stored=True),
        Study("all_methods"),
        Study("all_methods_text", stored=True),
        Study("claims/variants_tie"),
        Study("claims/rank_one", figure=None),
        Study("claims/rate_by_rank", tables=_RATES, figure="rates"),
        Study("claims/ten_times", tables=_RATES, figure="rates"),
        Study("several_text", stored=True),
        Study("share_text", stored=True),
        Study(
            "emotion_distilbert/tuned",
            ("model=minilm", "epochs=1", "limit={train: 4000, validation: 1200, test: 800}"),
            stored=True,
        ),
        Study(
            "imdb_distilbert/tuned",
            (
                "model=minilm",
                "epochs=1",
                "batch_size=16",
                "dataset.max_length=128",
                "hardware.precision=bf16-mixed",
                "limit={train: 4000, validation: 1000, test: 4000}",
                "hydra.sweeper.tune={optimizer.lr: [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]}",
            ),
            stored=True,
        ),
    )
}
