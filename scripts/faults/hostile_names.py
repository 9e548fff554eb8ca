"""Attacks by names and texts, in tables, pages, cards, paths and URIs; and by folders of models."""

import csv
import html.parser
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from adapterlab.base.csv_cells import write_rows
from adapterlab.base.redaction import public, redacted, remember
from adapterlab.reporting.formatting import as_file_name
from adapterlab.reporting.page import Page, Picture, as_html, as_markdown
from adapterlab.reporting.tables.arms import Table
from faults.hostile import Lab, composed, evaluated, exported, must_refuse, refused

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "=HYPERLINK(\"http://x\",\"y\")",
            "\N{FULLWIDTH EQUALS SIGN}1", "=1", "--1", "-x")  # fmt: skip


MARKUP = (
    "<script>alert(1)</script>", "</title><script>x</script>", "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>", "javascript:alert(1)", "{{ 7 * 7 }}", "]]><script>x</script>",
    "[x](javascript:alert(1))", "![x](http://evil/x.png)", "```\n<script>x</script>\n```",
    "| a |\n\n<script>x</script>", "`<script>`", "&lt;script&gt;alert(1)&lt;/script&gt;",
)  # fmt: skip


def formulas(lab: Lab, folder: Path) -> str:
    """Write formulas behind blanks, quotes and separators, and read the file as spreadsheets do."""
    rng = lab.rng
    cells: list[object] = []
    for _ in range(200):
        before = rng.choice(
            ["", "", " ", "\t", "\r", "\n", "\ufeff", '"', "a;", "a\n", "a\t", "b,"]
        )
        cells.append(before + rng.choice(FORMULAS))
    numbers = [rng.choice([-1, 1]) * rng.random() for _ in range(50)]
    write_rows([["name", "value"], *zip(cells, numbers, strict=False)], folder / "cells.csv")
    text = (folder / "cells.csv").read_bytes().decode()
    with (folder / "cells.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [float(value) for _, value in rows] == numbers, "a number was hurt"
    for separator in (",", ";", "\t"):
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            for cell in row:
                bare = cell.lstrip(' \t\r\n\ufeff"\u200b')
                number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", bare)
                runs = bare[:1] in ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}")
                assert not runs or number, f"{separator!r} gives the cell {cell!r}"
    return "no cell is run, numbers are numbers"


_READ_OUT = ("alt", "aria-label", "title")  # never followed as an address


class _Parts(html.parser.HTMLParser):
    """Collects what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts, handlers and addresses that are none."""
        if tag in ("script", "iframe", "object", "embed", "svg"):
            self.found.append(tag)
        for name, value in attrs:
            address = "" if name in _READ_OUT else (value or "").strip().lower()
            if name.startswith("on") or address.startswith(("javascript:", "http")):
                self.found.append(f"{tag} {name}={value}")


def pages(lab: Lab, folder: Path) -> str:
    """Call everything in a report by markup: the study, arms, columns, notes, facts, pictures."""
    rng = lab.rng

    def text() -> str:
        return rng.choice(["", "lora "]) + rng.choice(MARKUP) + rng.choice(["", " rank=4"])

    rows = tuple((text(), text(), text()) for _ in range(4))
    table = Table(text(), ("arm", "verdict", text()), rows)
    page = Page(
        study=text(), about=text(), verdict=[text(), text()], tables=[table],
        pictures=[Picture("accuracy", text(), text(), b"<svg/>")], notes=[text()],
        facts=[(text(), text())], runs=table,
    )  # fmt: skip
    parts = _Parts()
    parts.feed(as_html(page))
    assert not parts.found, f"the page has {parts.found}"
    _require_dead(as_markdown(page), allowed_pictures=1)
    return "texts stay texts in HTML and Markdown"


def _require_dead(markdown: str, allowed_pictures: int = 0) -> None:
    """Require that a Markdown text has no HTML and no links."""
    fence = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    plain = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", fence.sub("", markdown))
    assert not re.search(r"(?<!\\)<[a-zA-Z/!]", plain), "it has HTML"
    assert len(re.findall(r"(?<!\\)\](?<!\\\])\(", plain)) <= allowed_pictures, "it has links"


def model_cards(lab: Lab, folder: Path) -> str:
    """Export a run whose name, classes and notes are markup."""
    values = json.loads((lab.run / "result.json").read_text())
    in_a_line = [text for text in MARKUP if "\n" not in text]
    classes = lab.rng.sample(in_a_line, len(values["classes"]))
    run = lab.changed(folder, lambda config: config["dataset"].update(classes=classes))
    values |= {"name": lab.rng.choice(MARKUP), "notes": list(MARKUP), "classes": classes}
    (run / "result.json").write_text(json.dumps(values))
    line = exported(lab, run, folder / "model")
    assert line.startswith("done"), line
    _require_dead((folder / "model" / "README.md").read_text())
    return "texts stay texts in the card"


