"""What MLflow keeps of our code with a model: each a file by itself."""

import ast
from pathlib import Path

from adapterlab.runs.export import served


def test_both_files_make_answers_of_outputs_in_the_same_way() -> None:
    written = set()
    for name in ("images.py", "texts.py"):
        text = (Path(served.__file__).parent / name).read_text(encoding="utf-8")
        (table,) = (
            node
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and node.name == "_table"
        )
        written.add(ast.unparse(table))
    assert len(written) == 1
