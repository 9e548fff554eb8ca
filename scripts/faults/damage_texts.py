"""Small data sets of texts as CSV, JSON lines and parquet, and what can be wrong in them."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faults.damage import Damage

SIZES = {"train": 40, "validation": 10, "test": 12}

_WORDS = {
    "ham": ["meet", "lunch", "Grüße", "tomorrow", "thanks"],
    "spam": ["buy", "now", "€9", "free", "win"],
}

Row = dict[str, Any]


def rows(count: int, rng: random.Random) -> list[Row]:
    """Texts that tell their label, each of them once; some have commas, quotes or line breaks."""
    made: list[Row] = []
    for number in range(count):
        label = ("ham", "spam")[number % 2]
        words = " ".join(rng.choices(_WORDS[label], k=6))
        odd = rng.choice(("", ", and", ' "so"', "\nnext line", " \U0001f600", ""))
        made.append({"text": f"{words}{odd} {number} {rng.randrange(10**6)}", "label": label})
    return made


def write(folder: Path, suffix: str, rng: random.Random) -> None:
    """Write a whole data set."""
    folder.mkdir()
    for name, count in SIZES.items():
        save(folder / f"{name}{suffix}", rows(count, rng))


def save(file: Path, made: list[Row]) -> None:
    """Write rows in the format of the file's suffix."""
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(made), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    else:
        mark = "\t" if file.suffix == ".tsv" else ","
        lines = [mark.join(made[0])]
        lines += [mark.join(_quoted(value) for value in row.values()) for row in made]
        file.write_text("\n".join(lines) + "\n")


