"""Files of others are data, or a few words on why they are none."""

from pathlib import Path

import pytest
import torch
import yaml

from adapterlab.base import reading
from adapterlab.base.reading import (
    UnreadableError,
    parse_mapping,
    parse_yaml,
    read_checkpoint,
    read_text,
)
from adapterlab.config.conf_folder import CONF

ODD = (
    *("1e-5", "1.0e-05", "0o7", "010", "yes", "~", "'it''s'", '"\\u00e9 \\n"', "1_000", ".inf"),
    *("!!str 1", "ä ß 漢字", "|-\n  two\n  lines\n", ">\n  folded\n  lines\n", "2026-11-28"),
    "&x [1, 2]\nb: *x",
)
"""Values that parsers might take for different ones."""


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
        *((f"a: !!{tag} {value}", ".") for tag in ("int", "float") for value in ("''", "x", "[]")),
        *((f"a: !!{tag} {value}", ".") for tag in ("timestamp", "binary") for value in ("é", "{}")),
    ],
)
def test_yaml_that_is_none(text: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["[", "{a: ", "- ", "? ", "- ["])
def test_yaml_that_is_nested_is_refused_by_a_line(part: str) -> None:
    """The quicker parser would end the process."""
    with pytest.raises(UnreadableError):
        parse_yaml(part * 100_000)


def test_both_parsers_say_the_same() -> None:
    texts = [path.read_text() for path in sorted(CONF.rglob("*.yaml"))]
    texts += [f"a: {value}" for value in ODD]
    assert len(texts) > 150
    for text in texts:
        loader = reading._loader(text)
        assert isinstance(loader, yaml.CSafeLoader) is yaml.__with_libyaml__
        assert reading._built(loader) == reading._built(yaml.SafeLoader(text)), text


@pytest.mark.parametrize("text", ["\udcff", "caf\udce9\n", "|\n  \t", "\ufeff", "😀"])
def test_a_name_of_a_file_is_read_as_it_was_written(text: str) -> None:
    """Linux has bytes in them that are no text, which libyaml refuses as Python writes them."""
    for shape in ({"a": text}, {text: [text]}):
        assert parse_yaml(yaml.safe_dump(shape, allow_unicode=True)) == shape


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
