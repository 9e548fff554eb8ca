import os
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterlab.base.errors import ConfigError, DataError
from adapterlab.data.sources import LoadContext
from adapterlab.data.sources.hub_text import hub_text
from adapterlab.data.sources.text_files import text_files
from adapterlab.data.splits import TextSplit


@pytest.fixture
def folder(context: LoadContext) -> Path:
    """Three training texts as CSV and two for the test as JSON lines."""
    root = context.search[0] / "mail"
    root.mkdir(parents=True)
    (root / "train.csv").write_text("text,label\nhello,ham\nbuy,spam\nhi,ham\n")
    (root / "test.jsonl").write_text(
        '{"text":"sell","label":"spam"}\n{"text":"bye","label":"ham"}\n'
    )
    return root


def labels(split: TextSplit | None) -> list[int]:
    assert split is not None
    return split.labels.tolist()


class TestTextFiles:
    def test_formats_may_be_mixed(self, context: LoadContext, folder: Path) -> None:
        splits = text_files(context, "mail")
        assert splits.train.texts == ("hello", "buy", "hi")
        assert labels(splits.train) == [0, 1, 0]
        assert splits.test.texts == ("sell", "bye")
        assert labels(splits.test) == [1, 0]
        assert splits.classes == ("ham", "spam")
        assert splits.validation is None

    def test_other_columns_and_a_validation_split(self, context: LoadContext, folder: Path) -> None:
        for name in ("train", "test", "validation"):
            (folder / f"{name}.csv").write_text(f"id,kind,sentence\n1,a,{name}\n2,b,x\n")
        (folder / "test.jsonl").unlink()
        splits = text_files(context, folder, text_column="sentence", label_column="kind")
        assert splits.validation is not None
        assert splits.validation.texts == ("validation", "x")

    def test_nothing_is_written(self, context: LoadContext, folder: Path) -> None:
        text_files(context, folder)
        assert sorted(path.name for path in folder.iterdir()) == ["test.jsonl", "train.csv"]
        assert not context.cache.exists()

    def test_a_missing_file(self, context: LoadContext, folder: Path) -> None:
        (folder / "test.jsonl").unlink()
        message = r"mail/test.{parquet,csv,.*} is missing; .*there is: train.csv; .*train.csv has"
        with pytest.raises(DataError, match=message):
            text_files(context, folder)

    def test_two_files_of_one_split(self, context: LoadContext, folder: Path) -> None:
        (folder / "train.jsonl").write_text("")
        with pytest.raises(DataError, match=r"has train.csv, train.jsonl; which of them is the tr"):
            text_files(context, folder)

    @pytest.mark.parametrize("name", ["dev.csv", "val.csv", "eval.csv"])
    def test_a_validation_split_under_another_name(
        self, name: str, context: LoadContext, folder: Path
    ) -> None:
        (folder / name).write_text("text,label\nx,ham\n")
        splits = text_files(context, folder)
        assert splits.validation is not None
        assert splits.validation.texts == ("x",)
        assert splits.notes == (f"{name} is read as the validation split",)
        (folder / "valid.jsonl").write_text('{"text": "y", "label": "ham"}')
        with pytest.raises(DataError, match=r"valid.jsonl.*; which of them is the validation spl"):
            text_files(context, folder)

    def test_a_split_that_cannot_be_read_is_refused(
        self, context: LoadContext, folder: Path
    ) -> None:
        (folder / "dev.xlsx").touch()
        with pytest.raises(DataError, match=r"dev.xlsx is not read: the validation split is .*csv"):
            text_files(context, folder)

    def test_a_link_to_nothing_is_no_missing_split(
        self, context: LoadContext, folder: Path
    ) -> None:
        (folder / "validation.csv").symlink_to(folder / "gone.csv")
        with pytest.raises(DataError, match=r"validation.csv is a link that leads nowhere"):
            text_files(context, folder)

    def test_a_label_with_a_space_is_explained(self, context: LoadContext, folder: Path) -> None:
        (folder / "test.jsonl").write_text('{"text": "bye", "label": "Ham "}')
        message = r"test.jsonl has label 'Ham ' in line 1; allowed: .* \(did you mean 'ham'\?\)"
        with pytest.raises(DataError, match=message):
            text_files(context, folder)

    def test_rows_are_named_in_sentences(self, context: LoadContext, folder: Path) -> None:
        splits = text_files(context, folder)
        assert splits.place("train", 1) == f"{folder}/train.csv line 3"
        assert splits.place("test", 0, brief=True) == "test.jsonl line 1"

    def test_a_missing_folder(self, context: LoadContext) -> None:
        with pytest.raises(DataError, match="no file or folder mial; looked at"):
            text_files(context, "mial")


