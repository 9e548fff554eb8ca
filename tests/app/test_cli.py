"""The command line as people meet it: in a process of its own, from any folder."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from adapterlab.app import cli
from adapterlab.app.arguments import expand_home, for_hydra
from adapterlab.config import conf_folder
from adapterlab.tracking.stores.uris import default_uri
from lab import CHECKOUT, TINY, Outcome, as_program, environment, process, tiny

pytestmark = pytest.mark.usefixtures("no_pictures")

HEAVY = ("torch", "pytorch_lightning", "transformers", "mlflow", "sklearn", "matplotlib", "pandas")

PROBE = """
import sys
sys.argv = ["adapterlab", *sys.argv[1:]]
from adapterlab.app.cli import train
try:
    train()
except SystemExit as stop:
    assert stop.code in (None, 0, 2), stop.code
print("loaded:", *sorted(name for name in sys.modules if "." not in name))
"""


SHOWN = (["--help"], ["--cfg", "job"], ["adapter=lorra"], ["--info", "defaults"])


@pytest.mark.parametrize(
    "arguments",
    [*SHOWN, ["epochs=0"]],
    ids=" ".join,
)
def test_nothing_heavy_is_loaded_for(arguments: list[str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=60,
    )
    _, _, loaded = result.stdout.rpartition("loaded:")
    assert "hydra" in loaded.split(), result.stderr
    assert not set(HEAVY) & set(loaded.split())
    if arguments in SHOWN:  # nothing is checked against the schema
        assert "pydantic" not in loaded.split()


def test_a_strategy_is_checked_without_lightning(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROBE, "adapter.rank=0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=60,
    )
    assert result.stderr.startswith("error: adapter.rank=0")
    loaded = result.stdout.rpartition("loaded:")[2].split()
    assert not {"pytorch_lightning", "transformers", "mlflow"} & set(loaded)


PACK = ["-m", "hydra/launcher=packed", "adapter.rank=1,2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [(PACK, "its share in a pack of 2"), (["early_stopping=2"], "samples/s")],
    ids=["pack", "alone"],
)
def test_a_run_is_trained_without_what_takes_long_to_load(
    options: list[str], said: str, tmp_path: Path
) -> None:
    own = [option for option in TINY if not option.startswith(("base.", "epochs", "limit"))]
    result = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-c", PROBE, *options, *own),
            *("adapter=dora", "base=scratch", "epochs=6", "limit=200"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=120,
    )
    assert said in result.stdout
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", result.stderr, re.MULTILINE))
    assert "torch" in loaded
    slow = {"pytorch_lightning", "torchvision", "transformers", "datasets", "torch._dynamo"}
    slow |= {"torchmetrics", "sympy"}
    assert not slow & loaded


def test_help_says_what_can_be_set(tmp_path: Path) -> None:
    result = process(tmp_path, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "python src/train.py adapter=dora model=mlp dataset=cifar10" in result.stdout
    conf = Path(__file__).parents[2] / "conf"
    strategies = sorted(path.stem for path in conf.glob("adapter/*.yaml"))
    assert {"bitfit", "lora"} <= set(strategies)
    assert f"adapter: {', '.join(strategies)}" in result.stdout
    assert "early_stopping: null       # stop after" in result.stdout
    assert "${oc.env:ADAPTERLAB_ROOT," in result.stdout
    assert result.stderr == ""


def test_a_mistake_in_a_real_process(tmp_path: Path) -> None:
    result = process(tmp_path / "root", "epoch=3", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: epoch is not an option; allowed: dataset, ")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] in ([], ["root"])


def test_the_configuration_can_be_printed(run_cli: Callable[..., Outcome]) -> None:
    outcome = run_cli("--cfg", "job", "adapter=dora", "--resolve")
    assert outcome.code == 0
    assert "rank: 8" in outcome.out
    assert "label: dora-r8-a16" in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize(
    "arguments", [["adapter=dora"], ["adapter=full", "dataset=cifar10"], ["dataset=mnist"]]
)
def test_a_plan_needs_no_data_and_leaves_nothing(
    arguments: list[str], run_cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = run_cli(*arguments, "plan=true")
    assert outcome.code == 0
    assert "parameters" in outcome.out
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "mlruns"] == []


def test_a_plan_counts_by_the_closed_form(run_cli: Callable[..., Outcome]) -> None:
    # 64-128-10: r(d_in + d_out) = 4 * 192 on the body, 128 * 10 + 10 in the head.
    outcome = run_cli("adapter=lora", "adapter.rank=4", "plan=true")
    assert "2,058 of 10,378 parameters" in " ".join(outcome.out.replace("│", " ").split())


def test_runs_from_any_folder_and_summarises(
    run_cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    outcome = run_cli(*TINY)
    assert outcome.code == 0, outcome.err
    assert list(elsewhere.iterdir()) == []
    for text in ("accuracy on the test split", "source task before, after", "limited to 96"):
        assert text in outcome.out
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("files:")]
    folder = Path(line.removeprefix("files:").strip())
    assert (folder / "adapter.safetensors").is_file()
    evaluation = run_cli(f"run={folder}", "hardware.threads=1", program=cli.evaluate)
    assert "equal to the logged metrics, to the last digit" in evaluation.out, evaluation


def test_the_command_that_is_printed_can_be_typed(tmp_path: Path) -> None:
    root = tmp_path / "a root"
    words = shlex.split(cli._ui(tiny(root, "tracking=mlflow")))
    assert words == ["mlflow", "ui", "--backend-store-uri", default_uri(root / "mlruns")]


def test_a_long_path_stays_on_one_line(run_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    root = tmp_path / ("a [bold] folder with a long name " * 3).strip()
    outcome = run_cli(*TINY, "base=scratch", "~base.epochs", root=root)
    assert outcome.code == 2
    outcome = run_cli(*(o for o in TINY if "base." not in o), "base=scratch", root=root)
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("files:")]
    assert Path(line.removeprefix("files:").strip()).is_dir()


def test_a_sweep_prints_a_line_a_run(run_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run_cli("-m", *TINY, "study=pair", "adapter=head,bitfit", "seed=3")
    assert outcome.code == 0, outcome.err
    lines = [line for line in outcome.out.splitlines() if "accuracy" in line]
    assert [line.partition(":")[0] for line in lines] == [
        "head seed 3",
        "bitfit seed 3",
    ]
    folder = tmp_path / "mlruns" / "runs" / "pair"
    assert len(list(folder.iterdir())) == 2
    assert outcome.err == f"tracking=none: there is no table; the runs are in {folder}\n"


def test_each_study_of_a_sweep_has_its_table(run_cli: Callable[..., Outcome]) -> None:
    tracked = [option for option in TINY if option != "tracking=none"]
    outcome = run_cli("-m", *tracked, "study=one,other", "adapter=head", "report=false")
    assert outcome.code == 0, outcome.err
    assert re.findall(r"^Study (\S+)", outcome.out, re.MULTILINE) == ["one", "other"]


def test_a_diverged_run_is_one_line(run_cli: Callable[..., Outcome]) -> None:
    arguments = [*TINY, "adapter=full", "optimizer=sgd", "optimizer.lr=1e30"]
    outcome = run_cli(*(a for a in arguments if a != "optimizer.lr=0.01"))
    assert outcome.code == 1  # nothing was wrong with the configuration as such
    assert "Traceback" not in outcome.err
    assert "try a lower optimizer.lr than 1e+30" in outcome.err.splitlines()[-1]


def test_the_program_finds_conf_in_an_installed_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "adapterlab"
    shutil.copytree(CHECKOUT / "conf", package / "conf")
    monkeypatch.setattr(conf_folder, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    assert conf_folder.find_conf() == package / "conf"
    assert conf_folder.default_root() == str(tmp_path)


def test_the_root_of_a_checkout_is_the_checkout() -> None:
    assert conf_folder.find_conf() == CHECKOUT / "conf"
    assert conf_folder.default_root() == str(CHECKOUT)


def test_an_exception_that_is_no_mistake_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug of ours")

    monkeypatch.setattr("adapterlab.runs.check.check", broken)
    with as_program(tmp_path, "tracking=none"), pytest.raises(ValueError, match="a bug of ours"):
        cli.train()


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell expands none inside a word, and the documentation uses them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("dataset.loader.path=~/birds") == f"dataset.loader.path={tmp_path}/birds"
    assert expand_home("adapter=lora") == "adapter=lora"


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("a.b=gefühl", "gefühl"),
        ("a.b=/home/Jörg Müller/a b.csv", "/home/Jörg Müller/a b.csv"),
        ("a.b=[straße,ort,名前]", ["straße", "ort", "名前"]),
        ("a.b='für dich'", "für dich"),
        ("a.b=['für dich']", ["für dich"]),
        ("+a.b=größe", "größe"),
        ("a.b=plain", "plain"),
    ],
)
def test_words_have_letters_of_any_alphabet(written: str, taken: object) -> None:
    """Hydra's grammar knows a to z, and columns and folders are called otherwise."""
    assert OverridesParser.create().parse_override(for_hydra(written)).value() == taken


def test_values_of_a_sweep_have_letters_of_any_alphabet() -> None:
    override = OverridesParser.create().parse_override(for_hydra("a.b=größe,mittel"))
    assert override.is_sweep_override()
    assert list(override.sweep_string_iterator()) == ["'größe'", "mittel"]


def test_the_name_of_a_study_is_refused_as_it_was_written(run_cli: Callable[..., Outcome]) -> None:
    error = run_cli("study=größe").error
    assert error.startswith("study=größe names files")
    assert error.endswith("; such as grosse")


def test_a_home_folder_has_letters_of_any_alphabet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/müller")
    override = OverridesParser.create().parse_override(for_hydra("a.b=~/birds"))
    assert override.value() == "/home/müller/birds"


def test_an_override_that_cannot_be_read_is_one_line(run_cli: Callable[..., Outcome]) -> None:
    assert "hardware.x=a~b is not of the form option=value" in run_cli("hardware.x=a~b").error
