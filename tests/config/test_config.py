"""Every mistake in a configuration: one line, exit code 2, nothing trained, nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterlab.app import cli
from adapterlab.base.errors import ConfigError
from lab import Outcome, compose

RunCli = Callable[..., Outcome]

GROUPS = "dataset, adapter, base, optimizer, model, hardware, tracking"

MISTAKES = {
    # names that do not exist
    "misspelt option": ("epoch=3", "epoch is not an option", "epochs", "did you mean epochs?"),
    "misspelt group": ("adaptor=lora", "adaptor is not an option", GROUPS, "mean adapter?"),
    "misspelt option of a strategy": (
        "adapter.rnak=4",
        "adapter.rnak is not an option",
        "rank, alpha, targets",
        "did you mean rank?",
    ),
    "option added to a strategy": (
        "+adapter.foo=1",
        "adapter.foo is not an option",
        "rank, alpha, targets",
    ),
    "option added to a model": ("+model.foo=1", "model.foo", "widths, activation, dropout"),
    "option added to a loader": ("+dataset.loader.turn=90", "dataset.loader.turn", "rotation"),
    "option added to the run": ("+foo=1", "foo is not an option", "epochs, batch_size"),
    "option of another optimizer": (
        "optimizer.momentum=0.9",
        "optimizer.momentum is not an option",
        "betas",
    ),
    "option of another optimizer, added": (
        "optimizer=adam +optimizer.momentum=0.9",
        "optimizer.momentum is not an option",
        "betas",
    ),
    "option removed": ("~epochs", "epochs is missing"),
    "option that a name is made of removed": ("~adapter.rank", "rank"),
    "unknown strategy": (
        "adapter=lorra",
        "adapter=lorra",
        "bitfit, boft, bottleneck, combined, ",
        "mean lora?",
    ),
    "unknown model": ("model=mpl", "model=mpl", "mlp"),
    "unknown data set": ("dataset=cifar", "dataset=cifar", "cifar10, cola,", "mean cifar10?"),
    "unknown experiment": ("experiment=dmeo", "experiment=dmeo", "did you mean demo?"),
    "unknown experiment of a folder": (
        "experiment=cifar10_mlp",
        "experiment=cifar10_mlp does not exist",
        "cifar10_mlp/as_published, cifar10_mlp/controlled",
    ),
    "unknown arm": (
        "arm=cifar10_mlp/dorra",
        "arm=cifar10_mlp/dorra does not exist; allowed: cifar10_mlp/dora, ",
        "did you mean cifar10_mlp/dora?",
    ),
    "unknown launcher": ("hydra/launcher=pack", "hydra/launcher=pack", "packed"),
    "unknown hardware": ("hardware=tpu", "hardware=tpu", "auto, cpu, gpu"),
    "no strategy": ("adapter=null", "adapter=null should be the name of a choice", "lora"),
    "empty group": ("dataset=", "dataset=", "cifar10, cola,"),
    "unknown source": ("base.source=digit", "base.source=digit", "mnist", "did you mean digits?"),
    "source without files": ("base.source=image_folder", "base.source=image_folder", "loader.path"),
    "unknown class": ("adapter._target_=adapterlab.adapters.LoRAA", "LoRAA cannot be imported"),
    # values of another type or outside their domain
    "text for a count": ("epochs=many", "epochs='many'", "integer"),
    "fraction for a count": ("epochs=1.5", "epochs=1.5", "integer"),
    "no epochs": ("epochs=0", "epochs=0", "greater than or equal to 1"),
    "text for a rate": ("optimizer.lr=fast", "optimizer.lr='fast'", "number"),
    "negative rate": ("optimizer.lr=-1", "optimizer.lr=-1", "greater than 0"),
    "rate that is no number": ("optimizer.lr=nan", "optimizer.lr=nan", "finite"),
    "rate of the base": ("base.optimizer.lr=0", "base.optimizer.lr=0", "greater than 0"),
    "one beta": ("optimizer.betas=[0.9]", "optimizer.betas=[0.9]", "at least 2 items"),
    "beta of 1": ("optimizer.betas=[0.9,1]", "optimizer.betas.1=1", "less than 1"),
    "unknown schedule": ("optimizer.schedule=step", "'step'", "'cosine'", "'plateau'"),
    "unknown optimizer": ("optimizer._target_=torch.optim.Lion", "Lion cannot be imported"),
    "unknown kind of base": ("base.kind=own", "base.kind='own'", "'checkpoint'", "'scratch'"),
    "unknown metric": ("select_on=f1", "select_on='f1'", "'macro_f1'", "or 'f1/CLASS' of a class"),
    "text for yes or no": ("resume=maybe", "resume='maybe'", "boolean"),
    "negative seed": ("seed=-1", "seed=-1", "greater than or equal to 0"),
    "rank below 1": ("adapter.rank=0", "adapter.rank=0", "1 or more", "adapter=head"),
    "negative rank": ("adapter=dora adapter.rank=-2", "adapter.rank=-2", "1 or more"),
    "rank below 1 by pattern": ("adapter.rank_pattern={layers.0:0}", "rank=0", "1 or more"),
    "text for a rank": ("adapter.rank=two", "adapter.rank='two'", "integer"),
    "no rank": ("adapter.rank=", "adapter.rank=''", "integer"),
    "alpha of 0": ("adapter.alpha=0", "adapter.alpha=0", "above 0"),
    "dropout of 1": ("adapter.dropout=1", "adapter.dropout=1", "below 1"),
    "unknown scaling": ("adapter.scaling=sqrt", "'sqrt'", "'alpha_over_sqrt_rank'"),
    "no targets": ("adapter.targets=null", "adapter.targets=None", "string"),
    "unknown precision": ("hardware.precision=fp8", "'fp8'", "'bf16-mixed'"),
    "limit of no split": (
        "limit={dev:5}",
        "limit.dev='dev'",
        "'train', 'validation' or 'test'",
    ),
    "limit of a split below 1": ("limit={test:0}", "limit.test=0", "greater than or equal to 1"),
    "limit of nothing": ("limit={}", "limit={}", "at least 1 item"),
    "limit below 1": ("limit=0", "limit=0", "greater than or equal to 1"),
    "text for a limit": ("limit=few", "limit='few'", "a number of examples"),
    "misspelt option of a part": (
        "adapter=combined adapter.parts.lora.rnak=4",
        "adapter.parts.lora.rnak is not an option",
        "did you mean rank?",
    ),
    "rank of a part below 1": (
        "adapter=combined adapter.parts.lora.rank=0",
        "adapter.parts.lora.rank=0 must be 1 or more",
    ),
    "ranks of a part left open": (
        "adapter=combined adapter.parts.lora.rank=auto budget=3000",
        "adapter.parts.lora.rank=auto: ranks are given out to a strategy by itself",
    ),
    "text for a rank of a part": (
        "adapter=combined adapter.parts.lora.rank=two",
        "adapter.parts.lora.rank='two'",
        "integer",
    ),
    "part that is no node": (
        "adapter=combined adapter.parts.lora=5",
        "adapter.parts.lora=5 should be a node with _target_, or null",
    ),
    "parts that are none": (
        "adapter=combined adapter.parts.lora=null adapter.dial_of=null",
        "adapter.parts is empty",
    ),
    "unknown strategy of a part": (
        "adapter=combined adapter@adapter.parts.lora=dorra",
        "dorra does not exist",
        "did you mean dora?",
    ),
    "code of a part that is not trusted": (
        "adapter=combined adapter.parts.lora._target_=os.system",
        "adapter.parts.lora._target_=os.system is not run: a strategy is named from",
        "allow_targets",
    ),
    "head of a part": (
        "adapter=combined adapter.parts.lora.head=freeze",
        "adapter.parts.lora.head=freeze and adapter.head=train: it is said once, for the whole",
    ),
    "parts that meet": (
        "adapter=combined adapter@adapter.parts.full=full",
        "adapter.parts: layers.0 is in full and in lora; leave it out of one of them",
    ),
    "budget of nobody's": (
        "adapter=combined adapter.dial_of=null budget=3000",
        "adapter.dial_of names no part",
        "allowed: lora",
    ),
    "also trained, one pattern that is no list": ("adapter.also_train=layers", "also_train"),
    "also trained, but matches nothing": (
        "adapter.also_train=[query]",
        "adapter.also_train: 'query' matches no parameter",
        "parameters: layers.0.weight",
    ),
    "also trained, but has an adapter": (
        "adapter.also_train=['*']",
        "adapter.also_train: layers.0.weight is in a layer that has an adapter",
    ),
    "also trained, but is the head": (
        "adapter.also_train=[head]",
        "adapter.also_train: 'head' is the head",
        "adapter.head=train",
    ),
    "also trained, but all left out": (
        "adapter.also_train=['*','!layers.*']",
        "leaves no parameter to train",
    ),
    "too many absent classes": (
        "dataset=emotion model=bert_tiny +dataset.loader.absent_classes=5",
        "dataset.loader.absent_classes=5 of 6 dataset.classes",
        "allowed: 0 to 4",
    ),
    "no threads": ("hardware.threads=0", "hardware.threads=0", "1"),
    "width of 0": ("model.widths=[0]", "model.widths=[0]", "1 or more"),
    "unknown activation": ("model.activation=swish", "'swish'", "'gelu'"),
    "shape of two": (
        "dataset.shape=[1,8]",
        "dataset.shape=[1, 8]",
        "should be [channels, height",
    ),
    "standard deviation of 0": ("dataset.std=[0]", "dataset.std.0=0", "greater than 0"),
    "study that no folder can be called": (f"study={'a' * 201}", "study='aaa", "200 characters"),
    "label that no folder can be called": (
        f"adapter.label={'a' * 200}",
        "the run would be called digits_rotated-mlp-aaa",
        "may have 200: shorten",
    ),
    "study that is a path": ("study=../mine", "study='../mine'", "letters, digits"),
    "data set named by a path": ("dataset.name=a/b", "dataset.name='a/b'", "letters, digits"),
    # options that do not fit together
    "target that matches nothing": (
        "adapter.targets=[query]",
        "adapter.targets: 'query' matches no layer",
        "layers.0",
    ),
    "target that is the head": ("adapter.targets=[head]", "'head' is the head", "head=adapt"),
    "pattern that matches nothing": (
        "adapter.rank_pattern={layers.9:4}",
        "adapter.rank_pattern: 'layers.9'",
        "layers.0",
    ),
    "too many last layers": (
        "adapter=last_layers adapter.n=3",
        "adapter.n=3 is more than the 1 layer before the head",
        "layers.0",
    ),
    "head that full cannot adapt": (
        "adapter=full adapter.head=adapt",
        "adapter.head=adapt",
        "allowed: train, freeze",
    ),
    "classes that do not fit the head": (
        "base.head=keep dataset.classes=[a,b,c]",
        "base.head=keep",
        "10 classes",
        "digits_rotated 3",
        "allowed: new, auto",
    ),
    "plateau with warm-up": (
        "optimizer.schedule=plateau optimizer.warmup=0.1",
        "optimizer.warmup=0.1",
        "schedule=plateau",
        "cosine or linear",
    ),
    "plateau with warm-up in the base": (
        "base.optimizer.schedule=plateau base.optimizer.warmup=0.1",
        "base.optimizer.warmup=0.1",
    ),
    "a floor without a fall": (
        "optimizer.floor=0.1",
        "optimizer.floor=0.1",
        "schedule=constant",
        "cosine, linear or plateau",
    ),
    "a peak held without a fall": (
        "base.optimizer.hold=0.5 base.optimizer.schedule=plateau",
        "base.optimizer.hold=0.5",
        "cosine or linear",
    ),
    "rates that rise from the head down": ("optimizer.layer_decay=1.1", "layer_decay=1.1", "1"),
    "nesterov without momentum": (
        "optimizer=sgd optimizer.nesterov=true",
        "optimizer.nesterov=true",
        "optimizer.momentum above 0",
    ),
    "half precision on a CPU": (
        "hardware=cpu hardware.precision=16-mixed",
        "16-mixed",
        "bf16-mixed",
    ),
    "data set that names no source": (
        "dataset=image_folder dataset.loader.path=pictures",
        "base.source=NAME",
        "base=scratch",
    ),
    # what must be said and is not
    "folder of images": (
        "dataset=image_folder base=scratch",
        "dataset.loader.path is missing",
        "set dataset.loader.path=...",
    ),
    "checkpoint": ("base=checkpoint", "base.path is missing", "set base.path=..."),
    # overrides that Hydra cannot read
    "no value": ("epochs", "epochs is not of the form option=value"),
    "open bracket": ("foo=[", "foo=[ is not of the form option=value"),
    "several values without -m": ("adapter.rank=4,8", "'adapter.rank=4,8'", "--multirun"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(mistake: str, run_cli: RunCli, tmp_path: Path) -> None:
    overrides, *parts = MISTAKES[mistake]
    outcome = run_cli(*overrides.split(" "))
    for part in parts:
        assert part in outcome.error
    assert outcome.out == ""
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "mlruns"] == []


@pytest.mark.parametrize("arguments", [("plan=true",), ("-m", "seed=0,1")], ids=["plan", "sweep"])
def test_a_mistake_is_the_same_in_a_plan_and_in_a_sweep(
    arguments: tuple[str, ...], run_cli: RunCli
) -> None:
    assert "adapter.rank=0 must be 1 or more" in run_cli(*arguments, "adapter.rank=0").error


def test_a_sweep_stops_at_the_first_run_that_is_wrong(run_cli: RunCli) -> None:
    assert "adapter.rank=0" in run_cli("-m", "adapter.rank=0,-1").error


@pytest.mark.parametrize(
    ("program", "arguments", "parts"),
    [
        (cli.evaluate, ["run=nowhere", "split=dev"], ["split='dev'", "'validation'"]),
        (cli.evaluate, [], ["run is missing"]),
        (cli.evaluate, ["run=x", "runn=y"], ["runn is not an option", "mean run?"]),
        (cli.report, [], ["study is missing"]),
        (cli.report, ["study=none"], ["study=none", "no store of runs"]),
        (cli.report, ["study=3"], ["study=3", "string"]),
    ],
)
def test_the_other_programs_say_it_in_one_line_too(
    program: Callable[[], None], arguments: list[str], parts: list[str], run_cli: RunCli
) -> None:
    outcome = run_cli(*arguments, program=program)
    for part in parts:
        assert part in outcome.error


def test_a_run_that_does_not_exist(run_cli: RunCli, tmp_path: Path) -> None:
    assert "neither a run folder nor" in run_cli("run=0123abcd", program=cli.evaluate).error
    (tmp_path / "empty").mkdir()
    outcome = run_cli(f"run={tmp_path / 'empty'}", program=cli.evaluate)
    assert "no finished run in this folder" in outcome.error


def test_a_mistake_in_python_is_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs=0"):
        compose(tmp_path, "epochs=0")
