"""Attacks by files: YAML, JSON, pickles, safetensors, folders of models and adapters, artifacts."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

from adapterlab.runs.folders.folder import RunFolder
from adapterlab.tracking.stores.uris import default_uri
from faults.hostile import Lab, composed, evaluated, must_refuse, refused


def yaml_tags(lab: Lab, folder: Path) -> str:
    """Write a configuration in YAML that builds Python objects."""
    run = lab.copied(folder)
    tag = lab.rng.choice(["object/apply:os.system", "object/new:os.system", "name:os.system"])
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(f"{text}extra: !!python/{tag} ['touch {lab.canary}']\n")
    return must_refuse(evaluated(lab, run))


def odd_yaml(lab: Lab, folder: Path) -> str:
    """Write YAML that grows without end, refers to itself, or is none."""
    run = lab.copied(folder)
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    text = lab.rng.choice(
        [bomb, "a: &a [*a]", "[" * 100_000, "a: 2020-01-01", "? [1, 2]\n: 3", "!!set {a, b}",
         "\x00", "", "- a", "model: 3", "&a {<<: *a}", "a: !!binary eA=="]
    )  # fmt: skip
    (run / "config.yaml").write_text(text)
    return must_refuse(evaluated(lab, run))


def odd_result(lab: Lab, folder: Path) -> str:
    """Write a result that is nested without end, of other types, or names odd runs and texts."""
    run = lab.copied(folder)
    path = run / "result.json"
    values = json.loads(path.read_text())
    odd: list[Any] = [
        "[" * 200_000,
        "{}",
        "[]",
        values | {"metrics": "many"},
        values | {"history": {"first": {}}},
        values | {"classes": 3},
        values | {"name": "\x1b]0;owned\x07<script>alert(1)</script>\n# x"},
        values | {"tags": values["tags"] | {"base_run_id": "../../../../etc/passwd"}},
        values | {"tags": values["tags"] | {"base_run_id": "' OR 1=1 --"}},
        values | {"notes": ["=cmd|' /C calc'!A0", "![x](javascript:alert(1))"]},
        values | {"run_id": "..", "folder": "/"},
    ]
    content = lab.rng.choice(odd)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    # In a root without the base, so that what is said of it counts.
    return evaluated(lab, run, root=lab.rng.choice([lab.root, folder / "root"]))


def huge_file(lab: Lab, folder: Path) -> str:
    """Make a text file as large as a disk, without taking its room."""
    run = lab.copied(folder)
    path = run / lab.rng.choice(["config.yaml", "result.json"])
    with path.open("wb") as file:
        file.truncate(2**40)
    return must_refuse(evaluated(lab, run))


def pickled_checkpoint(name: str) -> Callable[[Lab, Path], str]:
    """Return the attack that puts a pickle where a training goes on from."""

    def attack(lab: Lab, folder: Path) -> str:
        from adapterlab.runs.single import run

        config = composed(lab.root, "dataset=digits_rotated", "limit=64", "epochs=2",
                          "base.epochs=1", "hardware=cpu", "hardware.threads=1", "tracking=none",
                          "hardware.precision=32-true", "resume=true",
                          f"seed={lab.rng.randrange(1000)}")  # fmt: skip
        home = RunFolder.of(config)
        home.checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.copy(lab.run / "config.yaml", home.config)
        data_hash = json.loads((lab.run / "result.json").read_text())["data_hash"]
        (home.path / "data_hash").write_text(data_hash)
        shutil.copy(lab.run / "provenance.json", home.path / "provenance.json")
        saved = lab.rng.choice(
            [
                lab.trap(),
                {"state_dict": {"w": lab.trap()}},
                {"epoch": 0, "callbacks": {"x": lab.trap()}},
                [lab.trap()],
                {"pytorch-lightning_version": "0.0.1", "hparams": lab.trap()},
            ]
        )
        torch.save(saved, home.checkpoints / name)
        try:
            return must_refuse(refused(lambda: run(config).name))
        finally:
            shutil.rmtree(home.path)

    return attack


def no_checkpoint(lab: Lab, folder: Path) -> str:
    """Put what is no checkpoint, or another model's, where a training goes on from."""
    from adapterlab.training.checkpoints import whole

    state = {"model.model.head.weight": torch.zeros(2, 3)}
    good: dict[str, Any] = {
        "epoch": 0, "global_step": 1, "state_dict": state, "loops": {}, "callbacks": {},
        "optimizer_states": [], "lr_schedulers": [], "history": {1: {"val/loss": 1.0}},
    }  # fmt: skip
    path = folder / "last.ckpt"
    torch.save(good, path)
    assert whole(path, state) is not None
    part = lab.rng.choice(list(good))
    changed: Any = lab.rng.choice(
        [
            good | {part: None},
            good | {"history": {1: "x"}},
            good | {"history": {"x": {"val/loss": 1.0}}},
            good | {"state_dict": {"model.model.head.weight": torch.zeros(3, 3)}},
            good | {"state_dict": {"model.model.head.weight": "zeros"}},
            good | {"state_dict": state | {"model.model.other": torch.zeros(1)}},
            [good],
            torch.zeros(3),
            3,
        ]
    )
    torch.save(changed, path)
    return must_refuse(refused(lambda: str(whole(path, state))))


