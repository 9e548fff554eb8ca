"""Which encoding a file of text has: what it says itself, what it can only be, or an error.

UTF-8, UTF-16 and UTF-32 are told by their bytes. Of the encodings of 8 bits, which any bytes fit,
only those of Western Europe are taken without being named, and only where the words look like it.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from charset_normalizer import from_bytes

from adapterlab.base.errors import DataError
from adapterlab.config.class_names import quoted

_CHUNK = 2**20
_SAMPLE = 2**16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", None),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_BETWEEN_LETTERS = "\u2019\u2018\u2013\u2014\u2026\u00b4\u00b7\u00ad"
_TOLD_BY_ZEROS = ["utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"]
_EAST_ASIAN = ("cp932", "gb18030", "cp949", "big5")
"""Few texts fit several of these, and a guess by how words look may leave out the right one."""
_FOREIGN = 0.4
"""Share of letters beyond ASCII from which on a text is in no language of Western Europe."""


class Encoding(NamedTuple):
    """How to read a file.

    Attributes:
        name: of Python's codec.
        note: what to say of it; None where nobody expects another one.
    """

    name: str
    note: str | None = None


def encoding_of(path: Path, named: str | None = None) -> Encoding:
    """Find out a file's encoding; the file is read through once, in pieces.

    Args:
        path: the file.
        named: the encoding that the user names; None to find it.

    Raises:
        DataError: there is no such encoding, the file is not in it, or nothing says which it is;
            the text names a line, and the encodings that would read it.
    """
    start = b"".join(_chunks(path, limit=4))
    if named is not None:
        try:
            name = codecs.lookup(named).name
        except LookupError:
            raise DataError(
                f"dataset.loader.encoding={named} is no encoding; such as utf-8, utf-16, cp1252, "
                "cp1251, gb18030, shift_jis"
            ) from None
        name = "utf-8-sig" if name == "utf-8" else name
        _require(path, name, named)
        return Encoding(name)
    for mark, name, said in _MARKS:
        if start.startswith(mark):
            _require(path, name, said or "UTF-8")
            return Encoding(name, said and f"read as {said}")
    if b"\0" in start and (wide := _wide(start)) is not None:
        _require(path, wide, wide.upper())
        return Encoding(wide, f"read as {wide.upper()}")
    return _narrow(path)


def _wide(start: bytes) -> str | None:
    """The encoding of wide characters, by where the zeros of its first two letters are."""
    zeros = tuple(byte == 0 for byte in start)
    return {
        (False, True, True, True): "utf-32-le",
        (True, True, True, False): "utf-32-be",
        (False, True, False, True): "utf-16-le",
        (True, False, True, False): "utf-16-be",
        (False, True): "utf-16-le",
        (True, False): "utf-16-be",
    }.get(zeros)


def _narrow(path: Path) -> Encoding:
    try:
        strict = codecs.getincrementaldecoder("utf-8")()
        for chunk in _chunks(path):
            strict.decode(chunk)
        strict.decode(b"", final=True)
    except UnicodeDecodeError:
        return _eight_bits(path)
    return Encoding("utf-8")


def _eight_bits(path: Path) -> Encoding:
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good = bad = first = lines = 0
    sample = bytearray()
    for chunk in _chunks(path):
        text = decoder.decode(chunk)
        if not chunk.isascii():
            wrong = [at for at, sign in enumerate(text) if "\udc80" <= sign <= "\udcff"]
            if wrong and not bad:
                first = lines + text.count("\n", 0, wrong[0]) + 1
            bad += len(wrong)
            good += sum(not sign.isascii() for sign in text) - len(wrong)
            if len(sample) < _SAMPLE:
                sample += b"\n".join(line for line in chunk.split(b"\n") if not line.isascii())
        lines += text.count("\n")
    rest = decoder.decode(b"", final=True)
    bad += len(rest)
    first = first or lines + 1
    if good >= bad:
        raise DataError(
            f"{path} is UTF-8 but for {bad:,} {'byte' if bad == 1 else 'bytes'}, the first in line "
            f"{first}; mend it, or set dataset.loader.encoding"
        )
    found = _western(bytes(sample[:_SAMPLE]))
    if found is None:
        raise _refusal(path, first, bytes(sample[:_SAMPLE]))
    _require(path, found.name, found.name)
    return found


def _western(sample: bytes) -> Encoding | None:
    for name in ("cp1252", "iso8859-15"):
        try:
            text = sample.decode(name)
        except UnicodeDecodeError:
            continue
        if _looks_western(text):
            return Encoding(
                name,
                f"read as {name} ({_words(text)}; dataset.loader.encoding names another)",
            )
    return None


def _looks_western(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    foreign = sum(not sign.isascii() for sign in letters)
    if foreign > _FOREIGN * max(len(letters), 1):
        return False
    for before, sign, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if sign.isascii():
            continue
        if sign == "\u00a4" or unicodedata.category(sign) == "Cc":
            return False
        inside = before.isalpha() and after.isalpha()
        if inside and not sign.isalpha() and sign not in _BETWEEN_LETTERS:
            return False
        if sign.isupper() and before.islower():
            return False
    return True


def _refusal(path: Path, line: int, sample: bytes) -> DataError:
    tried = [match.encoding for match in from_bytes(sample, cp_exclusion=_TOLD_BY_ZEROS)][:4]
    tried += [name for name in _EAST_ASIAN if name not in tried and _fits(sample, name)]
    options = [f"{name} ({_words(sample.decode(name, 'replace'))})" for name in tried]
    would = f", such as {', '.join(options)}" if options else ""
    return DataError(
        f"{path} is not UTF-8 in line {line}; set dataset.loader.encoding to what it is{would}, or "
        "save it as UTF-8"
    )


def _fits(sample: bytes, name: str) -> bool:
    try:
        sample.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _words(text: str) -> str:
    """Words by which a reader sees whether an encoding is the right one."""
    words = (word for word in re.findall(r"[^\s\",;|]+", text) if not word.isascii())
    return quoted(" ".join(list(dict.fromkeys(words))[:3]))


def _require(path: Path, name: str, said: str) -> None:
    decoder = codecs.getincrementaldecoder(name)()
    lines = 1
    try:
        for chunk in _chunks(path):
            lines += decoder.decode(chunk).count("\n")
        decoder.decode(b"", final=True)
    except UnicodeError:
        line = f" after line {lines}" if lines > 1 else ""
        raise DataError(f"{path} is not {said}{line}; mend it, or name another encoding") from None


def _chunks(path: Path, limit: int | None = None) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            read: Callable[[], bytes] = lambda: file.read(_CHUNK)  # noqa: E731
            if limit is not None:
                yield file.read(limit)
                return
            yield from iter(read, b"")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
