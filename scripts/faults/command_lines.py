"""Command lines that are right, and what makes them wrong: values, names, quotes, encodings."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faults.trying import TINY, command


@dataclass(frozen=True)
class Line:
    """A command line: the script, and what follows it."""

    script: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        # A person does it again by pasting the tuple: a shell cannot quote all that is tried.
        written = ascii(self.arguments)
        return f"{self.script} {written if len(written) <= 400 else written[:397] + '...'}"


TEXTS = "dataset=text_files dataset.loader.path=texts model=bert_tiny hardware=cpu tracking=none"
BATCH = "dataset=digits tracking=none hardware=cpu limit=64"

TRAIN = (
    f"{BATCH} adapter=lora adapter.rank=4 adapter.alpha=8 base=scratch seed=3 epochs=2",
    f"{BATCH} adapter=dora adapter.targets=[layers.0] adapter.init=gaussian base=scratch",
    f"{BATCH} adapter=last_layers adapter.n=1 optimizer=sgd optimizer.momentum=0.9 batch_size=16",
    f"{BATCH} adapter=full optimizer=adam optimizer.betas=[0.9,0.99] optimizer.lr=1e-3",
    f"{BATCH} adapter=bitfit model.widths=[64,32] model.dropout=0.1 model.activation=gelu",
    f"{BATCH} adapter=head early_stopping=2 select_on=macro_f1 label_smoothing=0.1 margin=0.3",
    f"{BATCH} adapter=lora budget=2% adapter.layers=all adapter.scaling=alpha",
    f"{BATCH} adapter=lora adapter.rank_pattern={{layers.0:2}} adapter.also_train=[] budget=null",
    f"{BATCH} dataset.shape=[1,16,16] dataset.crop=1 dataset.flip=true dataset.validation=0.3",
    f"{BATCH} dataset.mean=[0.4] dataset.std=[0.6] dataset.validation_seed=2 init_seed=4",
    f"{BATCH} hardware.threads=1 hardware.workers=0 hardware.precision=64-true",
    f"{BATCH} hardware.compile=false hardware.prefix_gib=1 hardware.device=0 order_seed=1",
    f"{BATCH} base=trained base.source=digits_rotated base.epochs=1 base.batch_size=32 base.seed=1",
    f"{BATCH} base=checkpoint base.path=weights.pt base.head=auto",
    f"{BATCH} study=mine resume=true report=false pack=never fast_dev_run=true plan=false",
    f"{BATCH} plan=true adapter=dora adapter.rank=2",
    "dataset=image_folder dataset.loader.path=images base=scratch tracking=none hardware=cpu",
    f"{TEXTS} model.hidden_size=32 model.num_layers=2 model.num_heads=2 model.max_tokens=64 "
    "dataset.max_length=64",
    f"{TEXTS} model.vocab_size=200 dataset.loader.text_column=text dataset.pad_to_max=true",
    f"{TEXTS} adapter=lora adapter.targets=[query,value] optimizer.warmup=0.1 batch_size=4",
)

SWEEPS = (
    f"-m {BATCH} base=scratch adapter=lora,head seed=0,1",
    f"-m {BATCH} base=scratch hydra/launcher=packed adapter.rank=1,2 hydra.launcher.processes=1 "
    "hydra.launcher.memory_gib=1",
    f"-m {BATCH} base=scratch hydra/sweeper=tuned "
    "hydra.sweeper.arms=['adapter=lora','adapter=head'] "
    "hydra.sweeper.tune={optimizer.lr:[1e-3,1e-2]} hydra.sweeper.seeds=[0,1] "
    "hydra.sweeper.tuning_seeds=[1000]",
    f"-m {BATCH} base=scratch hydra/sweeper=sequential adapter=lora,head hydra.sweeper.looks=[3,4] "
    "hydra.sweeper.level=0.05 hydra.sweeper.margin=1 hydra.sweeper.spending=pocock "
    "hydra.sweeper.max_seeds=4",
    f"-m {BATCH} base=scratch hydra/sweeper=sequential "
    "hydra.sweeper.arms=['adapter=lora','adapter=head'] hydra/launcher=packed",
    f"-m {BATCH} base=scratch hydra/sweeper=union "
    "hydra.sweeper.sweeps=['init_seed=0,1','order_seed=1,2']",
    f"-m {BATCH} base=scratch hydra/sweeper=optuna hydra.sweeper.n_trials=2 "
    "hydra.sweeper.n_jobs=1 optimizer.lr=interval(0.001,0.1) hydra.sweeper.direction=maximize "
    "hydra.sweeper.sampler.seed=1",
    f"-m {BATCH} base=scratch hydra/launcher=joblib hydra.launcher.n_jobs=1 adapter=lora,head",
    f"-m {BATCH} base=scratch hydra.sweeper.max_batch_size=2 seed=range(3) plan=true",
    "-m experiment=demo tracking=none hardware=cpu epochs=1",
)

OTHERS = (
    "report study=mine",
    "report study=mine reference=head compare_on=macro_f1 margin=0.5",
    "report study=mine reference=bitfit planned=true experiment=adapterlab",
    "selfcheck study=mine arms=2 runs=3 studies=5 seed=1",
    "selfcheck study=mine arm=head arms=2 runs=3 studies=5 compare_on=accuracy",
    "evaluate run=RUN split=test hardware=cpu hardware.threads=1",
    "evaluate run=RUN split=validation tracking_uri=null",
    "export run=RUN to=out examples=16 tolerance=1e-4 hardware=cpu",
    "export run=RUN to=out2 overwrite=true",
    "results --no-train --only mnist_to_fashion/tuned --page page.md",
)

NUMBERS = (
    *("0", "-1", "-0.0", "nan", "inf", "-inf", "1e400", "1e308", "1e-400", "0.5", "1.0", "1e18"),
    *("1000000000", "10000000", "999999999999", "9223372036854775807", "18446744073709551616"),
    *("1" + "0" * 30, "1" + "0" * 400, "9" * 5000, "0x10", "1_000", "00", "1e3", "-1e9", "٣"),
)

TYPES = (
    *("null", "true", "no", "''", "[]", "{}", "[1]", "[1,2,3]", "[[1]]", "[null]", "{a:1}"),
    *("[a,b]", "{a:{b:1}}", "text", "'1'", "[1,a]", "{1:2}", "[1e400]", "[nan]", "a:b", "[{}]"),
    *("[100000000]", "[1,100000,100000]", "[-1]", "[0,0]", "{train:1e18}", "{test:-1}", "1,2"),
)

TEXTS_THAT_ARE_ODD = (
    *("", " ", "\x00", "a\x00b", "\udcff", "a\udc80b", "🦊", "é", "e\u0301", "\u202eabc", "a\nb"),
    *("\t", "\x1b[31mred", "a\\b", "a;b", "a|b", "$HOME", "`id`", "a b", "../..", "/", "/dev/null"),
    *(
        "x" * 10_000,
        "🦊" * 2_500,
        "[" * 1_000,
        "{" * 200,
        "a" * 300,
        "~",
        "~/x",
        "-",
        "--",
        "=",
        "#",
    ),
)

INTERPOLATIONS = (
    *("${nope}", "${seed}", "${adapter.rank}", "${oc.env:NOPE}", "${oc.env:}", "${", "${}", "$"),
    *("${oc.env:HOME}", "${oc.create:{}}", "${now:%Y}", "${hydra:job.name}", "${..seed}", "${.}"),
    *("${default_root:1}", "${source_dataset:nope}", "${oc.select:a,b}", "${oc.decode:'['}"),
    *("${epochs}", "${study}", "${hydra:runtime.cwd}", "${nope:x}", "???", "${optimizer}"),
)

QUOTES = ("'{}", "{}'", '"{}', "[{}", "{}]", "{{{}", "{}}}", "'{}\"", "\\{}", "({}", "{})", "{},")

FLAGS = (
    *("--nope", "-z", "--cfg", "--cfg=nope", "--info=nope", "--config-name=nope", "--resolve"),
    *("--config-path=nope", "--config-dir=nope", "--package=nope", "-m", "--run", "--multirun=3"),
    *("--experimental-rerun=nope", "--shell-completion", "--config-name=report", "-p", "-c", "job"),
    *("--config-name=", "--config-dir=images", "--info=defaults", "-c=job", "--hydra-hel", "-h=1"),
)

STRANGERS = (
    *("+x=1", "++x=1", "~x", "~seed=9", "+seed=1", "~seed", "hydra.x=1", "+hydra.x=1", "hydra=1"),
    *("hydra/launcher=nope", "hydra/sweeper=nope", "hydra/sweeper=null", "hydra/launcher=null"),
    *("hydra.run.dir=/dev/null/x", "hydra.sweep.dir=", "hydra.job.name=1", "hydra.verbose=x"),
    *("hydra.mode=x", "hydra.mode=MULTIRUN", "hydra.output_subdir=x", "hydra.job.chdir=x"),
    *("+hydra.job.env_set.A=1", "hydra.callbacks=null", "hydra.callbacks.study=null", "root=null"),
    *("hydra.launcher.processes=0", "hydra.launcher.processes=-1", "hydra.launcher.memory_gib=nan"),
    *("hydra.launcher.memory_gib=0", "hydra.launcher.memory_gib=many", "hydra.launcher=null"),
    *("hydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size=-1", "hydra.sweeper=null"),
    *("hydra.sweeper.seeds=['1']", "hydra.sweeper.seeds=[-1]", "hydra.sweeper.tuning_seeds=[]"),
    *("hydra.sweeper.arms=['adapter=lora','adapter=lora']", "hydra.sweeper.looks=[3,3]"),
    *("hydra.sweeper.params=null", "+hydra.sweeper.params={seed:'0,1'}", "hydra.sweeper.params=1"),
    *("hydra.searchpath=[nope]", "hydra.searchpath=1", "hydra.help=null", "hydra.job_logging=1"),
    *(
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=nope.Nope",
        "adapter._target_=x",
    ),
    *("model._target_=1", "dataset.loader=null", "dataset.loader._target_=", "optimizer.name=null"),
    *("adapter.name=null", "model.name=a/b", "dataset.classes=[]", "dataset.classes=[a]"),
    *("arm=nope", "arm=null", "experiment=null", "experiment=[demo]", "experiment=[demo,demo]"),
    *("dataset=[digits,mnist]", "adapter=[lora]", "base=null", "tracking=null", "hardware=null"),
    *("base@x=scratch", "adapter@model=lora", "model=lora", "adapter=mlp", "optimizer=cpu"),
    *("tracking.uri=nope://x", "tracking.uri=''", "tracking.experiment=''", "tracking.uri=file:x"),
)


def made(folder: Path) -> Path:
    """Make a root with what `TRAIN` and `OTHERS` name: data sets, weights, a study of 6 runs."""
    import torch
    from PIL import Image

    from adapterlab.models import MLP

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts").mkdir()
    for split, count in (("train", 24), ("test", 8)):
        rows = [f"{'good' if n % 2 else 'bad'} text number {n},{n % 2}" for n in range(count)]
        (folder / "texts" / f"{split}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
        for label in ("dark", "light"):
            place = folder / "images" / split / label
            place.mkdir(parents=True)
            for n in range(count // 2):
                shade = n + (200 if label == "light" else 0)
                Image.new("L", (8, 8), shade).save(place / f"{n}.png")
    torch.save(MLP((1, 8, 8), 10).state_dict(), folder / "weights.pt")
    (folder / "page.md").write_text("no markers\n")
    return folder


def with_a_study(root: Path) -> Path:
    """Train the study `mine` in a root, and return the folder of one of its runs."""
    own = [option for option in TINY if not option.startswith("base.")]
    sweep = ("adapter=head,bitfit", "seed=range(6)", "base=scratch", "study=mine", "report=false")
    done = command(root, "-m", "hydra/launcher=packed", *own, *sweep)
    assert done.code == 0, done.err
    return min((root / "mlruns" / "runs" / "mine").iterdir())


def lines(run: Path | None) -> list[Line]:
    """Return command lines that are right; those of saved runs only where there is one."""
    found = [Line("train", tuple(_split(text))) for text in (*TRAIN, *SWEEPS)]
    if run is not None:
        for text in OTHERS:
            script, *arguments = _split(text)
            found.append(Line(script, tuple(a.replace("=RUN", f"={run}") for a in arguments)))
    return found


def _split(text: str) -> list[str]:
    return [part for part in text.split(" ") if part]


Mutate = Callable[[random.Random, list[str]], None]


def _value(values: Sequence[str]) -> Mutate:
    def mutate(rng: random.Random, arguments: list[str]) -> None:
        place = _an_option(rng, arguments)
        key = arguments[place].partition("=")[0]
        arguments[place] = f"{key}={rng.choice(values)}"

    return mutate


def _quoting(rng: random.Random, arguments: list[str]) -> None:
    place = _an_option(rng, arguments)
    key, _, value = arguments[place].partition("=")
    arguments[place] = f"{key}={rng.choice(QUOTES).format(value)}"


def _key(rng: random.Random, arguments: list[str]) -> None:
    place = _an_option(rng, arguments)
    key, _, value = arguments[place].partition("=")
    cut = rng.randrange(len(key))
    arguments[place] = rng.choice(
        [
            f"{key[:cut]}{key[cut + 1 :]}={value}",
            f"{key}.x={value}",
            f"{key.upper()}={value}",
            f"{key}.0={value}",
            f"{rng.choice(['+', '++', '~', '-', '@', '/', '.', ' '])}{key}={value}",
            f"{key}@x={value}",
            f"{key}",
            f"={value}",
            f"{key}=={value}",
            f"{key}[0]={value}",
            f"{rng.choice(TEXTS_THAT_ARE_ODD)}={value}",
        ]
    )


def _missing(rng: random.Random, arguments: list[str]) -> None:
    if rng.random() < 0.5:
        del arguments[_an_option(rng, arguments)]
    else:
        key = arguments[_an_option(rng, arguments)].partition("=")[0]
        arguments.append(f"~{key}")


def _twice(rng: random.Random, arguments: list[str]) -> None:
    place = _an_option(rng, arguments)
    key, _, value = arguments[place].partition("=")
    arguments.append(f"{key}={rng.choice([value, *NUMBERS, *TYPES])}")


def _flag(rng: random.Random, arguments: list[str]) -> None:
    arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(FLAGS))


def _stranger(rng: random.Random, arguments: list[str]) -> None:
    arguments.append(rng.choice(STRANGERS))


def _argument(rng: random.Random, arguments: list[str]) -> None:
    arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(TEXTS_THAT_ARE_ODD))


MUTATIONS: dict[str, Mutate] = {
    "a number out of any range": _value(NUMBERS),
    "a value of another type or size": _value(TYPES),
    "an odd text: NUL, no UTF-8, emoji, 10 kB, control characters": _value(TEXTS_THAT_ARE_ODD),
    "an interpolation": _value(INTERPOLATIONS),
    "quotes and brackets that do not close": _quoting,
    "a key that is wrong": _key,
    "an option left out or removed": _missing,
    "an option twice": _twice,
    "a flag that is wrong or misplaced": _flag,
    "an option of Hydra's, or from elsewhere": _stranger,
    "an argument that is no option": _argument,
}


def mutated(rng: random.Random, line: Line, mutation: str) -> Line:
    """Return a line with one thing wrong, or, one time in five, with two."""
    arguments = list(line.arguments)
    for _ in range(2 if rng.random() < 0.2 else 1):
        MUTATIONS[mutation](rng, arguments)
    return replace(line, arguments=tuple(arguments))


def _an_option(rng: random.Random, arguments: list[str]) -> int:
    options = [place for place, text in enumerate(arguments) if "=" in text]
    if not options:
        arguments.append("x=1")
        return len(arguments) - 1
    return rng.choice(options)