class TestClasses:
    def load(
        self, context: LoadContext, folder: Path, train: str, test: str, **options: Any
    ) -> Any:
        (folder / "test.jsonl").unlink(missing_ok=True)
        for name, content in (("train", train), ("test", test)):
            rows = "".join(f"x,{label}\n" for label in content.split())
            (folder / f"{name}.csv").write_text(f"text,label\n{rows}")
        return text_files(context, folder, **options)

    def test_numbers_are_sorted_as_numbers(self, context: LoadContext, folder: Path) -> None:
        splits = self.load(context, folder, "10 9 -1 10", "9")
        assert splits.classes == ("-1", "9", "10")
        assert labels(splits.train) == [2, 1, 0, 2]
        assert labels(splits.test) == [1]
        # A set has them in another order in each process, and runs of one study are of several.
        alike = self.load(context, folder, "1 01 001 7 00001 0001 000001", "1").classes
        assert alike == ("000001", "00001", "0001", "001", "01", "1", "7")

    def test_csv_numbers_are_indices_of_names(self, context: LoadContext, folder: Path) -> None:
        splits = self.load(context, folder, "1 0", "1", classes=["neg", "pos"])
        assert splits.classes == ("neg", "pos")
        assert labels(splits.train) == [1, 0]

    def test_csv_numbers_may_be_names(self, context: LoadContext, folder: Path) -> None:
        splits = self.load(context, folder, "1 5", "4", classes=["1", "2", "3", "4", "5"])
        assert labels(splits.train) == [0, 4]
        assert labels(splits.test) == [3]

    def test_names_in_the_order_given(self, context: LoadContext, folder: Path) -> None:
        splits = self.load(context, folder, "spam ham", "ham", classes=["spam", "ham", "news"])
        assert splits.classes == ("spam", "ham", "news")
        assert labels(splits.train) == [0, 1]

    @pytest.mark.parametrize(
        ("train", "test", "classes", "message"),
        [
            ("a b", "a c", None, "test.csv has label 'c' in line 3; allowed: a, b$"),
            ("a b c", "a", ["a", "b"], "train.csv has label 'c' in line 4; allowed: a, b$"),
            ("0 1", "-1", ["neg", "pos"], "test.csv has label '-1' in line 2; allowed: 0, 1$"),
            ("0 1", "pos", ["neg", "pos"], "test.csv has label 'pos' in line 2; allowed: 0, 1$"),
        ],
    )
    def test_a_label_outside_of_the_list(
        self,
        context: LoadContext,
        folder: Path,
        train: str,
        test: str,
        classes: list[str] | None,
        message: str,
    ) -> None:
        with pytest.raises(DataError, match=message):
            self.load(context, folder, train, test, classes=classes)

    def test_integers_by_type_are_never_names(self, context: LoadContext, folder: Path) -> None:
        (folder / "train.csv").unlink()
        (folder / "test.jsonl").unlink()
        for name in ("train", "test"):
            table = pa.table({"text": ["x", "y"], "label": [1, 2]})
            pq.write_table(table, folder / f"{name}.parquet")
        splits = text_files(context, folder, classes=["1", "2", "3"])
        assert labels(splits.train) == [1, 2]

    def test_names_of_the_file_come_first(self, context: LoadContext, folder: Path) -> None:
        (folder / "train.csv").unlink()
        (folder / "test.jsonl").write_text('{"text": "z", "label": 1}')
        hub_table(["x", "y"], [0, 1]).to_parquet(str(folder / "train.parquet"))
        splits = text_files(context, folder, classes=["wrong", "names"])
        assert splits.classes == ("ham", "spam")
        assert labels(splits.test) == [1]