def ways_up(lab: Lab, folder: Path) -> str:
    """Call data sets, models, strategies and studies by paths that lead out of their folder."""
    name = lab.rng.choice(
        ["../../x", "/tmp/x", "..", ".hidden", "a/b", "a\\b\x00", "a\n", "", "~x"]
    )
    place = lab.rng.choice(["dataset", "model", "adapter", "study", "label", "base"])

    def change(values: dict[str, Any]) -> None:
        match place:
            case "study":
                values["study"] = name
            case "label":
                values["model"]["label"] = name
            case "base":
                values["base"]["dataset"]["name"] = name
            case _:
                values[place]["name"] = name

    line = must_refuse(evaluated(lab, lab.changed(folder, change)))
    made = as_file_name(name)
    assert (folder / f"runs-{made}.csv").resolve().parent == folder.resolve()
    return line


def downloads_up(lab: Lab, folder: Path) -> str:
    """Let a run's data set be downloaded to a folder outside of the downloads."""
    from adapterlab.data.sources.download import download

    into = folder / "root" / "mlruns" / "data"
    up = lab.rng.choice(["../../../x", str(folder / "x"), "a/../../x", ".."])

    def fetch(root: Path) -> None:
        (root / up).mkdir(parents=True, exist_ok=True)
        (root / up / "train.parquet").touch()
        lab.canary.touch()

    return must_refuse(refused(lambda: str(download(fetch, into, up, ["train.parquet"]))))


def secrets(lab: Lab, folder: Path) -> str:
    """Hide a password in a URI in some of many ways; look for it in all that is written."""
    rng = lab.rng
    secret = "".join(rng.choices("abcdefghXYZ0123456789", k=12))
    odd = rng.choice(["", "@", "/", ":", "%2F", "'", '"', " ", "#", "?x=1"])
    password = f"{secret[:6]}{odd}{secret[6:]}"
    uri = rng.choice(
        [
            f"postgresql://me:{password}@host:5432/db",
            f"postgresql+psycopg2://me:{password}@host/db?sslmode=require",
            f"mysql://:{password}@host/db",
            f"http://me:{password}@host:5000",
            f"https://{secret}@host/path",
            f"postgresql://host/db?user=me&password={secret}",
            f"https://host/x?a=b&access_token={secret}",
            f"https://host/x?API%5FKEY={secret}",
            f"https://host/x#token={secret}",
        ]
    )
    values = {"tracking": {"uri": uri}, "overrides": [f"tracking.uri={uri}"], "n": -0.5}
    remember(uri)
    written = json.dumps(public(values))
    used = password if password in uri else secret
    said = redacted(f"tracking.uri={uri} cannot be used: no route for {used!r}")
    for text in (written, said):
        for half in (secret, secret[:6], secret[6:]):
            assert half not in text, f"{uri} is written as {text}"
    assert public(values)["n"] == -0.5
    return "hidden in files and lines"


def secret_of_a_run(lab: Lab, folder: Path) -> str:
    """Train with a password in the store's URI, and look for it in every file."""
    from adapterlab.runs.single import run
    from faults.hostile import SMALL

    secret = "".join(lab.rng.choices("abcdefghXYZ0123456789", k=16))
    os.chdir(folder)  # MLflow makes a folder here that is called as the URI's path
    uri = f"sqlite:///file:{folder}/other.db?uri=true&password={secret}"
    small = [option for option in SMALL if not option.startswith("base.")]
    config = composed(folder, *small, "base=scratch", f"tracking.uri='{uri}'", "resume=true")
    first = run(config)
    assert run(config).run_id == first.run_id, "resuming did not find the run"
    for path in folder.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), f"{path.name} has the password"
    return "in no file; resuming finds the run"


def model_with_code(lab: Lab, folder: Path) -> str:
    """Give a folder of a model with code of its own, pickled weights, or an adapter's base."""
    from transformers import BertConfig, BertForSequenceClassification

    from adapterlab.models.hub import hf, hf_tokenizer

    tiny = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=16, max_position_embeddings=16,
    )  # fmt: skip
    model = folder / "model"
    BertForSequenceClassification(tiny).save_pretrained(model)
    config = json.loads((model / "config.json").read_text())
    code = f"from pathlib import Path\nPath({str(lab.canary)!r}).touch()\n"
    kind = lab.rng.randrange(4)
    if kind == 0:
        auto = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Own"}
        (model / "own.py").write_text(code)
        (model / "config.json").write_text(
            json.dumps(config | {"model_type": "own", "auto_map": auto})
        )
    elif kind == 1:
        (model / "model.safetensors").unlink()
        torch.save({"bert.pooler.dense.bias": lab.trap()}, model / "pytorch_model.bin")
    elif kind == 2:
        adapter = {"peft_type": "LORA", "base_model_name_or_path": "/", "megatron_core": "own"}
        (model / "adapter_config.json").write_text(json.dumps(adapter))
    else:
        (model / "own.py").write_text(code)
        named = {"auto_map": {"AutoTokenizer": [None, "own.Own"]}}
        (model / "tokenizer_config.json").write_text(json.dumps(named))
        return refused(lambda: str(hf_tokenizer(str(model))))
    return must_refuse(refused(lambda: str(hf(2, name_or_path=str(model)))))