def pickled_base(lab: Lab, folder: Path) -> str:
    """Have a run start from a pickle, as `base=checkpoint` does."""
    path = folder / lab.rng.choice(["weights.pt", "weights.bin", "weights.ckpt", "weights"])
    torch.save(lab.rng.choice([lab.trap(), {"state_dict": lab.trap()}, {"w": lab.trap()}]), path)
    base = {"kind": "checkpoint", "head": "new", "path": str(path), "shape": None, "classes": None}
    run = lab.changed(folder, lambda values: values.update({"base": base}))
    return must_refuse(evaluated(lab, run))


def odd_safetensors(lab: Lab, folder: Path) -> str:
    """Write an adapter with an absurd header, absurd shapes, or metadata that are none."""
    run = lab.copied(folder)
    path = run / "adapter.safetensors"
    tensors = load_file(path)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    metadata = dict(header["__metadata__"])

    def headed(changed: Any, size: int | None = None) -> bytes:
        text = json.dumps(changed).encode()
        given = len(text) if size is None else size
        return struct.pack("<Q", given) + text + content[8 + length :]

    first = next(iter(tensors))
    grown = header | {first: header[first] | {"shape": [10**9, 10**9]}}
    beyond = header | {first: header[first] | {"data_offsets": [0, 2**62]}}
    kind = lab.rng.randrange(9)
    if kind < 5:
        path.write_bytes(
            [
                headed(header, 2**63),
                headed(header, 99_999_999),
                headed(grown),
                headed(beyond),
                content[: length // 2],
            ][kind]
        )
    else:
        nested = "[" * 100_000
        save_file(
            tensors,
            path,
            [
                metadata | {"options": nested},
                metadata | {"extra": "\x1b[31m{", "options": "3"},
                {key: value for key, value in metadata.items() if key != "options"},
                metadata | {"strategy": "os.system\n\x1b[31m"},
            ][kind - 5],
        )
    return must_refuse(evaluated(lab, run))


def vast_adapter(lab: Lab, folder: Path) -> str:
    """Write an adapter with tensors of a terabyte, in a file that takes no room."""
    run = lab.copied(folder)
    path = run / "adapter.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    size = 2**40
    names = [name for name in header if name != "__metadata__"]
    start = 0
    for name in names:
        header[name] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + start)
    return must_refuse(evaluated(lab, run))


