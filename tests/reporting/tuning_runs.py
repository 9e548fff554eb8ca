"""Runs of a tuned comparison that nobody ran, as a store would have them."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Logged:
    run_id: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    status: str = "finished"


def compared(
    arm: str,
    strategy: str,
    chosen: dict[str, str],
    *,
    trials: int = 6,
    grid: str = "a",
    name: str = "run",
    **more: str,
) -> Logged:
    """Make a run of the second stage; its learning rate is 0.01 unless that was tuned."""
    about = {"arm": arm, "key": arm, "grid": grid, "at": "2026", "trials": str(trials)}
    about |= {"study": "x-tuning", "seeds": "1"} | chosen
    tags = {f"tuned.{key}": value for key, value in about.items()}
    params = {"optimizer.lr": "0.01"} | chosen
    key = arm + "".join(chosen.values()) if "old" in name else arm
    return Logged(name, {"arm": key, "strategy": strategy, **tags, **more}, params)


def tuning_run(
    arm: str,
    value: object,
    score: float,
    *,
    seed: int = 1000,
    at: str = "2026",
    option: str = "optimizer.lr",
    status: str = "finished",
    error: str = "",
    metric: str = "accuracy",
    chosen: str = "",
) -> Logged:
    """Make a run of the first stage."""
    about = {"arm": arm, "key": arm, "grid": "a", "at": at, option: str(value)}
    about |= {"chosen": chosen} if chosen else {}
    tags = {f"trial.{key}": text for key, text in about.items()}
    tags |= {"seed": str(seed)} | ({"error": error} if error else {})
    metrics = {f"best/val_{metric}": score} if status == "finished" else {}
    return Logged(f"{arm}{value}{seed}", tags, {"select_on": metric}, metrics, status)
