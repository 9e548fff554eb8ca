"""Packs: over Hydra's own launcher, over `import torch`, over the arithmetic that they need."""

import functools
from collections.abc import Mapping, Sequence

from benching.rows import Clock, Quantity, Race, Row, Side, Turn, slope, training, whole
from benching.setting import Setting
from benching.themes.alone import OURS as ALONE
from benching.themes.alone import images, ready

TORCH = "import torch"
EIGHT, BASIC, MANY, TWO = "8 lanes", "8 runs, Hydra's launcher", "32 lanes", "32 lanes, 2 processes"
ONE_RATE, RATES = "16 lanes, one rate", "16 lanes, 8 rates"
FEW_TINY, MANY_TINY = "8 tiny runs", "40 tiny runs"
PRODUCTS = "matrix products"

RANKS = (1, 4, 8, 16)
GRID = ("adapter.rank=1,4,8,16", "adapter.alpha=1,2", "adapter.scaling=alpha")
PACKED = ("-m", "hydra/launcher=packed", "hydra.launcher.processes=1")
EIGHT_RATES = "optimizer.lr=1e-4,2e-4,5e-4,1e-3,2e-3,3e-3,5e-3,1e-2"
TINY = ("dataset=digits", "adapter=lora", "epochs=1", "limit=64", "order_seed=0")
WIDTH, CLASSES, BATCH = 128, 10, 64


def seeds(count: int) -> str:
    """Return the option by which a sweep has so many runs that differ in their first values."""
    return "init_seed=" + ",".join(map(str, range(count)))


def _sides(setting: Setting) -> Mapping[str, Side]:
    task = ready(setting)
    own = ("adapter=lora", *images(setting), "epochs=1")
    train = functools.partial(setting.train, "images", *own)
    same = ("order_seed=0", "adapter.rank=8", *PACKED)
    return {
        EIGHT: lambda: train(*GRID, *PACKED, "study=eight"),
        BASIC: lambda: train("-m", "hydra/launcher=basic", *GRID, "study=basic"),
        MANY: lambda: train(*GRID, "seed=0,1,2,3", *PACKED, "study=many"),
        TWO: lambda: train(
            *GRID, "seed=0,1,2,3", *PACKED, "hydra.launcher.processes=2", "study=two"
        ),
        ONE_RATE: lambda: train(seeds(16), *same, "study=one_rate"),
        RATES: lambda: train("init_seed=0,1", EIGHT_RATES, *same, "study=rates"),
        ALONE: lambda: train("adapter.rank=8", "study=one"),
        PRODUCTS: lambda: setting.program("products.py", task),
        TORCH: setting.import_torch,
    }


def _tiny(setting: Setting) -> Mapping[str, Side]:
    tiny = (*TINY, *setting.base("digits"))
    setting.once("tiny", lambda: setting.train("tiny", *tiny, "study=first"))

    return {
        FEW_TINY: lambda: setting.train("tiny", *tiny, *PACKED, seeds(8), "study=few"),
        MANY_TINY: lambda: setting.train("tiny", *tiny, *PACKED, seeds(40), "study=many"),
        TORCH: setting.import_torch,
    }


def operations(rows: float, validated: float, features: float, ranks: Sequence[int]) -> float:
    """Return the operations of an epoch's products, two for each multiplication, of a pack's lanes.

    The frozen product x Wᵀ counts once for all lanes, which share their rows. Each lane's own are
    A x and B (A x); in training also their gradients, to B, to A x and to A, and none to x; the
    head forwards, and in training to its weights and to what it reads.

    Args:
        rows: that are trained on.
        validated: rows of the validation split.
        features: of a row.
        ranks: of the lanes.
    """
    frozen = (rows + validated) * 2 * features * WIDTH
    own = 0.0
    for rank in ranks:
        forwards = 2 * rank * (features + WIDTH) + 2 * WIDTH * CLASSES
        backwards = 2 * rank * (features + 2 * WIDTH) + 2 * 2 * WIDTH * CLASSES
        own += (rows + validated) * forwards + rows * backwards
    return frozen + own


def _a_lane(words: str, side: str, lanes: int) -> Quantity:
    """Return the seconds that training takes for one of a pack's lanes."""
    return Quantity(words, (side,), lambda turn, clock: turn[side][f"training_{clock}"] / lanes)


def _floor(ranks: Sequence[int]) -> Quantity:
    """Return the seconds that a lane's products take at the machine's own rate."""

    def of(turn: Turn, clock: Clock) -> float:
        told = turn[PRODUCTS]
        count = operations(told["rows"], told["validated"], told["features"], ranks)
        return count / told["operations_a_second"] / len(ranks)

    return Quantity("its products at the rate of large ones", (PRODUCTS,), of)


RACES = [
    Race("lanes", "LoRA of ranks 1 to 16 on a 784-128-10 MLP, batch 64, 1 epoch", _sides),
    Race("tiny", "LoRA on 64 digits, 1 epoch", _tiny),
]

ROWS = [
    Row(
        "lanes_8",
        "8 LoRA lanes packed over Hydra's basic launcher",
        "lanes",
        whole(EIGHT),
        whole(BASIC),
        0.30,
        "The same eight runs, with all that each leaves.",
    ),
    Row("lanes_8_training", "The same, training only", "lanes", training(EIGHT), training(BASIC)),
    Row(
        "lanes_32",
        "32 LoRA lanes, 1 epoch, over `import torch`",
        "lanes",
        whole(MANY),
        whole(TORCH),
        10,
    ),
    Row(
        "lanes_32_two_cores",
        "32 lanes packed on two cores: wall over CPU seconds (0.5: both busy)",
        "lanes",
        Quantity(f"{TWO}: wall", (TWO,), lambda turn, _: turn[TWO]["wall"]),
        Quantity(f"{TWO}: CPU", (TWO,), lambda turn, _: turn[TWO]["cpu"]),
        0.62,
        "Says something on a machine that does nothing else.",
    ),
    Row(
        "lane_slope",
        "A lane beside its training (slope from 8 to 40 tiny runs) over `import torch`",
        "tiny",
        slope(MANY_TINY, FEW_TINY, 32),
        whole(TORCH),
        0.10,
        "A step on 64 rows is in it, MLflow, files and the linear model; pictures come later.",
    ),
    Row(
        "lanes_rates",
        "16 lanes at 8 learning rates over 16 lanes at one, training",
        "lanes",
        training(RATES),
        training(ONE_RATE),
        1.05,
        "Asked were 0.95 of the samples a second.",
    ),
    Row(
        "lane_floor",
        "Training of a lane of 32 over its arithmetic",
        "lanes",
        _a_lane(f"{MANY}: training of one", MANY, 32),
        _floor([rank for rank in RANKS for _ in range(8)]),
        4,
        "Frozen products counted once a pack; a rate of products of 1024 x 1024, in the same run.",
    ),
    Row(
        "lone_floor",
        "Training of a run alone over its arithmetic",
        "lanes",
        _a_lane(f"{ALONE}: training", ALONE, 1),
        _floor([8]),
    ),
]
