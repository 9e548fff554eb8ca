from pathlib import Path

import pytest
import torch

from adapterlab.base.errors import DataError
from adapterlab.data.origin import Origin
from adapterlab.data.scrutiny import Cut, Scrutiny, require_different, scrutinise
from adapterlab.data.splits import TextSplit, TextSplits

NAMES = ("ham", "spam", "news")


def split(rows: list[tuple[int, int]]) -> TextSplit:
    """Rows of (number of the text, label)."""
    return TextSplit(
        tuple(f"text {number}" for number, _ in rows), torch.tensor([label for _, label in rows])
    )


def scrutiny(
    train: list[tuple[int, int]],
    test: list[tuple[int, int]],
    validation: list[tuple[int, int]] | None = None,
    cut: Cut | None = None,
    classes: tuple[str, ...] = NAMES,
    source: list[int] | None = None,
) -> Scrutiny:
    """Look at a data set whose texts are numbered already."""
    rows = {"train": train, "test": test} | ({"validation": validation} if validation else {})
    origins = {
        name: Origin(Path(f"mail/{name}.csv"), [f"line {i + 2}" for i in range(len(lines))])
        for name, lines in rows.items()
    }
    data = TextSplits(
        train=split(train),
        test=split(test),
        validation=split(validation) if validation else None,
        classes=classes,
        origins=origins,
    )
    numbers = {name: torch.tensor([n for n, _ in lines]) for name, lines in rows.items()}
    if source is not None:
        numbers["source"] = torch.tensor(source)
    used = {name: part.labels for name, part in data.named().items()}
    return scrutinise(data, numbers, used, cut)


CLEAN = [(0, 0), (1, 1), (2, 2), (3, 0)]


def test_clean_data_are_not_spoken_about() -> None:
    found = scrutiny(CLEAN, [(7, 0), (8, 1), (9, 2)], [(4, 0), (5, 1), (6, 2)], source=[10, 11])
    assert found.notes == ()
    assert found.facts == {
        "test_in_train": 0,
        "validation_in_train": 0,
        "test_in_validation": 0,
        "test_in_source": 0,
        "duplicates": 0,
        "conflicting": 0,
        "majority_accuracy": 1 / 3,
    }


def test_test_rows_that_are_in_train() -> None:
    found = scrutiny(CLEAN, [(7, 0), (2, 2), (1, 2), (1, 1)])
    assert found.facts["test_in_train"] == 3
    assert found.notes == (
        "3 of 4 (75.00%) test texts are in train too, 1 of them with another label "
        "(the first: test.csv line 3 is train.csv line 4)",
    )


def test_validation_that_is_in_train_and_test_that_is_in_validation() -> None:
    found = scrutiny(CLEAN, [(7, 0), (5, 1), (9, 2)], [(3, 0), (5, 1), (6, 2)])
    assert found.facts["validation_in_train"] == found.facts["test_in_validation"] == 1
    assert [note.partition(" (the")[0] for note in found.notes] == [
        "1 of 3 (33.33%) validation texts are in train too",
        "1 of 3 (33.33%) test texts are in validation too",
    ]


def test_a_random_cut_leaks_what_is_there_twice() -> None:
    train = [*CLEAN, (0, 0), (1, 1), (2, 2)]
    cut = Cut(train=torch.tensor([0, 1, 2, 3, 6]), validation=torch.tensor([4, 5]))
    found = scrutiny(train, [(7, 0), (8, 1), (9, 2)], cut=cut)
    assert found.facts["validation_in_train"] == 2
    assert found.facts["duplicates"] == 3
    assert found.notes == (
        "the validation split is cut from train, where some texts stand more than once: 2 of 2 "
        "(100.00%) of its texts are in what is left to train on too",
        "3 of 7 (42.86%) training texts repeat another one",
    )


def test_one_text_with_two_labels() -> None:
    found = scrutiny([*CLEAN, (1, 2), (1, 1)], [(7, 0), (8, 1), (9, 2)])
    assert found.facts["duplicates"] == 2
    assert found.facts["conflicting"] == 3
    assert found.notes == (
        "2 of 6 (33.33%) training texts repeat another one; 3 stand there with more than one "
        "label (train.csv line 3 as 'spam', train.csv line 6 as 'news')",
    )


def test_the_base_has_seen_the_test() -> None:
    found = scrutiny(CLEAN, [(7, 0), (8, 1), (9, 2)], source=[20, 8])
    assert found.facts["test_in_source"] == 1
    assert found.notes == (
        "1 of 3 (33.33%) test texts are among those that the base was trained on",
    )


def test_a_source_that_is_the_target_leaks_nothing_of_its_own() -> None:
    found = scrutiny(CLEAN, [(0, 0), (8, 1), (9, 2)], source=[0, 1, 2, 3])
    assert "test_in_source" not in found.facts
    assert len(found.notes) == 1


def test_classes_without_rows_are_named() -> None:
    found = scrutiny(CLEAN[:2], [(7, 1), (8, 2)], classes=(*NAMES, "none"))
    assert found.notes == (
        "1 of the 4 classes have no example; each counts as 0 in macro_f1: none",
        "train has no example of news",
        "test has no example of ham, each counting as 0 in its macro_f1",
    )


def test_names_that_say_no_label_or_nearly_the_same() -> None:
    found = scrutiny(CLEAN, [(7, 0), (8, 1), (9, 2)], classes=("Ham", "ham", "NaN"))
    assert found.notes == (
        "'Ham' and 'ham' are two classes, though they are easily confused",
        "'NaN' is a class like any other; remove its rows if it means: no label",
    )


def test_what_always_the_same_answer_would_reach() -> None:
    train = [(number, 0) for number in range(10, 30)] + [(30, 1), (31, 2), (32, 2)]
    found = scrutiny(train, [(7, 0), (8, 1), (9, 2), (4, 0)])
    assert found.facts["majority_accuracy"] == 0.5
    assert found.notes == (
        "train has 20 examples of 'ham' and 1 of 'spam': always answering 'ham' would be right in "
        "50.00% of the test; macro_f1 weighs all classes alike",
    )


def test_examples_that_say_next_to_nothing() -> None:
    found = scrutiny(CLEAN, [(7, 0), (-9, 1), (-10, 2)])
    assert found.notes == (
        "2 of 3 (66.67%) test texts are without two letters (the first: test.csv line 3)",
    )


def test_examples_that_are_all_the_same_are_refused() -> None:
    data = TextSplits(split([(0, 0), (0, 1)]), split([(1, 0)]), NAMES)
    with pytest.raises(DataError, match=r"all 2 training texts are the same as train row 0 \(c"):
        require_different(data, {"train": torch.tensor([4, 4])})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (tuple(map(str, range(18, 90))), True),
        (tuple(map(str, range(0, 100, 3))), True),
        (tuple(map(str, range(1, 101))), False),
        (tuple(map(str, range(100))), False),
        (tuple(f"{n}. FC" for n in range(18, 90)), False),
        (("3", "5", "7"), False),
    ],
)
def test_numbers_that_may_be_measured_are_named_with_what_learns_them(
    names: tuple[str, ...], said: bool
) -> None:
    rows = list(enumerate(range(len(names))))
    notes = scrutiny(rows, rows, classes=names).notes
    line = f"the {len(names)} classes are whole numbers, '{names[0]}' to '{names[-1]}'"
    assert any(note.startswith(line) and "task=regression" in note for note in notes) == said
