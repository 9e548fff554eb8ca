"""Texts as people have them: marks, encodings, columns, one file, folders, labels elsewhere."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data.labels import require_learnable
from adapterlab.data.sources.text_tables import read_text_table
from adapterlab.data.splits import hold_out

ROWS = [(f"text {i}", ("neg", "pos")[i % 2]) for i in range(20)]


def table(mark: str = ",", header: str = "text,label", rows: Any = ROWS) -> str:
    lines = [header, *(mark.join(map(str, row)) for row in rows)]
    return "\n".join(lines).replace("text,label", f"text{mark}label") + "\n"


def write(folder: Path, content: str, suffix: str = ".csv", encoding: str = "utf-8") -> None:
    for split in ("train", "test"):
        (folder / f"{split}{suffix}").write_text(content, encoding=encoding)


class TestMarks:
    @pytest.mark.parametrize(
        ("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
    )
    def test_the_mark_is_found_and_said(self, mail: Path, load: Any, mark: str, name: str) -> None:
        write(mail, table(mark))
        splits = load()
        assert splits.train.texts == tuple(text for text, _ in ROWS)
        assert splits.notes == (f"train.csv, test.csv: columns are between {name}",)

    def test_the_header_counts_more_than_the_texts(self, mail: Path, load: Any) -> None:
        rows = [(f"one, two, {i}", label) for i, (_, label) in enumerate(ROWS)]
        write(mail, table(";", rows=rows))
        assert load().train.texts[3] == "one, two, 3"

    def test_tabs_are_no_news_in_a_tsv(self, mail: Path, load: Any) -> None:
        write(mail, table("\t"), ".tsv")
        assert load().notes == ()

    def test_quoted_line_breaks_and_doubled_quotes(self, mail: Path, load: Any) -> None:
        rows = [('"a\nb ""c"""', "x"), ("d", "y")]
        for mark, suffix in ((",", ".csv"), ("\t", ".tsv")):
            write(mail, table(mark, rows=rows), suffix)
            assert load().train.texts == ('a\nb "c"', "d")
            for split in ("train", "test"):
                (mail / f"{split}{suffix}").unlink()

    def test_lone_quotes_of_a_tsv_join_no_rows(self, mail: Path, load: Any) -> None:
        """Read in pairs, the first three rows would be one of two fields."""
        rows = [('"so', "x"), ("on", "y"), ('and" so', "x"), ("on", "y")]
        write(mail, table("\t", rows=rows), ".tsv")
        splits = load()
        assert splits.train.texts == ('"so', "on", 'and" so', "on")
        assert splits.notes[0].startswith("train.tsv, test.tsv: quotes do not come in pairs: they")

    def test_a_mark_may_be_named(self, mail: Path, load: Any) -> None:
        write(mail, table("~"))
        assert len(load(delimiter="~").train) == 20
        with pytest.raises(DataError, match=r"it has: text~label; set dataset"):
            load()

    def test_the_first_line_may_name_the_mark(self, mail: Path, load: Any) -> None:
        write(mail, "sep=;\n" + table(";"))
        splits = load()
        assert splits.train.texts[0] == "text 0"
        assert splits.place("train", 0, brief=True) == "train.csv line 3"

    def test_two_marks_that_would_do_are_asked_for(self, mail: Path, load: Any) -> None:
        rows = [(f"one, two {i}", label) for i, (_, label) in enumerate(ROWS)]
        write(mail, table(";", header="text, as written;label", rows=rows))
        with pytest.raises(
            DataError, match=r"columns between commas or semicolons; set dataset.lo"
        ):
            load()
        assert load(delimiter=";", text_column="text, as written").train.texts[1] == "one, two 1"

    def test_what_is_no_mark_and_no_table(self, mail: Path, load: Any) -> None:
        with pytest.raises(ConfigError, match=r"dataset.loader.delimiter=';;' should be one char"):
            load(delimiter=";;")
        (mail / "mail.xlsx").touch()
        with pytest.raises(DataError, match=r"mail.xlsx is no table that can be read; allowed: .p"):
            load(mail / "mail.xlsx")


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "text", "label"),
        [
            ("sentence,class", "sentence", "class"),
            ("Review,Target", "Review", "Target"),
            ("v2,v1", "v2", "v1"),
            ("phrase,label", "phrase", None),
        ],
    )
    def test_they_are_guessed_and_the_guess_is_said(
        self, mail: Path, load: Any, header: str, text: str, label: str | None
    ) -> None:
        write(mail, table(header=header))
        splits = load()
        assert splits.train.texts[:2] == ("text 0", "text 1")
        assert splits.classes == ("neg", "pos")
        guesses = [f"the text is in '{text}'", *([f"the label is in '{label}'"] if label else [])]
        (note,) = splits.notes
        assert note.startswith(f"train.csv, test.csv: {' and '.join(guesses)}, by the names of")

    def test_a_file_of_a_sms_collection(self, mail: Path, load: Any) -> None:
        """Columns v1 and v2, three without a name, in latin-1."""
        (mail / "spam.csv").write_text(
            "v1,v2,,,\n" + "".join(f"ham,caf\xe9 {i},,,\nspam,buy {i},,,\n" for i in range(5)),
            encoding="latin-1",
        )
        splits = load()
        assert sorted(splits.train.texts + splits.test.texts)[5] == "caf\xe9 0"
        assert splits.classes == ("ham", "spam")

    def test_what_cannot_be_told_is_asked(self, mail: Path, load: Any) -> None:
        write(mail, table(header="a,b"))
        with pytest.raises(DataError, match=r"has no column text and no column label; it has: a"):
            load()
        write(mail, "text,Label,label\nx,1,1\n")
        with pytest.raises(DataError, match=r"columns Label, label; set dataset.loader.label_col"):
            load()
        write(mail, "text\nx\n")
        with pytest.raises(DataError, match=r"has no column label; it has: text; set"):
            load()

    def test_a_file_without_a_header(self, mail: Path, load: Any) -> None:
        write(mail, "".join(f"{label},{text}\n" for text, label in ROWS))
        with pytest.raises(DataError, match=r"a file without a header needs dataset.loader.colum"):
            load()
        splits = load(columns=["label", "text"])
        assert splits.train.texts == tuple(text for text, _ in ROWS)
        assert splits.place("train", 0, brief=True) == "train.csv line 1"

    def test_test_labels_that_are_not_published(self, mail: Path, load: Any) -> None:
        write(mail, table())
        (mail / "test.csv").write_text("id,text\n1,x\n")
        with pytest.raises(DataError, match=r"dataset.loader.path=TRAIN_FILE has a test split cut"):
            load()


