"""Rows of benchmarks: sides take turns, quantities come out of their samples, all of it is told."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import bench
import pytest
from benching.kept import Measured, load, measured
from benching.rows import Race, Row, memory, run_race, slope, training, whole
from benching.samples import SIDES, Living, Sample, SideError, process
from benching.setting import Setting
from benching.themes.lanes import operations

ABOUT = {"date": "2026-11-28", "commit": "c0ffee", "load": 0.5, "data": "digits"}


def _side(log: list[str], name: str, **values: float) -> object:
    def turn() -> Sample:
        log.append(name)
        return Sample({"wall": 1.0, "mib": 10.0, **values})

    return turn


def _run(folder: Path, code: str, **options: int) -> Sample:
    env = {**os.environ, "PYTHONPATH": str(SIDES)}
    return process([sys.executable, "-c", code], env=env, cwd=folder, **options)


def test_sides_take_turns_and_the_first_is_not_always_first(tmp_path: Path) -> None:
    log: list[str] = []
    sides = {name: _side(log, name, cpu=1.0) for name in "abc"}
    race = Race("r", "", lambda setting: sides)  # type: ignore[arg-type, return-value]
    turns = run_race(race, ("a", "b"), Setting(tmp_path, turns=3))
    assert log == ["a", "b", "b", "a", "a", "b"]
    assert [set(turn) for turn in turns] == [{"a", "b"}] * 3


def test_a_side_that_ends_early_is_named(tmp_path: Path) -> None:
    def ends() -> Sample:
        raise SideError("exit code 3: out of luck")

    race = Race("r", "", lambda setting: {"a": ends})
    with pytest.raises(SideError, match=r"^r: a: exit code 3: out of luck$"):
        run_race(race, ("a",), Setting(tmp_path))


def test_quantities() -> None:
    turn: Mapping[str, Sample] = {
        "few": Sample({"cpu": 3.0, "wall": 5.0, "mib": 70.0}),
        "many": Sample({"cpu": 11.0, "wall": 9.0, "mib": 90.0, "training_cpu": 2.0}),
    }
    assert whole("many").of(turn, "wall") == 9.0
    assert training("many").of(turn, "cpu") == 2.0
    assert memory("few").of(turn, "cpu") == memory("few").of(turn, "wall") == 70.0
    assert slope("many", "few", 32).of(turn, "cpu") == 8.0 / 32
    with pytest.raises(SideError, match="it told no training_cpu, but cpu, wall, mib"):
        training("few").of(turn, "cpu")


def test_operations_counted_by_hand() -> None:
    """Of one row of 3 features, 128 hidden ones, 10 classes and rank 2."""
    frozen = 2 * 3 * 128
    forwards = 2 * 3 * 2 + 2 * 2 * 128 + 2 * 128 * 10
    to_b, to_low, to_a = 2 * 128 * 2, 2 * 128 * 2, 2 * 2 * 3
    head = 2 * (2 * 128 * 10)  # to its weights, and to what it reads
    backwards = to_b + to_low + to_a + head
    assert operations(1, 0, 3, [2]) == frozen + forwards + backwards
    assert operations(0, 1, 3, [2]) == frozen + forwards
    assert operations(1, 0, 3, [2, 2]) == frozen + 2 * (forwards + backwards)


def test_a_process_is_measured_with_its_children(tmp_path: Path) -> None:
    """Memory is that of the largest, and none of the process that measures."""
    held = bytearray(150 * 2**20)
    small = _run(tmp_path, "pass")
    large = _run(
        tmp_path,
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-c', 'x = bytearray(120 * 2**20)'], check=True)",
    )
    assert 0 < small["mib"] < 100
    assert large["mib"] > 120
    assert len(held) > 0


def test_exit_codes(tmp_path: Path) -> None:
    with pytest.raises(SideError, match="exit code 3: this is why"):
        _run(tmp_path, "import sys; print('this is why'); sys.exit(3)")
    assert _run(tmp_path, "import sys; sys.exit(2)", allowed=2)["wall"] > 0


def test_what_a_process_tells_of_its_training(tmp_path: Path) -> None:
    code = (
        "import taken\n"
        "taken.begin()\n"
        "kept = bytearray(90 * 2**20); del kept\n"
        "for _ in range(2):\n"
        "    with taken.training(): sum(range(10**5))\n"
        "taken.tell(rows=7.0)\n"
    )
    told = _run(tmp_path, code)
    assert told["rows"] == 7.0
    assert 0 < told["training_cpu"] <= told["cpu"] + 0.02  # clocks of the kernel tick
    assert 0 < told["training_wall"] < told["wall"]
    assert "whole_mib" not in told.values
    if sys.platform == "linux":  # a peak that was forgotten is still the process's
        assert told["mib"] > 90
        assert told["training_mib"] < 90


def test_only_the_process_that_began_tells(tmp_path: Path) -> None:
    code = (
        "import taken, os\n"
        "taken.begin()\n"
        "taken.tell(mine=1.0)\n"
        "if os.fork() == 0:\n"
        "    taken.tell(theirs=1.0); os._exit(0)\n"
        "os.wait()\n"
    )
    told = _run(tmp_path, code)
    assert told["mine"] == 1.0
    assert "theirs" not in told.values


def test_a_program_that_lives_through_turns(tmp_path: Path) -> None:
    program = tmp_path / "living.py"
    program.write_text(
        "import asked\n"
        "def turn_of(*words):\n"
        "    if words == ('end',): raise SystemExit('it has had enough')\n"
        "    return lambda: print('a library says something')\n"
        "asked.answer(turn_of)\n"
    )
    living = Living([sys.executable, program], {**os.environ, "PYTHONPATH": str(SIDES)})
    try:
        assert set(living.ask("one", "two").values) == {"cpu", "wall"}
        with pytest.raises(SideError, match="it has had enough"):
            living.ask("end")
    finally:
        living.end()


def test_a_row_out_of_its_turns() -> None:
    row = Row("r", "", "race", whole("a"), whole("b"), clock="cpu")
    turns = [
        {
            "a": Sample({"cpu": cpu, "wall": 1.0, "mib": 50.0}),
            "b": Sample({"cpu": 2.0, "wall": 4.0, "mib": 60.0}),
        }
        for cpu in (1.0, 5.0, 3.0)
    ]
    found = measured(row, turns, ABOUT, gpu=False)
    assert found.ratio() == 1.5
    assert found.spread() == (0.5, 2.5)
    assert found.ratio("wall") == 0.25
    assert found.samples["b"]["mib"] == [60.0] * 3
    assert measured(row, turns, ABOUT, gpu=True).clock == "wall"


def test_every_row_has_its_race_and_what_is_asked_is_there() -> None:
    races, rows = bench.all_of()
    assert {row.race for row in rows.values()} == set(races)
    missing = {
        "lone_lora", "lone_lora_training", "lone_lora_lightning", "lane_slope", "lanes_8",
        "lanes_32", "lanes_32_two_cores", "lanes_rates", "lane_floor", "step_mlp_lora",
        "step_mlp_dora", "step_minilm_lora", "step_minilm_dora", "emotion", "emotion_equal",
        "emotion_memory", "imdb_bf16", "head_prefix", "resume", "start_help", "start_cfg",
        "start_typo", "start_plan", "augment_crop_and_flip",
    } - set(rows)  # fmt: skip
    assert missing == set()
    assert all(row.ours.unit == row.theirs.unit for row in rows.values())


def test_rows_that_lack_something_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    races, rows = bench.all_of()
    setting = Setting(tmp_path, data_dir=tmp_path / "nothing")
    assert setting.images == "digits"
    monkeypatch.setattr(Setting, "has_minilm", True)
    why = races[rows["emotion"].race].lacking(setting)
    assert why == "there is no emotion/train.parquet in ADAPTERLAB_DATA_DIR"
    monkeypatch.setattr(Setting, "has_minilm", False)
    assert "make minilm" in str(races[rows["step_minilm_lora"].race].lacking(setting))
    assert races[rows["step_mlp_lora"].race].lacking(setting) is None


def test_a_row_from_the_command_to_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And compared with itself, and on a machine that is not such a one."""
    page, results = tmp_path / "page.md", tmp_path / "results"
    page.write_text("before\n<!-- bench: begin -->\n<!-- bench: end -->\nafter\n")
    own = ["bench.py", "--rows", "start_typo", "--turns", "1", "--results", str(results)]
    monkeypatch.setattr(sys, "argv", [*own, "--keep", "--to", str(page)])
    assert bench.main() == 0
    (place,) = results.glob("*.json")
    row = load(place).rows["start_typo"]
    assert isinstance(row, Measured)
    assert all(value > 0 for side in (row.ours, row.theirs) for value in side["cpu"])
    assert "`start_typo`" in page.read_text()
    assert str(tmp_path) not in place.read_text()
    monkeypatch.setattr(Setting, "machine", load(place).machine | {"commit": "c0ffee"})
    values = json.loads(place.read_text())
    values["rows"]["start_typo"]["ours"]["cpu"] = [1e-3]
    values["machine"]["cpu"] = "Another"
    other = results / "00000000.json"
    other.write_text(json.dumps(values))
    place.unlink()
    monkeypatch.setattr(sys, "argv", [*own, "--check"])
    assert bench.main() == 2
    said = capsys.readouterr().err
    assert "nothing is kept of such a machine" in said
    assert "cpu: Another before" in said
    monkeypatch.setattr(sys, "argv", [*own, "--check", "--against", str(other)])
    assert bench.main() == 1
    assert "SLOWER: start_typo: " in capsys.readouterr().out
