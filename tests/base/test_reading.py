"""Files of others are data, or a few words on why they are none."""

from pathlib import Path

import pytest
import torch

from adapterlab.base.reading import (
    UnreadableError,
    parse_mapping,
    parse_yaml,
    read_checkpoint,
    read_text,
)


def test_what_is_plain_is_read(tmp_path: Path) -> None:
    assert parse_yaml("a: &a [1, 2.5, null]\nb: *a\nc:\n  d: ${x}") == {
        "a": [1, 2.5, None],
        "b": [1, 2.5, None],
        "c": {"d": "${x}"},
    }
    assert parse_mapping('{"a": [1, NaN]}').keys() == {"a"}
    path = tmp_path / "text"
    path.write_text("größer", encoding="utf-8")
    assert read_text(path) == "größer"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [*a]", "refers to itself"),
        ("a: 2020-01-01", "not JSON serializable"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("[" * 50_000, "nested beyond bounds"),
        ("a: [", "while parsing"),
    ],
)
def test_yaml_that_is_none(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_yaml_that_grows() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(UnreadableError, match="larger than it looks"):
        parse_yaml("\n".join(lines))


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000])
def test_json_that_is_no_mapping(text: str) -> None:
    with pytest.raises(UnreadableError):
        parse_mapping(text)


def test_odd_files(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no file"):
        read_text(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(UnreadableError, match="UTF-8"):
        read_text(tmp_path / "latin")
    with (tmp_path / "vast").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableError, match="more than"):
        read_text(tmp_path / "vast")


def test_a_checkpoint_is_tensors(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "trapped",))

    path = tmp_path / "last.ckpt"
    torch.save({"w": torch.ones(2), "n": {1: [0.5, None, "x"]}}, path)
    assert read_checkpoint(path)["n"] == {1: [0.5, None, "x"]}
    torch.save({"w": Trap()}, path)
    with pytest.raises(UnreadableError, match="asks for code to be run"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableError, match="is damaged"):
        read_checkpoint(path)
    with pytest.raises(UnreadableError, match="No such file"):
        read_checkpoint(tmp_path / "nowhere.ckpt")
    assert not (tmp_path / "trapped").exists()