class TestOneFile:
    def test_a_test_split_is_cut_by_class_and_said(self, mail: Path, load: Any) -> None:
        (mail / "all.csv").write_text(table())
        for path in (mail, mail / "all.csv"):
            splits = load(path)
            assert (len(splits.train), len(splits.test)) == (16, 4)
            assert splits.test.labels.sum() == 2
            assert not {*splits.train.texts} & {*splits.test.texts}
            (note,) = splits.notes
            assert note.startswith(
                "all.csv has no test split: it is 4 of its 20 rows, cut by class"
            )
        rows = [int(text.split()[1]) for text in splits.test.texts]
        assert list(splits.origins["test"].numbers) == rows
        assert splits.place("test", 0, brief=True) == f"all.csv line {rows[0] + 2}"

    def test_a_share_too_small_for_each_class(self, mail: Path, load: Any) -> None:
        (mail / "all.csv").write_text(table(rows=ROWS[:4]))
        with pytest.raises(
            DataError, match=r"4 rows of 2 classes, .*: set dataset.loader.test=0.5"
        ):
            load()
        assert len(load(test=0.5).test) == 2

    def test_the_seed_decides(self, mail: Path, load: Any) -> None:
        (mail / "all.csv").write_text(table())
        assert load().test.texts == load().test.texts != load(test_seed=1).test.texts

    def test_folds_part_all_rows(self, mail: Path, load: Any) -> None:
        (mail / "all.csv").write_text(table())
        tests = [load(folds=5, fold=fold).test.texts for fold in range(5)]
        assert sorted(sum(tests, ())) == sorted(text for text, _ in ROWS)
        with pytest.raises(DataError, match=r"has 10 rows of its rarest label; .*folds=11 needs"):
            load(folds=11)
        with pytest.raises(ConfigError, match=r"dataset.loader.fold=5; allowed: 0 to 4"):
            load(folds=5, fold=5)

    def test_groups_are_never_parted(self, mail: Path, load: Any) -> None:
        rows = [(text, label, f"p{i // 2}") for i, (text, label) in enumerate(ROWS)]
        (mail / "all.csv").write_text(table(header="text,label,person", rows=rows))
        person = {text: group for text, _, group in rows}
        for options in ({}, {"folds": 5, "fold": 2}):
            splits = load(group_column="person", **options)
            train, validation = hold_out(splits, 0.25, 0)
            parts = [{person[t] for t in part.texts} for part in (train, validation, splits.test)]
            assert all(parts)
            assert sum(map(len, parts)) == 10
        few = r"20 rows of 10 groups cannot be cut at dataset.loader.test=0.05, .*20 groups; set"
        with pytest.raises(DataError, match=few):
            load(group_column="person", test=0.05)
        with pytest.raises(DataError, match=r"16 rows of 8 groups .* dataset.validation=0.1, wh"):
            require_learnable(load(group_column="person"), 0.1)

    def test_a_column_names_the_splits(self, mail: Path, load: Any) -> None:
        names = ["train"] * 14 + ["dev", "dev"] + ["Test"] * 4
        rows = [(*row, name) for row, name in zip(ROWS, names, strict=True)]
        (mail / "all.csv").write_text(table(header="text,label,split", rows=rows))
        splits = load()
        assert splits.validation.texts == ("text 14", "text 15")
        assert splits.test.texts[0] == "text 16"
        assert splits.notes == ("all.csv names the split of each row",)
        (mail / "all.csv").write_text(table(header="text,label,split", rows=[("x", 1, "tset")]))
        with pytest.raises(DataError, match=r"has 'tset' as split in line 2; allowed: train, test"):
            load()

    def test_a_lone_label_is_named_as_it_is_written(self, mail: Path, load: Any) -> None:
        rows = [(text, 1 + i % 2) for i, (text, _) in enumerate(ROWS)] + [("odd", 3)]
        (mail / "all.csv").write_text(table(rows=rows))
        with pytest.raises(DataError, match=r"only one row with the label '3' \(line 22\)"):
            load()
        write(mail, table(rows=rows))
        (mail / "all.csv").unlink()
        with pytest.raises(DataError, match=r"train.csv line 22 is the only .* with the label '3'"):
            require_learnable(load(), 0.1)

    def test_numbers_with_a_fraction_are_no_classes(self, mail: Path, load: Any) -> None:
        rows = [(f"text {i}", f"{i / 4}") for i in range(1, 40)]
        for split in ("train", "test"):
            (mail / f"{split}.csv").write_text(table(rows=rows))
        with pytest.raises(DataError, match=r"39 different numbers as label, .*task=regression"):
            load()
        assert len(load(classes=[label for _, label in rows]).classes) == 39
        few = [(f"text {i}", f"{i % 4 / 2}") for i in range(40)]
        (mail / "train.csv").write_text(table(rows=few))
        (mail / "test.csv").write_text(table(rows=few))
        assert load().classes == ("0.0", "0.5", "1.0", "1.5")

    @pytest.mark.parametrize(
        ("file", "line", "said"),
        [
            (
                "a.jsonl",
                '{"text": {"body": "x"}, "label": "y"}',
                "write what is nested into columns",
            ),
            ("a.jsonl", '{"text": "x", "label": 3.5}', "task=regression learns numbers"),
            ("a.csv.gz", "text,label", "unpack it first"),
        ],
    )
    def test_what_cannot_be_read_says_what_would_help(
        self, file: str, line: str, said: str, tmp_path: Path
    ) -> None:
        (tmp_path / file).write_text(line)
        with pytest.raises(DataError, match=said):
            read_text_table(tmp_path / file)


