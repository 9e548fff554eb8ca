import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterlab.base.errors import DataError
from adapterlab.data.sources.text_tables import is_empty, read_text_table

AWKWARD = [
    "plain",
    "comma, and \"quotes\"",
    "two\nlines",
    "Windows\r\nlines",
    "NA",
    "null",
    "007",
    "  spaces kept  ",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",  # emoji, one joined of three
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",  # Arabic, Hebrew
    "line\u2028separator \x85 and \x0c",
    "\U00020000 \u0000 e\u0301",
    "x" * 200_000,
]  # fmt: skip


def write_csv(path: Path, texts: list[str], labels: list[str], end: str = "\n") -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    lines = ["text,label", *(f"{t},{label}" for t, label in zip(quoted, labels, strict=True))]
    path.write_bytes((end.join(lines) + end).encode())


def write_json_lines(path: Path, texts: list[str], labels: list[Any], end: str = "\n") -> None:
    rows = [
        json.dumps({"text": t, "label": label}, ensure_ascii=False)
        for t, label in zip(texts, labels, strict=True)
    ]
    path.write_bytes((end.join(rows) + end).encode())


def write_parquet(path: Path, texts: list[Any], labels: list[Any]) -> None:
    pq.write_table(pa.table({"text": texts, "label": labels}), path)


WRITERS: dict[str, Callable[..., None]] = {
    ".csv": write_csv,
    ".jsonl": write_json_lines,
    ".parquet": write_parquet,
}


def read(path: Path, text: str = "text", label: str = "label") -> Any:
    return read_text_table(path, text, label)


def refused(path: Path, message: str, **columns: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(path, **columns)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_awkward_texts_come_back_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"train{suffix}"
    WRITERS[suffix](path, AWKWARD, [str(i) for i in range(len(AWKWARD))])
    table = read(path)
    assert list(table.texts) == AWKWARD
    assert list(table.labels) == [str(i) for i in range(len(AWKWARD))]


def _is_seen(text: str) -> bool:
    return not is_empty(text)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(_is_seen), min_size=1
    )
)
def test_any_texts_come_back_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("texts") / f"train{suffix}"
    WRITERS[suffix](path, texts, ["1"] * len(texts))
    assert list(read(path).texts) == texts


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_byte_order_marks_and_empty_lines(
    tmp_path: Path, suffix: str, end: str, mark: bytes
) -> None:
    path = tmp_path / f"train{suffix}"
    WRITERS[suffix](path, ["one", "two"], ["1", "0"], end)
    content = path.read_bytes().replace(b"two", b"t\xc3\xbcr") + end.encode() * 2
    path.write_bytes(mark + content)
    table = read(path)
    assert list(table.texts) == ["one", "tür"]
    assert list(table.labels) == ["1", "0"]


