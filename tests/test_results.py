"""The page of results: what studies' reports say gets between its markers, and nothing moves."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from adapterlab.base.errors import AdapterLabError
from adapterlab.config import conf_folder
from adapterlab.reporting.tables.arms import Table
from lab import TINY, Outcome

CHECKOUT = conf_folder.CONF.parent


@pytest.fixture(scope="module")
def results() -> ModuleType:
    """The script as a module."""
    place = CHECKOUT / "scripts" / "results.py"
    spec = importlib.util.spec_from_file_location("results_script", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(results: ModuleType, tmp_path: Path) -> Path:
    """A page with a place for every study, and prose around each."""
    place = tmp_path / "docs" / "page.md"
    place.parent.mkdir()
    parts = [f"prose of {name}\n\n{_markers(name)}" for name in results.STUDIES]
    place.write_text("\n".join([*parts, "the end\n"]))
    return place


def _markers(name: str, old: str = "old\n") -> str:
    return f"<!-- results: {name} -->\n{old}<!-- end -->\n"


def _report(runs: Table, short: Table | None = None, commit: str = "0123456789abcdef+") -> Any:
    """What the script reads of a report: two arms, with Markdown in their names and notes."""
    arms = Table("Arms", ("arm", "test accuracy"), (("lora_a|b", "80.00%"), ("full", "<1%")))
    page = SimpleNamespace(
        verdict=("Take lora_a|b.", "It is 5 * 2."),
        tables=(arms,),
        notes=("a_note",),
        facts=(*([("commit", commit)] if commit else []), ("torch", "2.13.0")),
        runs=runs,
    )
    tasks = (SimpleNamespace(task="clothes"),)
    return SimpleNamespace(page=page, tasks=tasks, table=lambda task: short or arms)


def _tables(results: ModuleType, report: Any) -> list[str]:
    found: list[str] = results.tables(results.STUDIES["all_methods"], report)
    return found


RUNS = Table(
    "Runs",
    ("run_id", "arm", "optimizer.lr"),
    (("1", "lora_a|b", "0.1"), ("2", "full", "0.3")),
)


BETWEEN = re.compile(r"(?<= -->\n).*?(?=<!-- end -->)", re.DOTALL)


class TestFill:
    def test_only_what_is_between_its_markers_changes(self, results: ModuleType) -> None:
        before = f"a\n{_markers('x')}b\n{_markers('y')}c\n"
        after = results.fill(before, {"x": "new"})
        new = _markers("x", "new\n")
        assert after == f"a\n{new}b\n{_markers('y')}c\n"
        assert results.fill(after, {"x": "new"}) == after

    @pytest.mark.parametrize(
        ("page", "said"),
        [
            ("", "<!-- results: x --> stands 0 times on the page; allowed: once"),
            (_markers("x") * 2, "<!-- results: x --> stands 2 times"),
            ("<!-- results: x -->\n", "<!-- results: x --> has no <!-- end --> on a line"),
            (f"<!-- results: x -->\n{_markers('y')}", "<!-- results: x --> has no <!-- end -->"),
        ],
    )
    def test_markers_that_are_no_pair(self, results: ModuleType, page: str, said: str) -> None:
        with pytest.raises(AdapterLabError, match=re.escape(said)):
            results.fill(page, {"x": "new"})

    def test_the_page_of_this_checkout_has_every_place(self, results: ModuleType) -> None:
        results.check(results.PAGE.read_text(encoding="utf-8"))

    def test_a_marker_of_no_study(self, results: ModuleType, page: Path) -> None:
        text = page.read_text() + _markers("cifar10_mlp/controled")
        with pytest.raises(AdapterLabError, match="did you mean cifar10_mlp/controlled"):
            results.check(text)


class TestSection:
    def test_command_table_verdict_and_versions(self, results: ModuleType) -> None:
        study = results.STUDIES["emotion_distilbert/tuned"]
        text = results.section(results.Shown(study, _report(RUNS)))
        assert (
            "```\npython src/train.py -m experiment=emotion_distilbert/tuned model=minilm epochs=1 "
            "'limit={train: 4000, validation: 1200, test: 800}'\n```\n"
        ) in text
        assert "| arm | rate | test accuracy |\n| --- | ---: | ---: |\n" in text
        assert "| lora\\_a\\|b | 0.1 | 80.00% |\n| full | 0.3 | \\<1% |\n" in text
        assert "> Take lora\\_a\\|b. It is 5 \\* 2.\n" in text
        assert "- a\\_note\n" in text
        assert "![" not in text, "single seeds have no spread to draw"

    @pytest.mark.parametrize(
        ("commit", "said"),
        [
            ("0123456789abcdef", "Run at commit 0123456789, with torch 2.13.0."),
            (
                "0123456789abcdef+, fedcba9876543210",
                "Run at commit 0123456789+ and fedcba9876 "
                "(+: with changes that were not committed), with torch 2.13.0.",
            ),
            ("", "Run outside of git, with torch 2.13.0."),
        ],
    )
    def test_which_code_it_was(self, results: ModuleType, commit: str, said: str) -> None:
        assert results.made_with(_report(RUNS, commit=commit)) == said

    def test_one_shared_rate_is_no_column(self, results: ModuleType) -> None:
        rows = tuple((*row[:2], "0.1") for row in RUNS.rows)
        (text,) = _tables(results, _report(Table("", RUNS.header, rows)))
        assert "| arm | test accuracy |" in text

    def test_what_an_arm_trains_stands_with_it(self, results: ModuleType) -> None:
        short = Table("", ("arm", "trained parameters"), (("full", "9"), ("lora_a|b", "4")))
        (text,) = _tables(results, _report(RUNS, short))
        assert "| lora\\_a\\|b | 0.1 | 80.00% | 4 |\n| full | 0.3 | \\<1% | 9 |" in text

    def test_other_tables_stand_with_their_titles(self, results: ModuleType) -> None:
        report = _report(RUNS)
        first = replace(report.page.tables[0], title="clothes: Arms")
        rates = Table("Best rates", ("arm", "best_rate"), (("full", "0.3"),))
        report.page.tables = (first, replace(first, title="digits: Arms"), rates)
        study = replace(results.STUDIES["all_methods"], tables=("Arms", "Best rates"))
        titles = ("clothes: Arms:", "digits: Arms:", "Best rates:")
        texts = results.tables(study, report)
        assert tuple(texts[::2]) == titles
        assert texts[5] == "| arm | best\\_rate |\n| --- | ---: |\n| full | 0.3 |"

    def test_arms_of_one_name_have_the_rates_of_their_data_set(self, results: ModuleType) -> None:
        rows = (*RUNS.rows, ("3", "full", "0.7"), ("4", "lora_a|b", "0.1"))
        report = _report(replace(RUNS, rows=rows))
        (arms,) = report.page.tables
        report.page.tables = (replace(arms, title="a: Arms"), replace(arms, title="b: Arms"))
        report.tasks = tuple(
            SimpleNamespace(task=task, runs=[SimpleNamespace(run_id=run) for run in runs])
            for task, runs in (("a", "12"), ("b", "34"))
        )
        _, first, _, second = _tables(results, report)
        assert "| full | 0.3 |" in first
        assert "| full | 0.7 |" in second

    def test_a_study_without_a_figure(self, results: ModuleType) -> None:
        runs = Table("", RUNS.header, (*RUNS.rows, RUNS.rows[0]))
        study = replace(results.STUDIES["cifar10_mlp/tuned"], figure=None)
        assert "![" not in results.section(results.Shown(study, _report(runs)))

    def test_several_seeds_are_drawn(self, results: ModuleType) -> None:
        runs = Table("", RUNS.header, (*RUNS.rows, RUNS.rows[0]))
        text = results.section(results.Shown(results.STUDIES["cifar10_mlp/tuned"], _report(runs)))
        assert "(images/results_cifar10_mlp_tuned.png)" in text

    def test_what_was_not_run_says_so(self, results: ModuleType) -> None:
        text = results.section(results.Shown(results.STUDIES["imdb_distilbert/tuned"], None))
        assert text.startswith(
            "Not run by this command; to run it:\n\n```\npython src/train.py -m "
        )


def _main(results: ModuleType, capfd: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    capfd.readouterr()
    code: object = 0
    try:
        results.main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert isinstance(code, int)
    out, err = capfd.readouterr()
    return Outcome(code, out, err)


def test_a_study_of_texts_is_read_from_the_store_that_has_it(
    results: ModuleType,
    page: Path,
    tmp_path: Path,
    run_cli: Callable[..., Outcome],
    capfd: pytest.CaptureFixture[str],
) -> None:
    name = "emotion_distilbert/tuned"
    stored = tmp_path / "stored"
    study = ["-m", f"study={name.replace('/', '-')}", "adapter=head,full", "seed=0,1,2"]
    told = [*TINY[:-1], "report=false", "hydra/launcher=packed", "hydra.launcher.processes=1"]
    assert run_cli(*study, *told, root=stored).code == 0
    arguments = ["--page", str(page), "--only", name, "imdb_distilbert/tuned"]
    before = page.read_text()
    done = _main(results, capfd, *arguments, "--texts", str(stored))
    assert done.code == 0, done.err
    assert f"{name}: 6 runs\nimdb_distilbert/tuned: not run\nwritten: {page}\n" in done.out
    after = page.read_text()
    assert re.search(r"\| head \|.* [0-9.]+% \([0-9.]+ to ", after)
    assert (page.parent / "images" / "results_emotion_distilbert_tuned.png").stat().st_size > 1000
    assert BETWEEN.sub("", after) == BETWEEN.sub("", before)
    assert after.count("old\n") == len(results.STUDIES) - 2

    # Without the store the page does not keep figures that nothing stands behind.
    assert _main(results, capfd, *arguments).code == 0
    assert page.read_text().count(results.NOT_RUN) == 2
    assert not (page.parent / "images" / "results_emotion_distilbert_tuned.png").exists()


class TestMistakes:
    def test_a_command_that_fails_leaves_the_page(
        self,
        results: ModuleType,
        page: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked = []

        def fail(command: list[str], **options: dict[str, str]) -> subprocess.CompletedProcess[str]:
            asked.append((command[1:], options["env"]["ADAPTERLAB_ROOT"]))
            return subprocess.CompletedProcess(command, 1)

        monkeypatch.setattr(subprocess, "run", fail)
        before = page.read_text()
        done = _main(results, capfd, "--page", str(page), "--root", str(tmp_path))
        assert done.code == 1
        assert done.err == (
            "error: python src/train.py -m experiment=mnist_to_fashion/as_published ended with "
            "exit code 1; the page is as it was\n"
        )
        assert page.read_text() == before
        program = str(CHECKOUT / "src" / "train.py")
        run = ["-m", "experiment=mnist_to_fashion/as_published", "report=false"]
        assert asked == [([program, *run], str(tmp_path))]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--no-train", "--root", "nowhere"], "nowhere has no mlruns/mlflow.db"),
            (["--page", "nowhere.md"], "nowhere.md: No such file or directory"),
            (["--only", "mnist"], "invalid choice: 'mnist'"),
        ],
    )
    def test_in_one_line(
        self,
        results: ModuleType,
        page: Path,
        capfd: pytest.CaptureFixture[str],
        arguments: list[str],
        said: str,
    ) -> None:
        done = _main(results, capfd, "--page", str(page), *arguments)
        assert done.code == 2
        assert said in done.err
        assert "Traceback" not in done.err
