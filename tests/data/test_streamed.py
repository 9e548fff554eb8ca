"""Rows and images that are read a few at a time."""

from pathlib import Path

import pytest

from adapterlab.base.errors import DataError
from adapterlab.data.sources.streamed import open_table


def test_a_folder_in_itself_is_refused_and_two_links_to_one_are_read(tmp_path: Path) -> None:
    inside = tmp_path / "photos" / "a"
    inside.mkdir(parents=True)
    (inside / "x.png").touch()
    (tmp_path / "photos" / "b").symlink_to(inside)
    (chunk,) = open_table(tmp_path / "photos", 9).chunks
    assert [record["file"] for record in chunk.records] == ["a/x.png", "b/x.png"]
    (inside / "back").symlink_to(tmp_path / "photos")
    with pytest.raises(DataError, match=r"a/back is a link to .*photos, which it is in"):
        open_table(tmp_path / "photos", 9)


def test_a_file_is_read_as_far_as_it_is_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a"}\n' * 100_000 + "broken")
    table = open_table(source, 10)
    first = next(table.chunks)
    assert [len(first.records), first.places[-1]] == [10, "line 10"]
    assert first.done < table.total / 10
    with pytest.raises(DataError, match="is broken in line 100001"):
        list(table.chunks)
