"""What planning takes for a study of a cluster's size, and how long its tasks would then take.

    python scripts/simulations/cluster.py                                  # a minute on one core
    python scripts/simulations/cluster.py --arms 4 --rates 5 --seeds 20 --nodes 50

The runs are configurations as a sweep's are (four methods of several ranks, learning rates,
seeds), planned by `plan_packs` for the memory of a node, as large as fits, and once more split for
that many nodes (`hydra.launcher.nodes`). Their tasks then go to nodes in order,
each to the node that is free first; a share of them loses its node halfway, and goes on there
once more. What a task takes is a model, not a measurement: a start, and for the lanes
`ALONE * n ** GROWTH` seconds. The planner's own seconds and memory are measured.
"""

import argparse
import heapq
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import hydra
import numpy as np
from rich.console import Console
from rich.table import Table

from adapterlab.app.script_options import Parser, at_least, positive, several, share
from adapterlab.config.conf_folder import CONF
from adapterlab.config.hydra_versions import composing
from adapterlab.config.parsing import parse
from adapterlab.config.schema import Config
from adapterlab.studies.planning.packing import PlannedPack, plan_packs

ALONE, GROWTH = 60.0, 0.75
"""Seconds of training of a run, and the power of its number by which lanes of a pack add to that:
8 lanes take 4.8 times as long as one, 32 take 13.5 times."""

START = 30.0
"""Seconds of a task before its training: waiting, imports, reading data."""


class Spent(NamedTuple):
    """What a study takes on a cluster, in seconds, by the model above."""

    makespan: float
    busy: float
    alone: float
    lost: int


METHODS = ("lora", "dora", "lora_fa", "lora_xs")


def _ranked(adapter: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Return a strategy of the rank of so many steps from 1."""
    return {**adapter, "rank": 2**step}


def study(arms: int, rates: int, seeds: int) -> list[Config]:
    """Return the runs of a sweep over so many arms, learning rates and seeds."""
    with composing(CONF, job_name="train"):
        methods = [
            parse(hydra.compose("train", ["dataset=digits_rotated", f"adapter={name}", "study=s"]))
            for name in METHODS[:arms]
        ]
    made = []
    for arm, rate, seed in product(range(arms), range(rates), range(seeds)):
        config = methods[arm % len(methods)]
        made.append(
            replace(
                config,
                adapter=_ranked(config.adapter, arm // len(methods)),
                optimizer=replace(config.optimizer, lr=1e-4 * 1.5**rate),
                seed=seed,
                init_seed=seed,
                order_seed=seed,
            )
        )
    return made


def carried_out(
    packs: Sequence[PlannedPack], nodes: int, lost: float, rng: np.random.Generator
) -> Spent:
    """Give tasks to nodes, each to that which is free first.

    Args:
        packs: the tasks, in their order.
        nodes: that carry out one task each.
        lost: share of tasks that lose their node halfway.
        rng: says which.
    """
    free = [0.0] * min(nodes, len(packs))
    ends, busy, struck = 0.0, 0.0, 0
    for pack in packs:
        seconds = START + ALONE * len(pack.jobs) ** GROWTH
        if rng.random() < lost:
            # Half of it again, as epochs are kept, after another start.
            seconds, struck = seconds + START, struck + 1
        end = heapq.heappop(free) + seconds
        heapq.heappush(free, end)
        ends, busy = max(ends, end), busy + seconds
    return Spent(ends, busy, sum(len(p.jobs) for p in packs) * (START + ALONE), struck)


def main() -> None:
    """Plan, carry out in thought, and print both."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--arms", type=at_least(1), default=20)
    parser.add_argument("--rates", type=at_least(1), default=10)
    parser.add_argument("--seeds", type=at_least(1), default=50)
    parser.add_argument(
        "--nodes", default=(1, 50, 500), type=several(1), help="several, with commas between them"
    )
    parser.add_argument("--memory-gib", type=positive, default=16.0, help="of a node's task")
    parser.add_argument("--lost", type=share, default=0.02, help="share of tasks that lose a node")
    asked = parser.parse_args()
    configs = study(asked.arms, asked.rates, asked.seeds)
    before, console = _peak_mib(), Console(width=120)
    table = Table("nodes", "hydra.launcher.nodes", "tasks", "runs of each")
    for column in ("makespan", "nodes busy", "over one run after another", "lost nodes"):
        table.add_column(column)
    for nodes, said in dict.fromkeys((count, said) for count in asked.nodes for said in (1, count)):
        begun = time.process_time()
        packs = plan_packs(configs, [None] * len(configs), 0.8 * asked.memory_gib, nodes=said)
        seconds, lanes = time.process_time() - begun, [len(pack.jobs) for pack in packs]
        console.print(
            f"{len(configs):,} runs planned for {said} nodes in {seconds:.1f} s of one core, "
            f"{_peak_mib():,.0f} MiB at most ({before:,.0f} before)"
        )
        spent = carried_out(packs, nodes, asked.lost, np.random.default_rng(0))
        table.add_row(
            f"{nodes:,}",
            "" if said == 1 else str(said),
            f"{len(packs):,}",
            f"{min(lanes)} to {max(lanes)}",
            f"{spent.makespan / 3600:.2f} h",
            f"{spent.busy / spent.makespan / nodes:.0%}",
            f"{spent.busy / spent.alone:.2f} of the node hours",
            str(spent.lost),
        )
    console.print(table)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