class TestFolders:
    def fill(self, folder: Path, count: int = 5) -> None:
        for name in ("neg", "pos"):
            (folder / name).mkdir(parents=True)
            for i in range(count):
                (folder / name / f"{i}_7.txt").write_text(f"{folder.name} {name} {i}")

    def test_a_folder_for_each_class(self, mail: Path, load: Any) -> None:
        for split in ("train", "test"):
            self.fill(mail / split)
        (mail / "train" / "neg" / ".DS_Store").touch()
        splits = load()
        assert splits.classes == ("neg", "pos")
        assert splits.train.texts[0] == "train neg 0"
        assert splits.train.labels.tolist() == [0] * 5 + [1] * 5
        assert splits.place("train", 5, brief=True) == "train/pos/0_7.txt"

    def test_classes_may_be_chosen(self, mail: Path, load: Any) -> None:
        """As films come: the training part has texts without a label in a folder of their own."""
        for split in ("train", "test"):
            self.fill(mail / split)
        (mail / "train" / "unsup").mkdir()
        (mail / "train" / "unsup" / "0.txt").write_text("x")
        with pytest.raises(DataError, match=r"have different classes; only one of them has unsup"):
            load()
        assert load(classes=["pos", "neg"]).train.labels.tolist() == [0] * 5 + [1] * 5

    def test_folders_of_classes_alone_are_cut(self, mail: Path, load: Any) -> None:
        self.fill(mail)
        splits = load(test=0.4)
        assert (len(splits.train), len(splits.test)) == (6, 4)
        assert splits.notes[0].startswith("mail has no test split: it is 4 of its 10 rows, cut by")

    def test_labels_in_a_second_file(self, mail: Path, load: Any) -> None:
        (mail / "texts").mkdir()
        for i, (text, _) in enumerate(ROWS):
            (mail / "texts" / f"{i}.txt").write_text(text)
        of = "".join(f"{i},{label}\n" for i, (_, label) in enumerate(ROWS))
        (mail / "labels.csv").write_text(f"id,label\n{of}")
        splits = load(labels="labels.csv")
        names = dict(ROWS)
        for split in (splits.train, splits.test):
            read = [splits.classes[label] for label in split.labels.tolist()]
            assert read == [names[text] for text in split.texts]
        (mail / "labels.csv").write_text(f"id,label\n{of}98,{ROWS[0][1]}\n")
        assert "labels.csv: 1 label has no example: 98" in load(labels="labels.csv").notes
        (mail / "texts" / "99.txt").write_text("more")
        with pytest.raises(DataError, match=r"labels.csv has no label for '99.txt'"):
            load(labels="labels.csv")


