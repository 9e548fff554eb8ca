"""The notebooks run from top to bottom on a fresh root, and are kept without what they put out."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient

from lab import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))

SHOWN = {
    "01_first_comparison": (
        *("in a pack of 3", "95% confidence", "<td>head</td>", "<td>worse</td>"),
        *("<td>undecided</td>", "may be best", "would have found"),
        "learning rate, 0.003",
    ),
    "02_rank_and_alpha": (
        *("What is trained together", "What digits_rotated-mlp-lora-r4-a16-seed0 trains"),
        *("in a pack of 18", "95% confidence", "<td>lora alpha=16 rank=4</td>"),
        *("<td>worse</td>", "letters"),
    ),
    "03_read_the_evidence": (
        *("<td>full</td>", "'verdict': <Verdict.WORSE", "(3, 360) runs, test examples"),
        *("full runs, joint, examples against lora:  [0.", "McNemar(only_a=", "critical: 0.0"),
        *("head, lora: p = 0.0", "letters: {'dora': 'a'", "'head': 'b'", "'head': False"),
        *("margin: 0.5 points:   undecided  undecided  worse", "would have found: "),
        *("360 examples, 3 seeds: ", "95.00%: 94.", "taken for", "<iframe", "report.html"),
    ),
}
"""What a reader must find in each."""

PACKED = "experiment=demo hydra/launcher=packed"
ONE_PROCESS = {PACKED: f"{PACKED} hydra.launcher.processes=1"}
"""What the command of the first becomes: a process takes five seconds, and the second has two."""

PICTURES = {"01_first_comparison": 2, "02_rank_and_alpha": 2, "03_read_the_evidence": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, as a reader's is: the last notebook takes up the study of the first, or trains it."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def kernel(root: Path) -> Iterator[KernelManager]:
    """One for all, since each loads for seconds what the one before had loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADAPTERLAB_ROOT", str(root))
        patch.delenv("ADAPTERLAB_DATA_DIR", raising=False)
        patch.setenv("IPYTHONDIR", str(root / "ipython"))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        manager, client = start_new_kernel(kernel_name="python3", cwd=str(NOTEBOOKS[0].parent))
        client.stop_channels()
        yield manager
        manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_shows_what_the_text_speaks_of(
    path: Path, kernel: KernelManager
) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for written, small in ONE_PROCESS.items():
            cell.source = cell.source.replace(written, small)
    # No name of the notebook before is left.
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    NotebookClient(notebook, timeout=180, km=kernel).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    seen = "\n".join(text for output in outputs for text in _texts(output))
    assert [text for text in SHOWN[path.stem] if text not in seen] == []
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == PICTURES[path.stem]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_has_no_logic_of_its_own(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type != "code":
            continue
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert len(cell.source.splitlines()) <= 8
        if not cell.source.startswith("%%"):
            defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
            assert not any(isinstance(node, defined) for node in ast.walk(ast.parse(cell.source)))


def test_every_notebook_has_its_expectations() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(SHOWN) == list(PICTURES)


def _texts(output: Any) -> list[str]:
    """Everything that an output says, as a terminal or as a page."""
    data = output.get("data", {})
    return [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
