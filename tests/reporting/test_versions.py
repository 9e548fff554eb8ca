"""Runs of one configuration on other data, weights or tokenizers are never averaged, and named."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterlab.config.own_data import own_name
from adapterlab.reporting.reading.attempts import counted
from adapterlab.reporting.reading.reference import find_arm
from adapterlab.reporting.reading.same_data import in_one_place
from adapterlab.reporting.reading.study import Replicate, Run, Status, arms_of
from adapterlab.reporting.reading.versions import versions_of
from adapterlab.reporting.report import Request, read_report
from adapterlab.reporting.sentences.luck import alike
from adapterlab.reporting.sentences.versions import on_versions
from adapterlab.runs.single import run as carry_out
from lab import Outcome, tiny, write_idx

COUNTER = itertools.count(1)

PARTS = {"data": "data_hash", "weights": "weights_hash", "tokenizer": "tokenizer_hash"}
SAME = {"dataset.loader.path": "x", "model.name": "hf", "base.kind": "pretrained"}


def a_run(arm: str = "a", seed: int = 0, cut: int = 0, **values: Any) -> Run:
    """A run whose tags say what it computed on: ``data="d1"``, ``weights="w1"``."""
    tags = {PARTS[part]: values.pop(part) for part in PARTS if part in values}
    tags |= {"strategy": arm, "dataset": "digits", "arm_options": "none", "config_hash": "c"}
    number = next(COUNTER)
    return Run(
        run_id=str(number),
        arm=arm,
        tags=tags | values.pop("tags", {}),
        params=SAME | values.pop("params", {}),
        metrics={},
        replicate=Replicate(seed, seed, cut),
        started=number,
        **values,
    )


def arms(*runs: Run) -> dict[str, list[str]]:
    return {arm.name: [run.run_id for run in (*arm.runs, *arm.lost)] for arm in arms_of(runs)}


def ids(*runs: Run) -> list[str]:
    return [run.run_id for run in runs]


@pytest.mark.parametrize("part", PARTS)
def test_seeds_on_two_versions_are_two_arms(part: str) -> None:
    first = [a_run(seed=seed, **{part: "1111111111"}) for seed in (0, 1)]
    second = [a_run(seed=seed, **{part: "2222222222"}) for seed in (2, 3, 4)]
    assert arms(*first, *second) == {"a": ids(*first), f"a {part}=222222": ids(*second)}
    what = "base weights" if part == "weights" else part
    (note,) = on_versions(arms_of([*first, *second]))
    other = "another" if part == "tokenizer" else "other"
    assert note.startswith(f"a {part}=222222 was computed on {other} {what} than the study's first")
    assert find_arm(arms_of([*first, *second]), f"{part}=222222").runs == tuple(second)
    assert len(alike([*first, *second])) == 2


def test_an_arm_on_another_version_than_the_other_arms_says_so_in_its_name() -> None:
    runs = a_run("lora", data="11111111"), a_run("dora", data="22222222")
    assert list(arms(*runs)) == ["lora", "dora data=222222"]
    # Other options, other data: nothing to be said.
    other = a_run("dora", data="22222222", params={"dataset.loader.path": "y"})
    assert list(arms(runs[0], other)) == ["lora", "dora"]
    assert on_versions(arms_of([runs[0], other])) == []


def test_a_run_of_which_less_is_known_joins_the_larger_group() -> None:
    older = [a_run(seed=seed, data="d") for seed in (0, 1)]
    few = [a_run(seed=2, data="d", weights="v")]
    many = [a_run(seed=seed, data="d", weights="w") for seed in (3, 4)]
    grouped = [{run.run_id for run in group} for group in versions_of([*older, *few, *many])]
    assert grouped == [set(ids(*older, *many)), set(ids(*few))]
    (arm,) = arms_of([*older, *many])
    assert len(arm.runs) == 4
    (note,) = on_versions([arm])
    assert note.startswith("2 of 4 runs of a are from before all that they were computed on was")
    assert on_versions(arms_of(older)) == []


def test_what_is_made_here_may_differ_from_cut_to_cut() -> None:
    runs = [
        a_run(seed=cut, cut=cut, data="d", weights=f"w{cut}", tokenizer=f"t{cut}") for cut in (0, 1)
    ]
    assert list(arms(*runs)) == ["a"]
    again = a_run(seed=7, cut=1, data="d", weights="other", tokenizer="t1")
    assert list(arms(*runs, again)) == ["a", "a weights=other"]


def test_of_one_configuration_what_was_read_last_at_a_place_counts() -> None:
    old, failed = a_run(data="d1"), a_run(data="d2", status=Status.FAILED)
    new = a_run(data="d2")
    assert ids(*counted([failed, old])) == ids(failed, old)  # a failure on d2 replaces nothing
    (only,) = counted([new, failed, old])
    assert (only.run_id, only.replaced, only.started) == (new.run_id, ("data",), old.started)
    (note,) = on_versions(arms_of([only]))
    assert note == (
        "1 run was repeated after the data had changed; what had been run before that does not "
        "count"
    )
    elsewhere = a_run(data="d3", params={"data_dir": "b"})
    assert ids(*counted([elsewhere, new, old])) == ids(elsewhere, new)
    back = a_run(data="d1")
    assert ids(*counted([back, new, old])) == ids(back)


def test_versions_inside_of_an_arm_are_named() -> None:
    def made(seed: int, **tags: str) -> Run:
        named = {key.replace("__", "."): value for key, value in tags.items()}
        return a_run(seed=seed, data="d", tags=named)

    one = {"hardware__torch": "2.9.1", "version__transformers": "5.1", "git_commit": "a" * 40}
    same = [made(seed, **one) for seed in (0, 1)]
    assert on_versions(arms_of(same)) == []
    other = made(2, **{**one, "hardware__torch": "2.13.0", "git_commit": "b" * 40 + "+"})
    assert on_versions(arms_of([*same, other])) == [
        "runs of a were made with different versions: torch 2.13.0 and 2.9.1, "
        "this code at aaaaaaa and bbbbbbb+"
    ]
    edits = [made(seed, code_hash=str(seed), **one) for seed in (0, 1)]
    assert on_versions(arms_of(edits)) == [
        "runs of a were made with different versions: this code, edited"
    ]


@pytest.mark.usefixtures("no_pictures")
def test_a_study_on_data_that_changed_in_between(
    tmp_path: Path, run_cli: Callable[..., Outcome]
) -> None:
    data = tmp_path / "data"

    def seeds(*seeds: int, version: int) -> None:
        write_idx(data / "MNIST" / "raw", version)
        for seed in seeds:
            options = ("dataset=mnist", "base=scratch", f"data_dir={data}", "study=changed")
            carry_out(tiny(tmp_path, *options, "tracking=mlflow", f"seed={seed}"))

    def report() -> tuple[list[tuple[str, int]], list[str]]:
        made = read_report(
            Request(study="changed", experiment="adapterlab", tracking_uri=None, root=str(tmp_path))
        )
        found = made.findings
        return sorted((arm.name, len(arm.runs)) for arm in found.all_arms), list(made.page.notes)

    seeds(0, 1, version=1)
    seeds(2, version=2)
    (first, second), notes = report()
    assert first == ("lora", 2)
    assert second[0].startswith("lora data=")
    assert second[1] == 1
    assert any("was computed on other data than the study's first runs" in n for n in notes)
    assert any("tested on other examples" in note for note in notes)
    seeds(0, 1, version=2)
    arms, notes = report()
    assert arms == [("lora", 3)]
    assert any(note.startswith("2 runs were repeated after the data had") for note in notes)


def read_at(
    path: str, arm: str, seed: int, *, name: str = "", data: str = "d1", **options: str
) -> Run:
    name = name or own_name(path)
    params = {"dataset.loader.path": path, "dataset.name": name, "adapter.rank": "4", **options}
    return a_run(arm, seed, data=data, params=params, tags={"dataset": name, "strategy": "lora"})


def test_the_same_data_at_another_place_are_one_data_set_whose_seeds_are_replicates() -> None:
    mine, theirs = "/me/mail.csv", "/they/post.csv"
    first = [read_at(theirs, "a1", seed) for seed in (0, 1)]
    more = [
        read_at(mine, "a2", 2),
        read_at(mine, "a3", 3, name=own_name(theirs)),  # as the report calls it
        read_at(mine, "b2", 0, **{"adapter.rank": "8"}),
        read_at(mine, "c2", 4, **{"base.dataset.crop": "2"}),  # another base, of the same data
    ]
    together = in_one_place([*first, *more])
    assert {run.dataset for run in together} == {own_name(theirs)}
    assert [len(arm.runs) for arm in arms_of(together)] == [4, 1, 1]
    assert len(alike(together)) == 3
    (note,) = on_versions(arms_of(together))
    assert note.startswith(
        "the data were read at /they/post.csv and /me/mail.csv: they are the same"
    )
    assert in_one_place(first) == first
    # auto, which was bfloat16 there: the options are the same.
    there, here = first[0], read_at(mine, "a2", 2)
    tagged = [
        replace(run, tags={**run.tags, "precision": told})
        for run, told in ((there, "bf16-mixed"), (here, "32-true"))
    ]
    assert len(arms_of(in_one_place(tagged))) == 2
    base = "base.dataset.loader.path"
    both = [read_at(path, path, 0, **{base: f"{path}.base"}) for path in (mine, theirs)]
    assert len(arms_of(in_one_place(both))) == 1


def test_other_data_or_another_name_stay_apart_wherever_they_are() -> None:
    first = read_at("/they/post.csv", "a1", 0)
    for other in (
        read_at("/me/mail.csv", "a2", 1, data="d2"),
        read_at("/me/mail.csv", "a2", 1, name="mine"),
        a_run("a2", 1, params={"dataset.loader.path": "/me/mail.csv"}),  # of no known data
    ):
        assert in_one_place([first, other]) == [first, other]