def _quoted(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if re.search('[",\n\t]', text) else text


def _recoded(encoding: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        file.write_bytes(file.read_text().encode(encoding, errors="replace"))
        return f"{file.name} in {encoding}"

    return done


def _marked_twice(file: Path, rng: random.Random) -> str:
    file.write_bytes(b"\xef\xbb\xbf" * 2 + file.read_bytes())
    return f"{file.name} with two byte-order marks"


def _replaced(pattern: str, by: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        text = file.read_text()
        places = [match.span() for match in re.finditer(pattern, text)]
        start, end = rng.choice(places)
        file.write_text(text[:start] + by + text[end:])
        return f"{file.name} with {by[:20]!r} for characters {start} to {end}"

    return done


def _labels(*values: Any, share: float = 1.0) -> Damage:
    """Put other values for labels, in all rows or in some."""

    def done(file: Path, rng: random.Random) -> str:
        made = rows(SIZES[file.stem], rng)
        for number, row in enumerate(made):
            if rng.random() < share:
                row["label"] = values[number % len(values)]
        try:
            save(file, made)
        except pa.ArrowException:  # parquet has one type a column
            save(file, [row | {"label": values[0]} for row in made])
        return f"{file.name} with labels {values} in {share:.0%} of the rows"

    return done


def _columns(**names: str) -> Damage:
    """Call columns otherwise."""

    def done(file: Path, rng: random.Random) -> str:
        made = rows(SIZES[file.stem], rng)
        save(file, [{names.get(key, key): value for key, value in row.items()} for row in made])
        return f"{file.name} with columns {names}"

    return done


def _texts(value: Any, share: float) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        made = rows(SIZES[file.stem], rng)
        for row in made:
            if rng.random() < share:
                row["text"] = value
        made[0]["text"] = value
        try:
            save(file, made)
        except pa.ArrowException:
            save(file, [row | {"text": value} for row in made])
        return f"{file.name} with text {str(value)[:20]!r} in {share:.0%} of the rows"

    return done


def _header_only(file: Path, rng: random.Random) -> str:
    file.write_text("text,label\n")
    return f"{file.name} a header"


def _no_header(file: Path, rng: random.Random) -> str:
    file.write_text(file.read_text().partition("\n")[2])
    return f"{file.name} without a header"


def _old_line_ends(file: Path, rng: random.Random) -> str:
    end = rng.choice((b"\r", b"\r\n"))
    file.write_bytes(file.read_bytes().replace(b"\n", end))
    return f"{file.name} with line ends {end!r}"


def _renamed(name: str) -> Damage:
    def done(file: Path, rng: random.Random) -> str:
        place = file.with_name(name.format(stem=file.stem, suffix=file.suffix))
        file.rename(place)
        return f"{file.name} called {place.name}"

    return done


def _invalid_unicode(file: Path, rng: random.Random) -> str:
    made = rows(SIZES[file.stem], rng)
    wrong = pa.array([row["text"].encode("utf-16") for row in made], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(wrong), wrong.buffers())
    pq.write_table(pa.table({"text": texts, "label": [row["label"] for row in made]}), file)
    return f"{file.name} with strings that are not UTF-8"


def _one_array(file: Path, rng: random.Random) -> str:
    file.write_text(json.dumps(rows(SIZES[file.stem], rng), indent=1))
    return f"{file.name} one JSON array"


def _another_format_too(file: Path, rng: random.Random) -> str:
    other = file.with_suffix(".jsonl" if file.suffix == ".csv" else ".csv")
    save(other, rows(SIZES[file.stem], rng))
    return f"{other.name} beside {file.name}"


_DEEP = '{"text": ' + "[" * 100_000
_MISLED = {
    "labels of floats": _labels(0.0, 1.0),
    "labels of truth values": _labels(True, False),
    "labels missing": _labels(None, share=0.3),
    "one label": _labels("ham"),
    "a label with a space": _labels("ham ", share=0.2),
    "a label for each row": _labels(*(f"id{i}" for i in range(64))),
    "no column of labels": _columns(label="y"),
    "no column of texts": _columns(text="sentence"),
    "the same text in all rows": _texts("again", share=1.0),
    "an empty text": _texts("", share=0.0),
    "a text of white space": _texts(" \u200b\u3000", share=0.0),
    "a text of 3 million characters": _texts("so long " * 400_000, share=0.0),
    "texts of numbers": _texts(3.5, share=1.0),
    "another name for a split": _renamed("{stem}-set{suffix}"),
    "dev, training, testing": _renamed("{stem}_data.tsv"),
    "two formats of a split": _another_format_too,
}
_ENCODED = {
    "UTF-16": _recoded("utf-16"),
    "UTF-16 without a mark": _recoded("utf-16-le"),
    "Latin-1": _recoded("latin-1"),
    "cp1252": _recoded("cp1252"),
    "UTF-8 with a mark": _recoded("utf-8-sig"),
    "two byte-order marks": _marked_twice,
    "a NUL": _replaced(r"\w", "\0"),
    "old line ends": _old_line_ends,
}

DAMAGES: dict[str, dict[str, Damage]] = {
    ".csv": {
        **_MISLED,
        **_ENCODED,
        "a quote that does not close": _replaced(r"\n(?=\w)", '\n"'),
        "a column more in one row": _replaced(r",(?=ham|spam)", ",,"),
        "a column less in one row": _replaced(r",(ham|spam)\n", "\n"),
        "a column twice": _replaced(r"^text,label", "label,label"),
        "only a header": _header_only,
        "no header": _no_header,
    },
    ".jsonl": {
        **_MISLED,
        **_ENCODED,
        "a key twice": _replaced('"text": ', '"text": "a", "text": '),
        "a list of labels": _labels(["ham", "spam"]),
        "deep nesting": _replaced('{"text": ', _DEEP),
        "an endless number": _replaced('"label": "(ham|spam)"', '"label": ' + "9" * 5_000),
        "half a surrogate pair": _replaced(r'"text": "', r'"text": "\\ud800'.replace("\\\\", "\\")),
        "not a number": _replaced(r'"label": "(ham|spam)"', '"label": NaN'),
        "one array": _one_array,
    },
    ".parquet": {**_MISLED, "strings that are not UTF-8": _invalid_unicode},
}
"""By suffix."""