def replaced_artifact(lab: Lab, folder: Path) -> str:
    """Replace a file of a run in the store: its configuration, or its adapter."""
    root = folder / "root"
    shutil.copytree(lab.root / "mlruns", root / "mlruns")
    artifacts = _artifacts(lab, lab.run_id, root)
    kind = lab.rng.randrange(3)
    if kind == 0:
        values = yaml.safe_load((artifacts / "config.yaml").read_text())
        values["model"] |= {"_target_": "os.system", "command": f"touch {lab.canary}"}
        (artifacts / "config.yaml").write_text(yaml.safe_dump(values))
    elif kind == 1:
        path = artifacts / "adapter" / "adapter.safetensors"
        torch.save(lab.trap(), path)
    else:
        _other_weights(artifacts / "adapter" / "adapter.safetensors")
    with _stood_in(lab, artifacts):
        return must_refuse(evaluated(lab, lab.run_id))


def replaced_base(lab: Lab, folder: Path) -> str:
    """Replace a base's weights in the store, in a root that has to fetch it from there."""
    result = json.loads((lab.run / "result.json").read_text())
    base_id = result["tags"]["base_run_id"]
    artifacts = _artifacts(lab, base_id, folder / "root")
    shutil.copytree(Path(_location(lab, base_id)), artifacts)
    _other_weights(artifacts / "adapter" / "adapter.safetensors")
    bases = lab.root / "mlruns" / "runs" / "bases"
    away = folder / "bases"
    bases.rename(away)
    try:
        with _stood_in(lab, artifacts, base_id):
            line = must_refuse(evaluated(lab, lab.run))
        kept = [path.name for path in bases.rglob("adapter.safetensors")]
        assert not kept, "the stranger's base was kept"
        evaluated(lab, lab.run)  # the store's own is taken, and kept
        assert [*bases.rglob("adapter.safetensors")], "the store's own base was not kept"
    finally:
        shutil.rmtree(bases, ignore_errors=True)
        away.rename(bases)
    return line


def linked_artifact(lab: Lab, folder: Path) -> str:
    """Let an artifact be a link to somewhere else."""
    run = lab.copied(folder)
    name = lab.rng.choice(["config.yaml", "adapter.safetensors", "result.json"])
    (run / name).unlink()
    (run / name).symlink_to(lab.rng.choice(["/etc/passwd", "/dev/zero", "/dev/stdin", "/"]))
    return must_refuse(evaluated(lab, run))


class _stood_in:  # noqa: N801  # a context manager of a few lines
    """Let a run's artifacts be others while it is entered."""

    def __init__(self, lab: Lab, artifacts: Path, run_id: str | None = None) -> None:
        self.own = Path(_location(lab, run_id or lab.run_id))
        self.aside = self.own.with_name("aside")
        self.artifacts = artifacts

    def __enter__(self) -> None:
        self.own.rename(self.aside)
        shutil.copytree(self.artifacts, self.own)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.own)
        self.aside.rename(self.own)


def _location(lab: Lab, run_id: str) -> str:
    client = MlflowClient(default_uri(lab.root / "mlruns"))
    return str(client.get_run(run_id).info.artifact_uri).removeprefix("file://")


def _artifacts(lab: Lab, run_id: str, root: Path) -> Path:
    """Return where a copy of the store has a run's artifacts."""
    own = Path(_location(lab, run_id))
    return root / own.relative_to(lab.root)


def _other_weights(path: Path) -> None:
    """Change the weights of a file, and nothing else about it."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({name: t + 0.01 for name, t in load_file(path).items()}, path, metadata)


ATTACKS = {
    "YAML that builds Python objects": yaml_tags,
    "YAML without end, or none": odd_yaml,
    "a result that is none": odd_result,
    "a text of a terabyte": huge_file,
    "a pickle as last.ckpt": pickled_checkpoint("last.ckpt"),
    "a pickle as lane.ckpt": pickled_checkpoint("lane.ckpt"),
    "a checkpoint that is none": no_checkpoint,
    "a pickle as the base": pickled_base,
    "safetensors with odd headers and metadata": odd_safetensors,
    "safetensors with tensors of a terabyte": vast_adapter,
    "an artifact that was replaced": replaced_artifact,
    "a base that was replaced in the store": replaced_base,
    "a link to somewhere else": linked_artifact,
}
