"""Pictures drawn by a process beside this one are the same files."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from adapterlab.base.workers import Worker, submit
from adapterlab.drawing.figures import learning_curves_figure
from adapterlab.drawing.pictures import Pictures, PicturesBeside, get_ready

CURVES = {"train/loss": [(1, 0.9), (2, 0.5)], "val/loss": [(1, 0.8), (2, 0.6)]}
MAKE = partial(learning_curves_figure, CURVES, "a run", best_epoch=2)


def draw(pictures: Pictures, folder: Path, make: partial[Figure] = MAKE, count: int = 3) -> None:
    folder.mkdir()
    for number in range(count):
        pictures.draw(make, folder / f"{number}.png")


def this_process_only(parent: int) -> Figure:
    """End the process that draws, unless it is the one that asked."""
    if os.getpid() != parent:
        os._exit(1)
    return MAKE()


def test_they_are_the_same_files(tmp_path: Path) -> None:
    get_ready()
    pictures = PicturesBeside()
    draw(pictures, tmp_path / "beside", count=6)
    pictures.wait()
    assert pictures.drawn()
    draw(Pictures(), tmp_path / "here", count=1)
    expected = (tmp_path / "here" / "0.png").read_bytes()
    assert [path.read_bytes() for path in (tmp_path / "beside").iterdir()] == [expected] * 6
    pictures.wait()  # there is nothing left to wait for


def test_what_a_dead_process_has_not_drawn_is_drawn_here(tmp_path: Path) -> None:
    pictures = PicturesBeside()
    draw(pictures, tmp_path / "beside", partial(this_process_only, os.getpid()))
    pictures.wait()
    assert len(list((tmp_path / "beside").iterdir())) == 3
    later = PicturesBeside()  # a new process is started
    draw(later, tmp_path / "later")
    later.wait()
    assert len(list((tmp_path / "later").iterdir())) == 3


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    pictures = PicturesBeside()
    pictures.draw(MAKE, tmp_path / "missing" / "a.png")
    with pytest.raises(OSError, match="missing"):
        pictures.wait()


def big() -> int:
    global kept
    kept = b"1" * 400_000_000
    time.sleep(1.1)  # from then on its memory would be looked at
    return os.getpid()


def holds_ctrl_c() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_that_keeps_what_it_has_read_stays(recwarn: pytest.WarningsRecorder) -> None:
    worker = Worker(nothing)
    first = worker.submit(os.getpid).result(60)
    assert worker.submit(big).result(60) == first
    assert worker.submit(os.getpid).result(60) == first
    assert worker.submit(holds_ctrl_c).result(60)
    worker.kill()
    assert not recwarn.list


def submitted_nothing() -> bool:
    return submit(nothing) is None


def test_a_process_of_a_pool_does_all_by_itself() -> None:
    """Python lets daemonic processes have no children."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(submitted_nothing)


def nothing() -> None:
    pass
