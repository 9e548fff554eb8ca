"""What is written beside an adapter in PEFT's format loads it, with its classes, by PEFT alone."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import perturb
from transformer_cases import encoder, tokens

from adapterlab.adapters import LoRA
from adapterlab.adapters.formats.peft import save_peft
from adapterlab.runs.results.artifacts import known_elsewhere

CLASSES = ("joy", 'so-so "ok"', "```\nimport os")

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")


def code_of(folder: Path) -> str:
    card = (folder / "README.md").read_text(encoding="utf-8")
    return (
        card.split("````")[1].removeprefix("python\n").replace('"this folder"', repr(str(folder)))
    )


@pytest.mark.parametrize("base_name", ["someone/model", None])
def test_the_card_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_name: str | None
) -> None:
    """The base has a head for two classes, and a name that is nobody's path."""
    pytest.importorskip("peft")
    ours = LoRA(rank=2, alpha=3, init="pissa").apply(encoder("bert"))
    perturb(ours)
    base = encoder("bert").model
    config = type(base.config).from_dict({**base.config.to_dict(), "id2label": {0: "a", 1: "b"}})
    of_two = type(base)(config)
    body = {k: v for k, v in base.state_dict().items() if not k.startswith("classifier")}
    of_two.load_state_dict(body, strict=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "adapter"
    with contextlib.redirect_stderr(io.StringIO()):
        of_two.save_pretrained("someone/model")
        save_peft(ours, folder, base_name=base_name, classes=CLASSES)
        found: dict[str, Any] = {}
        exec(code_of(folder).replace("the base model", "someone/model"), found)
    model, batch = found["model"], tokens(ours)
    torch.testing.assert_close(model(**batch).logits, ours.eval()(batch), rtol=1e-5, atol=1e-5)
    assert model.config.id2label == dict(enumerate(CLASSES))


def test_a_path_is_no_name_that_others_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "someone" / "model"
    folder.mkdir(parents=True)
    assert known_elsewhere("distilbert-base-uncased") == "distilbert-base-uncased"
    assert known_elsewhere("other/model") == "other/model"
    for path in (str(folder), "someone/model", "/nowhere/else", "./there", "~/model", "", None):
        assert known_elsewhere(path) is None, path
    config = folder / "config.json"
    config.write_text('{"_name_or_path": "other/model"}')
    # What a folder's model was made from is another model.
    assert known_elsewhere(str(folder)) is None
