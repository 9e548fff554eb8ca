"""What can be wrong with the files of a data set, whatever their format: their bytes, their place.

A damage is a function ``(file, rng) -> str`` that does it and says what it did, so that it can be
done again.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, random.Random], str]
"""Does something to one file, and says what."""


def nothing(file: Path, rng: random.Random) -> str:
    """Leave it as it is: what is whole must train."""
    return "nothing"


def truncated(file: Path, rng: random.Random) -> str:
    """Cut the end off."""
    content = file.read_bytes()
    keep = rng.randrange(len(content))
    file.write_bytes(content[:keep])
    return f"{file.name} cut to {keep} of {len(content)} bytes"


def flipped(file: Path, rng: random.Random) -> str:
    """Flip some bits."""
    content = bytearray(file.read_bytes())
    bits = [rng.randrange(8 * len(content)) for _ in range(rng.choice((1, 3, 20)))]
    for bit in bits:
        content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    return f"{file.name} with bits {bits} flipped"


def zeroed(file: Path, rng: random.Random) -> str:
    """Overwrite a block with zeros, as a disk does that lost a sector."""
    content = bytearray(file.read_bytes())
    start = rng.randrange(len(content))
    size = min(rng.choice((1, 64, 512)), len(content) - start)
    content[start : start + size] = bytes(size)
    file.write_bytes(content)
    return f"{file.name} with {size} zero bytes at {start}"


def shuffled_blocks(file: Path, rng: random.Random) -> str:
    """Move a part to the front, as a broken download does."""
    content = file.read_bytes()
    at = rng.randrange(1, len(content))
    file.write_bytes(content[at:] + content[:at])
    return f"{file.name} turned round at byte {at}"


def empty(file: Path, rng: random.Random) -> str:
    """Leave no byte."""
    file.write_bytes(b"")
    return f"{file.name} empty"


def folder_instead(file: Path, rng: random.Random) -> str:
    """Put a folder in its place."""
    file.unlink()
    file.mkdir()
    return f"{file.name} a folder"


def link_loop(file: Path, rng: random.Random) -> str:
    """Put a link to itself in its place."""
    file.unlink()
    file.symlink_to(file)
    return f"{file.name} a link to itself"


def link_to_nothing(file: Path, rng: random.Random) -> str:
    """Put a link to nothing in its place."""
    file.unlink()
    file.symlink_to(file.parent / "gone")
    return f"{file.name} a link to nothing"


def unreadable(file: Path, rng: random.Random) -> str:
    """Let reading fail: by permission, or for root, who may read all, by a file that fails."""
    if os.geteuid():
        file.chmod(0)
        return f"{file.name} without permission"
    file.unlink()
    file.symlink_to("/proc/self/mem")
    return f"{file.name} a link to /proc/self/mem"


def missing(file: Path, rng: random.Random) -> str:
    """Take it away."""
    file.unlink()
    return f"{file.name} gone"


def packed(file: Path, rng: random.Random) -> str:
    """Leave only an archive of it."""
    shutil.make_archive(str(file.with_suffix("")), "zip", file.parent, file.name)
    file.unlink()
    return f"{file.stem}.zip instead of {file.name}"


def other_text(file: Path, rng: random.Random) -> str:
    """Put a web page in its place, as a download that needed a login leaves."""
    file.write_text("<!DOCTYPE html>\n<html><body>Please log in, or not.</body></html>\n")
    return f"{file.name} a web page"


ANY_FILE: dict[str, Damage] = {
    "whole": nothing,
    "truncated": truncated,
    "bits flipped": flipped,
    "a block of zeros": zeroed,
    "parts in another order": shuffled_blocks,
    "empty": empty,
    "a folder instead": folder_instead,
    "a link to itself": link_loop,
    "a link to nothing": link_to_nothing,
    "cannot be read": unreadable,
    "missing": missing,
    "an archive instead": packed,
    "a web page instead": other_text,
}
"""Damages of every format."""
