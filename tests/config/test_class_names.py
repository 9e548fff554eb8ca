import pytest

from adapterlab.config.class_names import (
    complaint,
    easily_confused,
    folded,
    listed,
    quoted,
    seen,
    stands_for_no_label,
)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", ""], "number 2 of them is ''"),
        (["\u200b", "a"], r"number 1 of them is '\u200b'"),
        (["a", "b", "a"], "'a' is there 2 times"),
        (["neg", "pos", "neg "], "'neg' and 'neg ' differ by white space only"),
        (["new york", "new\u00a0york"], r"'new york' and 'new\xa0york' differ by white space only"),
        (["a", "a\u200d"], r"'a' and 'a\u200d' differ by characters that are not drawn only"),
        (
            ["gr\u00f6\u00dfer", "gro\u0308\u00dfer"],
            r"'größer' and 'gro\u0308\xdfer' differ by white space or Unicode form only",
        ),
    ],
)
def test_names_that_nobody_tells_apart(names: list[str], message: str) -> None:
    assert complaint(names) == message


@pytest.mark.parametrize(
    "names",
    [
        ["a", "A"],  # letters of a handwriting
        ["1", "01"],
        ["newyork", "new york"],
        ["\u4eba", "\u5165"],
        ["\u0628", "\u0629"],
        ["\U0001f468", "\U0001f469"],
    ],
)
def test_names_that_may_be_meant(names: list[str]) -> None:
    assert complaint(names) is None


def test_names_that_are_easily_confused() -> None:
    names = ["Positive", "positive", "1", "1.0", "01", "\uff12", "2", "nan", "NaN", "x"]
    assert easily_confused(names) == [
        ("Positive", "positive"),
        ("1", "1.0"),
        ("1", "01"),
        ("1.0", "01"),
        ("\uff12", "2"),
        ("nan", "NaN"),
    ]


def test_what_is_seen_and_what_is_meant() -> None:
    assert seen(" a\u3000\u200bb\n") == "a b"
    assert folded("Stra\u00dfe\u00a0\ufb01n") == "strasse fin"
    assert folded("A  B\n") == folded("\uff21\u3000b\ufeff") == "a b"
    assert folded("i\u0307") != folded("i")


def test_programs_write_missing_labels() -> None:
    assert list(filter(stands_for_no_label, ["NaN", "none", "null", "n", "N/A"])) == [
        "NaN", "null", "N/A",
    ]  # fmt: skip


def test_names_in_sentences_are_short() -> None:
    assert quoted("ab" * 20) == "'" + "ab" * 17 + "a...'"
    assert quoted("ab" * 1_000) == quoted("ab" * 20)
    assert listed(["a", "b "]) == "a, 'b '"
    assert listed(map(str, range(1_000))).endswith("10, 11, ... (1,000 in all)")