def files_of_others(lab: Lab, folder: Path) -> str:
    """Have what waits for a server name files outside of the run's folder."""
    from adapterlab.tracking.servers.delivery import deliver

    sent: list[str] = []

    class Client:
        def log_artifact(self, run_id: str, path: str, where: str | None) -> None:
            sent.append(Path(path).read_text())

        def log_artifacts(self, run_id: str, path: str, where: str | None) -> None:
            sent.extend(one.read_text() for one in Path(path).rglob("*") if one.is_file())

    (folder / "secret").write_text("secret")
    run = folder / "run"
    (run / "figures").mkdir(parents=True)
    (run / "figures" / "linked").symlink_to(folder / "secret")
    (run / "linked").symlink_to(folder / "secret")
    (run / "config.yaml").write_text("mine")
    named = ["../secret", str(folder / "secret"), "figures", "linked", "x/../../secret", ".."]
    paths = [*lab.rng.sample(named, 3), "config.yaml"]
    entries = [{"what": "file", "path": path, "where": None} for path in paths]
    deliver(Client(), "run", None, run, entries, lambda _: None)
    assert sent == ["mine"], f"{paths} sent {sent}"
    return "not sent"


def image_with_a_program(lab: Lab, folder: Path) -> str:
    """Call a PostScript file an image, where the interpreter of PostScript is a stranger's."""
    from adapterlab.data.sources.decode import Encoded, decode

    interpreter = folder / "bin" / "gs"
    interpreter.parent.mkdir()
    interpreter.write_text(f"#!/bin/sh\ntouch {lab.canary}\n")
    interpreter.chmod(0o755)
    path = folder / lab.rng.choice(["image.png", "image.jpg", "image.webp"])
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    encoded = Encoded(count=1, read=lambda i: path, name=lambda i: path.name)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{interpreter.parent}{os.pathsep}{before}"
    try:
        return must_refuse(refused(lambda: str(decode([encoded], None, title="images"))))
    finally:
        os.environ["PATH"] = before


def peft_folder(lab: Lab, folder: Path) -> str:
    """Give a folder of PEFT's with a pickle, endless patterns, or a configuration that is none."""
    from adapterlab.adapters import LoRA
    from adapterlab.adapters.formats.peft import load_peft, save_peft
    from adapterlab.models import MLP

    model = MLP((1, 4, 4), 3, widths=[8], generator=torch.Generator().manual_seed(0))
    adapted = LoRA(rank=2, alpha=4.0).apply(model)
    save_peft(adapted, folder)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    if lab.rng.randrange(3) == 0:
        (folder / "adapter_model.safetensors").unlink()
        torch.save(lab.trap(), folder / "adapter_model.bin")
    else:
        odd: list[Any] = [
            config | {"alpha_pattern": {"(.+)+x": 1.0}},
            config | {"alpha_pattern": {".*.*.*.*.*.*.*.*x": 1.0}},
            config | {"alpha_pattern": {"(": 1.0}},
            config | {"alpha_pattern": ["x"]},
            config | {"lora_alpha": "8"},
            config | {"corda_config": {"_target_": "os.system"}},
            config | {"init_lora_weights": ["os.system"]},
            [config],
        ]
        path.write_text(lab.rng.choice(["[" * 100_000, *map(json.dumps, odd)]))

    def load() -> str:
        load_peft(adapted, folder)
        return ""

    return must_refuse(refused(load))


ATTACKS = {
    "formulas in tables": formulas,
    "markup in a report": pages,
    "markup in a model card": model_cards,
    "names that lead out of a folder": ways_up,
    "downloads that lead out of their folder": downloads_up,
    "passwords in URIs": secrets,
    "a password in a run's store": secret_of_a_run,
    "a model's folder with code of its own": model_with_code,
    "files of others among what waits for a server": files_of_others,
    "PostScript that is called an image": image_with_a_program,
    "a PEFT folder with a pickle, or odd options": peft_folder,
}
