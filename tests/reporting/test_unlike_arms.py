"""What is said of arms whose runs are unlike: in number, in spread, or in the packs they shared."""

from dataclasses import replace

import pytest
from figure_cases import costs, drawn, texts
from synthetic import Made, study

from adapterlab.reporting.figures.costs import pareto_figure
from adapterlab.reporting.findings import Findings
from adapterlab.reporting.sentences.notes import notes


def few(findings: Findings) -> list[str]:
    return [note for note in notes(findings) if "runs that are few" in note]


def packs(findings: Findings) -> list[str]:
    return [note for note in notes(findings) if "in packs of" in note]


@pytest.mark.parametrize(
    ("seeds", "spreads", "worse", "said"),
    [
        ((5, 5), (0.01, 0.01), 0.6, False),
        ((5, 5), (0.04, 0.01), 0.83, True),
        ((4, 12), (0.02, 0.02), 0.86, True),
        ((5, 5), (0.04, 0.01), 0.6, False),  # far too large for that
        ((20, 40), (0.04, 0.01), 0.875, False),  # enough runs
        ((5, 5), (0.04, 0.01), 0.9, False),  # not told apart
        ((5, 12), (0.0004, 0.0001), 0.8968, False),  # decided by test examples
    ],
)
def test_differences_of_few_unlike_runs_are_said(
    seeds: tuple[int, int], spreads: tuple[float, float], worse: float, *, said: bool
) -> None:
    """Skewed scores of unlike arms were told apart in up to 15 of 100 studies, without a word."""
    (m, n), (u, v) = seeds, spreads
    findings = study(
        Made("full", worse, seeds=m, spread=u),
        Made("lora", 0.9, seeds=n, spread=v),
        examples=10_000,
    )
    assert len(few(findings)) == said
    if said:
        assert few(findings)[0].startswith("full and lora differ by runs that are few")


def test_seconds_of_packs_of_unlike_sizes_are_said() -> None:
    """A lane of a larger pack takes less, and both stood in one column and on one front."""
    sizes = {"full": "2", "dora": "8", "lora": "8"}
    unlike = study(
        *(
            Made(name, 0.9 - 0.01 * n, metrics=costs(n, packed=True), tags={"pack_size": size})
            for n, (name, size) in enumerate(sizes.items())
        )
    )
    assert packs(unlike) == [
        "seconds in a pack are less in a larger one, and these do not compare over arms: full in "
        "packs of 2; dora and lora in packs of 8"
    ]
    below = "Packs were not of one size, and a larger one has less for each run: the notes say"
    assert below in " ".join(texts(drawn(pareto_figure(unlike))))
    alike = study(
        *(Made(n, metrics=costs(1, packed=True), tags={"pack_size": "8"}) for n in ("a", "b")),
        Made("c", metrics=costs(2), tags={"pack_size": "1"}),
    )
    assert packs(alike) == []
    assert below not in " ".join(texts(drawn(pareto_figure(alike))))


@pytest.mark.parametrize(("first", "said"), [(36.0, True), (0.02, False)])
def test_who_has_computed_the_prefix_of_all_is_said(first: float, *, said: bool) -> None:
    """It stood in the seconds of the run that came first, a hundred times what others took."""
    times = (first, 0.01, 0.01)
    found = study(
        *(
            Made(
                name,
                metrics={
                    "cost/train_seconds": [1 + seconds for seconds in prefix],
                    "cost/prefix_seconds": list(prefix),
                },
                tags={"frozen_prefix": "6 layers of all tokens, 0.20 GiB, found in 10 ms"},
            )
            for name, prefix in (("head", times), ("last_layers", (0.01,) * 3))
        ),
    )
    head = next(arm for arm in found.arms if arm.name == "head")
    one = head.arm.runs[0]
    computed = replace(one, tags={**one.tags, "frozen_prefix": "6 layers, 1 GiB, computed in 1 s"})
    mine = replace(head, arm=replace(head.arm, runs=(computed, *head.arm.runs[1:])))
    arms = tuple(mine if arm is head else arm for arm in found.arms)
    notes_on = [n for n in notes(replace(found, arms=arms)) if "frozen prefix" in n]
    if said:
        assert notes_on == [
            "seconds hold the frozen prefix, which who comes first computes for all: head in 1 of "
            "3 runs (36 s on average), others found it (10 ms); arms' seconds differ by that too "
            "(cost/prefix_seconds in runs.csv)"
        ]
    else:
        assert notes_on == []


@pytest.mark.parametrize("other", ["32-true", "bf16-mixed"])
def test_arms_of_unlike_precisions_are_said(other: str) -> None:
    tags = ({"precision": "32-true"}, {"precision": other}, {})
    names = ("full", "lora", "head")
    said = notes(study(*(Made(name, tags=own) for name, own in zip(names, tags, strict=True))))
    found = [note for note in said if "unlike precisions" in note]
    assert len(found) == (other != "32-true")
    assert all(note.endswith(": full in 32-true; lora in bf16-mixed") for note in found)
