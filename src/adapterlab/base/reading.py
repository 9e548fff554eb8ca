"""Reading files that somebody else may have written: data come out of them, or a line of error.

A run's folder, a store's artifacts and an adapter's folder are handed from person to person. What
reads them here runs nothing that they hold, and is not to be drowned: by a file of a terabyte, by
YAML whose references grow to one, by JSON that is nested beyond all bounds.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from adapterlab.base.errors import first_line

MOST_BYTES = 64 * 2**20
"""Of a text file; those that this program writes have some kilobytes, or megabytes at most."""

_MOST_NODES = 1_000_000

_DEEP = 1000
"""So many nodes in one another libyaml is given at most; many more end the process."""


class UnreadableError(ValueError):
    """A file does not hold what it should; the text says in a few words why."""


def read_text(path: Path) -> str:
    """Return the text of a file of a reasonable size.

    Raises:
        OSError: it cannot be read.
        UnreadableError: it is too large, no ordinary file, or no UTF-8.
    """
    if path.exists() and not path.is_file():
        raise UnreadableError("it is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UnreadableError(f"it has more than {MOST_BYTES // 2**20} MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("it is no text in UTF-8") from None


def parse_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        UnreadableError: it is no JSON, or nested beyond bounds.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise UnreadableError("it is nested beyond bounds") from None
    except ValueError as error:
        raise UnreadableError(f"it is no JSON: {error}") from None


def parse_mapping(text: str) -> dict[str, Any]:
    """Return the object that a JSON text says.

    Raises:
        UnreadableError: it is no JSON object.
    """
    values = parse_json(text)
    if not isinstance(values, dict):
        raise UnreadableError("it is no JSON object")
    return values


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says: mappings, lists and plain values, and nothing else.

    Raises:
        UnreadableError: it is no such YAML, or its references make it larger than it looks.
    """
    try:
        values = _parsed(text)
        json.dumps(values)  # dates, sets, bytes, and keys that are no text
    except RecursionError:
        raise UnreadableError("it is nested beyond bounds") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The latter are of tags that a value does not fit: `!!int` of nothing, `!!timestamp x`.
        raise UnreadableError(first_line(error)) from None
    return values


def _parsed(text: str) -> Any:
    loader = _loader(text)
    if isinstance(loader, yaml.SafeLoader):
        return _built(loader)
    try:
        return _built(loader)
    except yaml.YAMLError:  # libyaml refuses some that is YAML, such as bytes in names of files
        return _built(yaml.SafeLoader(text))


def _loader(text: str) -> yaml.SafeLoader | yaml.CSafeLoader:
    """Return the loader that is quicker by seven times, unless it could run out of its stack.

    A node lies no deeper than there are brackets before it and columns.
    """
    brackets = text.count("[") + text.count("{")
    columns = max(map(len, text.split("\n")))
    if yaml.__with_libyaml__ and brackets + columns < _DEEP:
        return yaml.CSafeLoader(text)
    return yaml.SafeLoader(text)


def _built(loader: yaml.SafeLoader | yaml.CSafeLoader) -> Any:
    """Return what a document says, weighed before it is built: it is parsed once for both."""
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _weigh(root, {})
        return loader.construct_document(root)
    finally:
        loader.dispose()


def read_checkpoint(path: Path) -> Any:
    """Return what `torch.save` has written: tensors, numbers and texts in mappings; no code is run.

    Raises:
        UnreadableError: the file is missing, damaged, or holds something else.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror}") from None
    except Exception as error:  # the unpickler raises whatever damaged bytes lead it to
        asks = "weights only" in str(error).lower() or "weights_only" in str(error)
        why = "asks for code to be run, which is not done" if asks else "is damaged"
        raise UnreadableError(f"it {why}") from None


def _weigh(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return how many nodes there are below one when every reference is followed."""
    key = id(node)
    if key in known:
        if (weight := known[key]) is None:
            raise UnreadableError("it refers to itself")
        return weight
    known[key] = None
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inside = list(node.value)
    weight = 1 + sum(_weigh(part, known) for part in inside)
    if weight > _MOST_NODES:
        raise UnreadableError("its references make it larger than it looks")
    known[key] = weight
    return weight
