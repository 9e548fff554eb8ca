"""experiment=glue: what was published, composed and counted, and carried out on small files."""

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest

import adapterlab.base.torchvision_compat  # noqa: F401  # before transformers, which imports torchvision

# isort: split

from transformers import RobertaConfig

import glue
from adapterlab.config.schema import Config, TextDataset
from adapterlab.models.hub import MINILM_PACKAGE
from adapterlab.runs.check import check
from adapterlab.runs.single import run
from glue_files import write_glue
from lab import CHECKOUT, Outcome, compose

TABLE_9 = {
    "mnli": (16, 30, 5e-4),
    "sst2": (16, 60, 5e-4),
    "mrpc": (16, 30, 4e-4),
    "cola": (32, 80, 4e-4),
    "qnli": (32, 25, 4e-4),
    "qqp": (16, 25, 5e-4),
    "rte": (32, 80, 5e-4),
    "stsb": (16, 40, 4e-4),
}
"""Batch size, epochs and rate of each task: Hu et al. 2021, appendix D."""

SMALL = (
    *("model=bert_tiny", "base=scratch", "hardware=cpu", "hardware.threads=1", "baseline=never"),
    *("epochs=1", "batch_size=16", "dataset.max_length=24", "seed=0"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glue(tmp_path_factory.mktemp("glue"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hub has of RoBERTa-base, weights aside."""
    folder = tmp_path_factory.mktemp("roberta-base")
    RobertaConfig(
        vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1
    ).save_pretrained(folder)
    return folder


def composed(task: str, *overrides: str) -> Config:
    return compose(Path("nowhere"), "experiment=glue", f"arm=glue/{task}", *overrides)


@pytest.mark.parametrize("task", TABLE_9)
def test_each_task_has_the_options_of_the_table(task: str) -> None:
    config = composed(task)
    assert (config.batch_size, config.epochs, config.optimizer.lr) == TABLE_9[task]
    used = config.optimizer
    assert (used.name, used.schedule, used.warmup, used.weight_decay) == (
        "adamw", "linear", 0.06, 0.1
    )  # fmt: skip
    assert {role: of.weight_decay for role, of in used.roles.items()} == {"norm": 0, "bias": 0}
    assert (config.adapter["rank"], config.adapter["alpha"]) == (8, 8)
    assert config.adapter["targets"] == ["query", "value"]
    assert isinstance(config.dataset, TextDataset)
    assert (config.dataset.name, config.dataset.max_length) == (task, 512)
    assert (config.model["name"], config.base.kind) == ("roberta_base", "pretrained")
    assert config.select_on == {"cola": "mcc", "stsb": "pearson"}.get(task, "accuracy")
    assert config.task == ("regression" if task == "stsb" else "single_label")


@pytest.mark.parametrize("task", TABLE_9)
def test_three_tenths_of_a_million_are_trained_beside_the_head(task: str, roberta: Path) -> None:
    plan = check(composed(task, f"model.name_or_path={roberta}"))
    assert plan is not None
    assert plan.count.adapter == 12 * 2 * (768 * 8 + 8 * 768) == 294_912
    classes = {"mnli": 3, "stsb": 1}.get(task, 2)
    assert plan.count.head == 768 * 768 + 768 + 768 * classes + classes


@pytest.mark.usefixtures("no_pictures")
def test_tasks_are_a_study_whose_table_has_the_published_figures_beside_it(
    files: Path,
    tmp_path: Path,
    run_cli: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = "arm=glue/mnli,glue/mrpc,glue/cola,glue/stsb"
    plain = ("hydra/launcher=basic", "report=false")
    told = ("-m", "experiment=glue", some, *SMALL, *plain, f"data_dir={files}")
    done = run_cli(*told, root=tmp_path)
    assert done.code == 0, done
    monkeypatch.setenv("ADAPTERLAB_ROOT", str(tmp_path))
    with redirect_stdout(StringIO()) as printed:
        assert glue.main([]) == 0
    head, _, *rows = printed.getvalue().splitlines()
    assert "published: LoRA" in head
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[2] for row in cells if row[2]] == [
        "87.5", "95.1", "89.7", "63.4", "93.3", "90.8", "86.6", "91.5"
    ]  # fmt: skip
    ran = {row[0]: row for row in cells if row[6] == "1"}
    assert list(ran) == ["MNLI, matched and mismatched", "MRPC", "CoLA", "STS-B"]
    assert {(row[7], row[4] != "") for row in ran.values()} == {("bert_tiny", True)}
    assert cells[0][9] == "48"  # both validation splits
    assert {(row[6], row[4], row[7]) for row in cells if row[0] not in ran} == {("0", "", "")}
    assert [row[1] for row in cells if not row[2]] == [
        "f1/equivalent", "f1/duplicate", "Spearman correlation"
    ]  # fmt: skip


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.skipif(find_spec(MINILM_PACKAGE) is None, reason="MiniLM is not installed")
def test_minilm_takes_the_place_of_roberta(files: Path, tmp_path: Path) -> None:
    options = ("experiment=glue", "arm=glue/mnli", "model=minilm", f"data_dir={files}")
    small = ("limit=32", "hardware=cpu", "hardware.threads=1", "baseline=never", "tracking=none")
    result = run(compose(tmp_path, *options, *small, "epochs=1"))
    assert result.classes == ("entailment", "neutral", "contradiction")
    assert result.metrics["params/adapter"] == 6 * 2 * (384 * 8 + 8 * 384)
    assert result.metrics["data/test_examples"] == 32


def test_the_page_has_the_table_of_what_was_published() -> None:
    page = (CHECKOUT / "docs" / "text.md").read_text()
    for task in glue.TASKS.values():
        for metric, (lora, full) in task.published.items():
            name = glue.NAMES.get(metric, metric)
            assert f"| {task.title} | {name} | {lora:.1f} | {full:.1f} |" in page
