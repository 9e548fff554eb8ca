"""Which columns of a table are what: as the user names them, or by the names that people give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import listed

USUAL: Mapping[str, tuple[str, ...]] = {
    "text": (
        *("text", "sentence", "review", "content", "comment", "tweet", "message", "body", "post"),
        *("document", "utterance", "question", "headline", "v2"),
    ),
    "label": (
        *("label", "labels", "class", "category", "target", "sentiment", "intent", "topic"),
        *("emotion", "y", "v1"),
    ),
    "image": ("img", "image", "file", "filename", "file_name", "image_path", "path", "image_id"),
    "id": ("id", "idx", "guid", "uid", "uuid", "example_id"),
    "split": ("split", "partition"),
}
"""Names of columns by what is in them, the likeliest first, in lower case."""

SECOND = "second text"
"""What the second column of pairs of texts holds."""

MORE = "label "
"""What roles of further columns of labels begin with, where there is one for each label."""

OPTIONAL = ("id", "split")
"""What a table may lack."""


@dataclass(frozen=True)
class Columns:
    """Names of columns by what is in them; None where it is to be found, or there is none.

    Attributes:
        text: the texts, or encoded images, or names of files; two of pairs of texts.
        label: the labels; several columns where each is one label.
        id: what the user calls a row.
        split: the name of each row's split.
        group: rows of one group are never parted.
    """

    text: str | Sequence[str] | None = None
    label: str | Sequence[str] | None = None
    id: str | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Found:
    """Columns of one table.

    Attributes:
        names: by what is in them: text, label and whichever else there is.
        guessed: what of it no option names, and is called otherwise than the first usual name.
    """

    names: Mapping[str, str]
    guessed: Mapping[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of the labels."""
        return tuple(n for role, n in self.names.items() if role == "label" or role[:6] == MORE)

    def note(self) -> str | None:
        """What was guessed, in words; None if nothing was."""
        if not self.guessed:
            return None
        said = " and ".join(f"the {role} is in {name!r}" for role, name in self.guessed.items())
        options = [f"dataset.loader.{role}_column" for role in self.guessed]
        others = "names another" if len(options) == 1 else "name others"
        return f"{said}, by the names of the columns ({' and '.join(options)} {others})"


def find(
    path: Path, existing: Sequence[str], wanted: Columns, *, content: str = "text", labels: bool
) -> Found:
    """Find the columns of a table.

    Args:
        path: of the table, for errors.
        existing: names of all of its columns.
        wanted: those that are named.
        content: what the examples are: ``text`` or ``image``.
        labels: whether the table has to have a column of labels.

    Raises:
        DataError: one that is needed cannot be told; the text lists the columns that there are.
    """
    first, second = parts_of(wanted.text)
    label, *more = _labels(wanted.label)
    roles: dict[str, str | None] = {content: first, "label": label}
    roles |= {f"{MORE}{number}": name for number, name in enumerate(more, 2)} if labels else {}
    if second is not None:
        roles[SECOND] = second
    if not labels:
        del roles["label"]
    roles |= {"id": wanted.id, "split": wanted.split, "group": wanted.group}
    names = {role: name for role, name in roles.items() if name is not None}
    guessed = {}
    for role, name in roles.items():
        if name is None and role in USUAL:
            guess = _guess(path, role, existing, names.values())
            if guess is not None:
                names[role] = guessed[role] = guess
    lacking = [role for role in roles if role not in names and role in (content, "label")]
    left = [name for name in existing if name and name not in names.values()]
    if len(lacking) == 1 and len(left) == 1:
        names[lacking[0]] = guessed[lacking[0]] = left[0]
    elif lacking:
        options = " and ".join(f"dataset.loader.{role}_column" for role in lacking)
        headless = "; a file without a header needs dataset.loader.columns=[...]"
        raise DataError(
            f"{path} has no column {' and no column '.join(lacking)}; it has: "
            f"{listed(existing) or 'nothing'}; set {options}"
            + (headless if path.suffix.lower() in (".csv", ".tsv", ".tab") else "")
        )
    unusual = {r: n for r, n in guessed.items() if n != USUAL[r][0] and r not in OPTIONAL}
    return Found(names, unusual)


def _labels(label: str | Sequence[str] | None) -> Sequence[str | None]:
    """The columns of labels, one at the least; None for one that is to be found."""
    if label is None or isinstance(label, str):
        return (label,)
    if not label or len(set(label)) < len(label):
        raise DataError(
            f"dataset.loader.label_column=[{','.join(label)}] should name columns, each once"
        )
    return tuple(label)


def parts_of(text: str | Sequence[str] | None) -> tuple[str | None, str | None]:
    """Return the column of texts, and the second one where there are pairs.

    Raises:
        DataError: there are other than one or two, or one twice.
    """
    if text is None or isinstance(text, str):
        return text, None
    if len(text) == 1:
        return text[0], None
    if len(text) != 2 or text[0] == text[1]:
        raise DataError(
            f"dataset.loader.text_column=[{','.join(text)}] should be one column, or two of pairs"
        )
    return text[0], text[1]


def _guess(path: Path, role: str, existing: Sequence[str], taken: object) -> str | None:
    for usual in USUAL[role]:
        named = [name for name in existing if name.strip().casefold() == usual]
        if role in OPTIONAL and len(named) != 1:
            continue
        if len(set(named)) > 1:
            raise DataError(
                f"{path} has columns {', '.join(named)}; set dataset.loader.{role}_column to one"
            )
        if named and named[0] not in taken:  # type: ignore[operator]
            return named[0]
    return None
