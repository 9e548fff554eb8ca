"""Files are written whole or not at all, and are what is in them: equal contents, equal bytes."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adapterlab.base.files import write_tensors, write_torch

TENSORS = {
    "layers.1.weight": torch.arange(6, dtype=torch.float64).view(2, 3),
    "layers.0.weight": torch.tensor([1.5, -2.0]),
    "steps": torch.tensor(3),
}

METADATA = {
    "usual": {"format": "one", "strategy": "LoRA", "options": "{}", "extra": '{"a": [1, 2]}'},
    "accents, quotes and control characters": {
        "classes": 'café "x" \\ / \N{FIRE}',
        "note": "tab\tline\nbell\x07 del\x7f",
        "empty": "",
    },
}


@pytest.mark.parametrize("case", METADATA)
def test_equal_contents_give_equal_bytes(case: str, tmp_path: Path) -> None:
    metadata = METADATA[case]
    backwards = dict(reversed(metadata.items())), dict(reversed(TENSORS.items()))
    path, seen = tmp_path / "some.safetensors", set()
    for _ in range(8):  # the library draws another order for every file
        write_tensors(path, TENSORS, metadata)
        seen.add(path.read_bytes())
        write_tensors(path, backwards[1], backwards[0])
        seen.add(path.read_bytes())
    assert len(seen) == 1
    loaded = load_file(path)
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == metadata


def test_the_library_alone_would_not_do(tmp_path: Path) -> None:
    """If this fails, `write_tensors` need not order them."""
    path, seen = tmp_path / "some.safetensors", set()
    for _ in range(64):
        save_file(TENSORS, path, METADATA["usual"])
        seen.add(path.read_bytes())
    assert len(seen) > 1


def test_the_same_is_written_to_several_files_the_first_one_first(tmp_path: Path) -> None:
    best, last = tmp_path / "best.ckpt", tmp_path / "missing" / "last.ckpt"
    with pytest.raises(FileNotFoundError):
        write_torch(best, TENSORS, last)
    assert torch.load(best, weights_only=True).keys() == TENSORS.keys()
    last.parent.mkdir()
    write_torch(best, {}, last)
    write_torch(best, TENSORS, last)
    assert best.read_bytes() == last.read_bytes()
    assert torch.load(last, weights_only=True).keys() == TENSORS.keys()
