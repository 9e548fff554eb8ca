from pathlib import Path

import pytest

from adapterlab.base.errors import DataError
from adapterlab.data.sources.encodings import encoding_of

WESTERN = "text,label\nnaïve café,1\nGrüße,0\n¿qué? l’été — 5€,1\n"


def of(path: Path, content: bytes, named: str | None = None) -> tuple[str, str | None]:
    path.write_bytes(content)
    encoding = encoding_of(path, named)
    return encoding.name, encoding.note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.csv"


def test_utf8_is_nothing_to_speak_of(path: Path) -> None:
    assert of(path, WESTERN.encode()) == ("utf-8", None)
    assert of(path, WESTERN.encode("utf-8-sig")) == ("utf-8-sig", None)
    assert of(path, b"") == ("utf-8", None)
    assert of(path, b"text,label\n a \0 nul,1\n") == ("utf-8", None)


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_characters_are_told_with_and_without_a_mark(path: Path, name: str) -> None:
    found, note = of(path, WESTERN.encode(name))
    assert path.read_text(found) == WESTERN
    assert note == f"read as {found.upper()}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cp1252", WESTERN),
        ("cp1252", "text,label\nel niño señor,1\n"),
        ("latin-1", "text,label\nnaïve café,1\n"),  # the same bytes in cp1252
        ("iso8859-15", "text,label\nprix 5€ café,1\n"),
    ],
)
def test_the_west_is_found_and_said_with_its_words(path: Path, name: str, text: str) -> None:
    found, note = of(path, text.encode(name))
    assert path.read_text(found) == text
    assert note is not None
    assert note.startswith(f"read as {found} ('")
    assert "dataset.loader.encoding" in note


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cp1250", "zażółć gęślą jaźń"),
        ("cp1251", "привет мир как дела"),
        ("cp1253", "καλημέρα κόσμε"),
        ("cp437", "naïve café"),
        ("gb18030", "今天天气很好"),
        ("big5", "今天天氣很好"),
        ("cp932", "とても良い映画"),
    ],
)
def test_others_are_refused_by_name_and_read_when_named(path: Path, name: str, text: str) -> None:
    content = f"text,label\n{text},1\n".encode(name)
    word = text.split()[0]
    with pytest.raises(DataError, match=f"is not UTF-8 in line 2; set .*{name} .'{word}"):
        of(path, content)
    assert of(path, content, name)[0] == name


def test_east_asian_encodings_that_fit_are_named_beside_what_is_guessed(path: Path) -> None:
    # Here the guess is Korean alone.
    rows = "".join(f"a good film number {i} とても良い映画,pos\n" for i in range(60))
    with pytest.raises(DataError, match=r"such as .*cp932 .'とても良い映画'"):
        of(path, f"text,label\n{rows}".encode("shift_jis"))


def test_one_bad_byte_is_no_other_encoding(path: Path) -> None:
    with pytest.raises(DataError, match="is UTF-8 but for 1 byte, the first in line 3; mend it"):
        of(path, "text,label\ncafé,1\n".encode() + b"na\xefve,1\n")
    with pytest.raises(DataError, match="is not UTF-8 in line 2"):
        of(path, b"text,label\ncaf\xc3")


def test_a_name_has_to_fit(path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset.loader.encoding=klingon is no encoding; such as"):
        of(path, b"a", "klingon")
    with pytest.raises(DataError, match=r"train.csv is not utf-8 after line 1048577; mend"):
        of(path, b"a\n" * 2**20 + b"\xff", "utf-8")
    with pytest.raises(DataError, match=r"train.csv is not UTF-16; mend it"):
        of(path, b"\xff\xfea")