class TestPlaces:
    def test_a_csv_row_is_named_by_its_first_line(self, tmp_path: Path) -> None:
        path = tmp_path / "train.csv"
        path.write_text('text,label\n"a\nb",1\n\nc,0\n')
        assert list(read(path).places) == ["line 2", "line 5"]

    def test_json_lines_count_empty_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "train.jsonl"
        path.write_text('{"text":"a","label":1}\n\n{"text":"b","label":0}')
        assert list(read(path).places) == ["line 1", "line 3"]
        assert list(read(path).places[1:]) == ["line 3"]

    def test_parquet_has_rows(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", ["a"], [1])
        assert read(tmp_path / "train.parquet").places[0] == "row 0 (counted from 0)"


class TestLabelTypes:
    @pytest.mark.parametrize(
        ("labels", "integers"), [([0, 1], True), (["a", "b"], False), ([0, "b"], None)]
    )
    def test_of_json_lines(self, tmp_path: Path, labels: list[Any], integers: bool | None) -> None:
        write_json_lines(tmp_path / "train.jsonl", ["x", "y"], labels)
        table = read(tmp_path / "train.jsonl")
        assert table.integers is integers
        assert list(table.labels) == [str(label) for label in labels]

    def test_of_parquet(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", ["x"], ["a"])
        assert read(tmp_path / "train.parquet").integers is False
        write_parquet(tmp_path / "train.parquet", ["x"], pa.array([3], pa.uint8()))
        assert read(tmp_path / "train.parquet").integers is True

    def test_categories_of_pandas_are_strings(self, tmp_path: Path) -> None:
        labels = pa.array(["b", "a", "b"]).dictionary_encode()
        write_parquet(tmp_path / "train.parquet", ["x", "y", "z"], labels)
        assert list(read(tmp_path / "train.parquet").labels) == ["b", "a", "b"]

    def test_true_and_false_are_names(self, tmp_path: Path) -> None:
        write_json_lines(tmp_path / "train.jsonl", ["x", "y"], [True, False])
        write_parquet(tmp_path / "train.parquet", ["x", "y"], [True, False])
        for name in ("train.jsonl", "train.parquet"):
            table = read(tmp_path / name)
            assert (list(table.labels), table.integers) == (["true", "false"], False)

    def test_class_names_in_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "train.parquet"
        names = datasets.ClassLabel(names=["neg", "pos"])
        features = datasets.Features({"text": datasets.Value("string"), "label": names})
        rows = {"text": ["x"], "label": [1]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(path))
        assert read(path).names == ("neg", "pos")


@pytest.mark.parametrize("suffix", WRITERS)
class TestErrorsOfAllFormats:
    def test_a_missing_column(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"train{suffix}"
        WRITERS[suffix](path, ["x"], ["1"])
        refused(path, "has no column sentence; it has: text, label", text="sentence")
        refused(path, "has no column kind; it has: text, label", label="kind")

    @pytest.mark.parametrize("text", ["", "   ", "\t\n\u00a0\u3000"])
    def test_an_empty_text(self, tmp_path: Path, suffix: str, text: str) -> None:
        path = tmp_path / f"train{suffix}"
        WRITERS[suffix](path, ["x", text], ["1", "0"])
        place = {".csv": "line 3", ".jsonl": "line 2", ".parquet": r"row 1 \(counted from 0\)"}
        refused(path, f"has an empty text in {place[suffix]}; fill or remove it")

    def test_an_empty_label(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"train{suffix}"
        WRITERS[suffix](path, ["x", "y"], ["1", ""])
        refused(path, "has an empty label in (line 3|line 2|row 1)")

    def test_no_rows(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"train{suffix}"
        if suffix == ".parquet":
            write_parquet(path, pa.array([], pa.string()), pa.array([], pa.int64()))
        else:
            path.write_text("text,label\n" if suffix == ".csv" else "\n")
        refused(path, "has no rows")


class TestErrorsOfCsv:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("text,label\na,1\nhello, world,1\n", "3 fields in line 3 but 2 in its header; put"),
            # pandas takes the first field for an index here, and loses it
            ("text,label\nhello, world,1\nbye, you,0\n", "3 fields in line 2 but 2 in its header"),
            ("text,label\na,1\nb\n", "has 1 fields in line 3 but 2"),
            ('text,label\na,1\n"b,1\nc,0\n', "is broken in line 3: unexpected end of data"),
            ('text,label\n"a"b,1\n', "is broken in line 2: ',' expected after '\"'"),
            ("text,label,text\na,1,b\n", "has more than one column text"),
            ("", "has no column text; it has: nothing"),
            ("txt;label\na;1\n", "has no column text; it has: txt, label"),
            ("text;label\na;1\nb;c;0\n", "3 fields in line 3 but 2 in its header; .* semicolons"),
        ],
    )
    def test_a_broken_row_is_named(self, tmp_path: Path, content: str, message: str) -> None:
        path = tmp_path / "train.csv"
        path.write_text(content)
        refused(path, message)

    def test_the_limit_of_python_is_as_before(self, tmp_path: Path) -> None:
        import csv

        before = csv.field_size_limit()
        write_csv(tmp_path / "train.csv", ["x" * 200_000], ["1"])
        read(tmp_path / "train.csv")
        assert csv.field_size_limit() == before
        (tmp_path / "train.csv").write_text("text,label\na,b,c\n")
        with pytest.raises(DataError) as kept:  # which keeps what has raised it alive
            read(tmp_path / "train.csv")
        assert csv.field_size_limit() == before, kept


class TestErrorsOfJsonLines:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"text": "b", "label": ', "is broken in line 2: Expecting value"),
            ('{"text": "b" "label": 1}', "is broken in line 2: Expecting ',' delimiter"),
            ('["b", 1]', "is broken in line 2: wanted one JSON object a line"),
            ('{"text": "b"}', "has no label in line 2"),
            ('{"text": null, "label": 1}', "has no text in line 2"),
            ('{"text": 5, "label": 1}', "has 5 as text in line 2; allowed: strings$"),
            ('{"text": "b", "label": 0.5}', "has 0.5 as label in line 2; allowed: strings or int"),
            ('{"text": "b", "label": [1]}', r"has \[1\] as label in line 2; allowed: strings or"),
            ('{"text": "\\ud800", "label": 1}', "has half a surrogate pair as text in line 2"),
        ],
    )
    def test_a_broken_row_is_named(self, tmp_path: Path, line: str, message: str) -> None:
        path = tmp_path / "train.jsonl"
        path.write_text('{"text": "a", "label": 1}\n' + line + "\n")
        refused(path, message)

    def test_an_escaped_pair_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "train.jsonl"
        path.write_text('{"text": "\\ud83d\\ude00", "label": 1}')
        assert read(path).texts == ["\U0001f600"]


class TestErrorsOfParquet:
    def test_nulls(self, tmp_path: Path) -> None:
        path = tmp_path / "train.parquet"
        write_parquet(path, ["a", None], [1, 0])
        refused(path, r"has no text in row 1 \(counted from 0\); fill or remove it")
        write_parquet(path, ["a", "b"], [None, 0])
        refused(path, "has no label in row 0")

    def test_other_types(self, tmp_path: Path) -> None:
        path = tmp_path / "train.parquet"
        write_parquet(path, [1.5], [1])
        refused(path, "has double in column text; allowed: strings")
        write_parquet(path, ["a"], [0.5])
        refused(path, "has double in column label; allowed: integers or strings")

    @pytest.mark.parametrize("keep", [0, 10, 200])
    def test_a_truncated_file(self, tmp_path: Path, keep: int) -> None:
        path = tmp_path / "train.parquet"
        write_parquet(path, ["a"], [1])
        path.write_bytes(path.read_bytes()[:keep])
        refused(path, "is not a parquet file, or damaged")

    def test_strings_that_are_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "train.parquet"
        raw = pa.array([b"good", b"\xff\xfeb"], pa.binary())
        texts = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
        pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), path)
        refused(path, r"has a text in row 1 \(counted from 0\) that is not UTF-8")
