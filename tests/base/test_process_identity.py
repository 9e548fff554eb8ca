"""Which host a process is of, where names of hosts say little."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterlab.base import process_identity
from adapterlab.base.process_identity import is_elsewhere, may_be_at_work, this_process


@pytest.fixture(autouse=True)
def _hosts_are_asked_anew() -> Iterator[None]:
    process_identity._hosts.cache_clear()
    yield
    process_identity._hosts.cache_clear()


def test_two_machines_that_are_called_alike_are_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process_of(number: str | None) -> str:
        file = tmp_path / str(number)
        if number is not None:
            file.write_text(f"{number}\n")
        monkeypatch.setattr(process_identity, "_MACHINE", file)
        process_identity._hosts.cache_clear()
        host, _, *rest = this_process().split("-")
        return "-".join([host, "0" * 8, *rest])  # of another boot

    theirs, unnumbered, own = process_of("a" * 32), process_of(None), process_of("b" * 32)
    assert is_elsewhere(theirs)
    assert may_be_at_work(theirs)
    assert not is_elsewhere(own)
    assert not is_elsewhere(unnumbered)  # as earlier versions wrote all
    assert not may_be_at_work(own)