def test_labels_of_tables_are_found_by_their_ids(mail: Path, load: Any) -> None:
    rows = [(f"r{i}", text) for i, (text, _) in enumerate(ROWS)]
    of = [(f"r{i}", label) for i, (_, label) in reversed(list(enumerate(ROWS)))]
    write(mail, table(header="id,text", rows=rows))
    for split in ("train", "test"):
        (mail / f"{split}_labels.csv").write_text(table(header="id,label", rows=of))
    splits = load(labels="*_labels.csv")
    assert splits.train.labels.tolist() == [0, 1] * 10
    assert list(splits.origins["train"].ids[:2]) == ["r0", "r1"]
    (mail / "test_labels.csv").write_text("id,label\nr0,neg\nr0,pos\n")
    with pytest.raises(DataError, match=r"has 'r0' with the label 'neg' in line 2, and elsewhere"):
        load(labels="*_labels.csv")


def test_json_arrays_and_ids_of_parquet(mail: Path, load: Any) -> None:
    (mail / "train.json").write_text(' [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]')
    rows = {"text": ["c", "d"], "label": ["x", "y"], "idx": [7, 9]}
    pq.write_table(pa.table(rows), mail / "test.parquet")
    splits = load()
    assert splits.train.texts == ("a", "b")
    assert list(splits.origins["test"].ids) == ["7", "9"]
    assert splits.origins["train"].ids is None