def hub_table(texts: list[str], numbers: list[int]) -> datasets.Dataset:
    names = datasets.ClassLabel(names=["ham", "spam"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    return datasets.Dataset.from_dict({"text": texts, "label": numbers}, features=features)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A hub with one data set of three splits; keeps what it was asked for."""
    asked: list[tuple[Any, ...]] = []

    def load(path: str, config: str | None, *, split: str, cache_dir: str) -> datasets.Dataset:
        cache = huggingface_hub.constants.HF_HUB_CACHE
        assert Path(cache).parent == Path(cache_dir).parent
        asked.append((path, config, split))
        if split == "dev":
            raise ValueError("Unknown split 'dev'.\nIt has others.")
        return hub_table([f"{split} {i}" for i in range(4)], [0, 1, 1, 0])

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


class TestHub:
    def test_local_files_come_first(
        self, context: LoadContext, folder: Path, hub: list[tuple[Any, ...]]
    ) -> None:
        splits = hub_text(context, "mail", hub_path="someone/mail")
        assert splits.train.texts == ("hello", "buy", "hi")
        assert not splits.notes
        assert not hub

    def test_the_hub_is_asked_once(self, context: LoadContext, hub: list[tuple[Any, ...]]) -> None:
        before = huggingface_hub.constants.HF_HUB_CACHE
        options: dict[str, Any] = {"hub_config": "small", "has_validation": True}
        first = hub_text(context, "mail", "someone/mail", **options)
        again = hub_text(context, "mail", "someone/mail", **options)
        assert hub == [("someone/mail", "small", s) for s in ("train", "test", "validation")]
        for splits in (first, again):
            assert splits.test.texts == ("test 0", "test 1", "test 2", "test 3")
            assert labels(splits.validation) == [0, 1, 1, 0]
            assert splits.classes == ("ham", "spam")
        names = {path.name for path in context.download.iterdir() if path.suffix != ".lock"}
        assert names == {"mail"}  # neither caches nor temporary folders
        assert before == huggingface_hub.constants.HF_HUB_CACHE

    def test_validation_stands_in_for_a_test_without_labels(
        self, context: LoadContext, hub: list[tuple[Any, ...]]
    ) -> None:
        splits = hub_text(context, "mail", "someone/mail", test_split="validation")
        assert [split for *_, split in hub] == ["train", "validation"]
        assert splits.test.texts[0] == "validation 0"
        assert splits.validation is None
        assert splits.notes == (
            "mail: the official validation split (4 rows) is the test split here, as is usual "
            "where test labels are not published, and validation is cut from train",
        )

    def test_files_that_are_not_asked_for_are_named(
        self, context: LoadContext, folder: Path, hub: list[tuple[Any, ...]]
    ) -> None:
        (folder / "validation.csv").write_text("text,label\nx,ham\n")
        splits = hub_text(context, "mail", hub_path="someone/mail")
        assert splits.notes == ("test.jsonl, train.csv are read, validation.csv beside them not",)

    def test_classes_without_an_example(
        self, context: LoadContext, hub: list[tuple[Any, ...]]
    ) -> None:
        names = ["ham", "spam", "more", "most"]
        splits = hub_text(context, "mail", "someone/mail", classes=names, absent_classes=2)
        assert splits.classes == ("ham", "spam", "more", "most")
        assert labels(splits.test) == [0, 1, 1, 0]
        assert splits.notes == ("2 of the 4 classes have no example; each counts as 0 in macro_f1",)

    @pytest.mark.parametrize(("classes", "absent"), [(["a", "b"], 1), (None, 1), (["a", "b"], -1)])
    def test_two_classes_have_examples(
        self,
        classes: list[str] | None,
        absent: int,
        context: LoadContext,
        hub: list[tuple[Any, ...]],
    ) -> None:
        with pytest.raises(ConfigError, match=r"absent_classes=-?1 of \d .*; allowed: 0 to 0"):
            hub_text(context, "mail", "someone/mail", classes=classes, absent_classes=absent)
        assert not hub

    def test_a_folder_that_lacks_a_split_does_not_do(
        self, context: LoadContext, folder: Path, hub: list[tuple[Any, ...]]
    ) -> None:
        splits = hub_text(context, "mail", "someone/mail", has_validation=True)
        assert splits.train.texts[0] == "train 0"

    def test_an_answer_that_is_none(
        self, context: LoadContext, hub: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(DataError, match=r"mail is not here: download failed: Unknown split 'd"):
            hub_text(context, "mail", "someone/mail", test_split="dev")  # type: ignore[arg-type]
        assert not list(context.download.glob("mail*"))

    @pytest.mark.usefixtures("no_network")
    def test_files_that_datasets_itself_loads(
        self, context: LoadContext, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
        names = {"train": [0, 1, 1], "test": [1, 0]}
        published = folder.parent / "published"
        published.mkdir()
        for name, numbers in names.items():
            table = hub_table([f"{name} {i}" for i in numbers], numbers)
            table.to_parquet(str(published / f"{name}.parquet"))
        splits = hub_text(context, "post", str(published))  # it takes a folder for a hub name
        assert splits.train.texts == ("train 0", "train 1", "train 1")
        assert labels(splits.test) == [1, 0]
        assert splits.classes == ("ham", "spam")
        files = [path.name for path in (context.download / "post").iterdir()]
        assert sorted(files) == ["test.parquet", "train.parquet"]

    @pytest.mark.usefixtures("no_network")
    def test_no_network(self, context: LoadContext) -> None:
        with pytest.raises(DataError) as caught:
            hub_text(context, "sst2", "nyu-mll/glue", "sst2", test_split="validation")
        assert str(caught.value) == (
            "sst2 is not here: download failed: Name or service not known. Wanted: "
            "sst2/{train,validation}.{parquet,csv,tsv,jsonl,json} in one of "
            f"{context.search[0]}, {context.download}. "
            "Source: huggingface.co/datasets/nyu-mll/glue, configuration sst2"
        )


@pytest.fixture
def real(context: LoadContext) -> LoadContext:
    if "ADAPTERLAB_DATA_DIR" not in os.environ:
        pytest.skip("ADAPTERLAB_DATA_DIR is not set")
    return LoadContext((Path(os.environ["ADAPTERLAB_DATA_DIR"]),), context.download, context.cache)


class TestRealData:
    def test_emotion(self, real: LoadContext) -> None:
        names = ["sadness", "joy", "love", "anger", "fear", "surprise"]
        splits = hub_text(
            real, "emotion", "dair-ai/emotion", "split", classes=names, has_validation=True
        )
        assert splits.validation is not None
        sizes = (len(splits.train), len(splits.validation), len(splits.test))
        assert sizes == (16_000, 2_000, 2_000)
        published = [4666, 5362, 1304, 2159, 1937, 572]
        assert splits.train.labels.bincount().tolist() == published
        assert splits.train.texts[0] == "i didnt feel humiliated"

    def test_imdb(self, real: LoadContext) -> None:
        splits = hub_text(real, "imdb", "stanfordnlp/imdb", classes=["neg", "pos"])
        for split in (splits.train, splits.test):
            assert split.labels.bincount().tolist() == [12_500, 12_500]
            assert max(map(len, split.texts)) > 10_000
