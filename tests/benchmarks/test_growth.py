"""How cost grows: what one more took, a page of it, a store filled with others' runs."""

from pathlib import Path

from growing.axes import AXES, Axis
from growing.page import Grown, load, save, table, write
from growing.stores import fill
from PIL import Image

from adapterlab.tracking.client import connect

ABOUT = {"date": "2026-11-28", "commit": "c0ffee", "load": 0.5, "data": "digits"}
AXIS = Axis("lanes", "Lanes of a pack: tiny", "lane", (1, 2, 4), lambda setting, sizes: iter(()))
POINTS = [(1, {"CPU s": 5.0, "MiB": 500.0}), (2, {"CPU s": 5.25, "MiB": 501.0})]


def test_one_more_is_what_came_on_top() -> None:
    points = [*POINTS, (4, {"CPU s": 6.25, "MiB": 501.0})]
    rows = table(AXIS, Grown(**ABOUT, points=points)).splitlines()[2:]  # type: ignore[arg-type]
    assert rows[0] == "| lanes | CPU s | one more | MiB | one more |"
    assert rows[2:] == [
        "| 1 | 5 |  | 500 |  |",
        "| 2 | 5.25 | 250 ms | 501 | 1.02e+03 KiB |",
        "| 4 | 6.25 | 500 ms | 501 | 0 KiB |",
    ]


def test_what_is_kept_comes_back_and_is_written(tmp_path: Path) -> None:
    place, machine = tmp_path / "results" / "abc.json", {"cpu": "A CPU", "cores": 2}
    grown = Grown(**ABOUT, points=POINTS)  # type: ignore[arg-type]
    save(place, machine, {"lanes": grown})
    save(place, machine, {"store": Grown(**ABOUT, skipped="no disk")})  # type: ignore[arg-type]
    _, found = load(place)
    assert found["lanes"].points == [list(point) for point in POINTS]
    assert found["store"].skipped == "no disk"
    page = tmp_path / "growth.md"
    page.write_text("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    write(page, place.parent, tmp_path / "figures")
    text = page.read_text()
    assert "old" not in text
    assert "### A CPU, 2 cores" in text
    assert "| 2 | 5.25 | 250 ms |" in text
    assert "not measured: no disk." in text
    assert "![How cost grows](figures/growth_abc.png)" in text
    with Image.open(tmp_path / "figures" / "growth_abc.png") as picture:
        assert picture.width > 1000


def test_axes_are_named_once_and_grow() -> None:
    assert len({axis.name for axis in AXES}) == len(AXES)
    assert all(list(axis.sizes) == sorted(set(axis.sizes)) for axis in AXES)


def test_a_store_is_filled_with_runs_of_others(tmp_path: Path) -> None:
    client = connect(None, tmp_path)
    experiment = client.create_experiment("adapterlab")
    parent = client.create_run(experiment, tags={"study": "own", "kind": "study"}).info.run_id
    for seed in ("0", "1"):
        tags = {"study": "own", "mlflow.parentRunId": parent, "seed": seed}
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_param(run, "seed", seed)
        client.log_metric(run, "val/loss", 0.5, step=1)
        (tmp_path / "runs" / "own" / seed).mkdir(parents=True)
        (tmp_path / "runs" / "own" / seed / "result.json").write_text("{}")
    fill(tmp_path, "own", 7)
    runs = client.search_runs([experiment])
    assert len(runs) == 3 + 9
    assert len(client.search_runs([experiment], "tags.study = 'own'")) == 3
    others = [run for run in runs if run.data.tags["study"] != "own"]
    known = {run.info.run_id: run for run in runs}
    children = [run for run in others if "mlflow.parentRunId" in run.data.tags]
    assert len(children) == 6
    for run in children:
        above = known[run.data.tags["mlflow.parentRunId"]]
        assert above.data.tags["study"] == run.data.tags["study"]
        assert run.data.metrics == {"val/loss": 0.5}
        assert run.data.params == {"seed": run.data.tags["seed"]}
    assert len(list((tmp_path / "runs").rglob("result.json"))) == 2 + 6
    fill(tmp_path, "own", 7)
    assert len(client.search_runs([experiment])) == 12
