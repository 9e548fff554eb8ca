"""Attacks by what a configuration names: code of others, code of ours that is for other things."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.hostile import Lab, composed, evaluated, exported, must_refuse, refused

Values = dict[str, Any]


def _nodes(values: Values) -> dict[str, Values]:
    """Return the places at which a configuration names code."""
    return {
        "model": values["model"],
        "adapter": values["adapter"],
        "dataset.loader": values["dataset"]["loader"],
        "base.dataset.loader": values["base"]["dataset"]["loader"],
    }


def _put(values: Values, place: str, target: str, **options: Any) -> None:
    """Have a place name a target, with options that would do harm."""
    node = _nodes(values)[place]
    name = node.get("name")
    node.clear()
    node |= {"_target_": target, **options} | ({"name": name} if name else {})


def _harm(lab: Lab) -> list[tuple[str, Values]]:
    """Return targets that would leave the canary, and their options."""
    touch, canary = f"touch {lab.canary}", str(lab.canary)
    module = lab.module()
    return [
        ("os.system", {"command": touch}),
        ("posix.system", {"command": touch}),
        ("subprocess.getoutput", {"cmd": touch}),
        ("subprocess.Popen", {"args": ["touch", canary]}),
        ("builtins.eval", {"source": f"open({canary!r}, 'w')"}),
        ("builtins.open", {"file": canary, "mode": "w"}),
        ("pathlib.Path.touch", {"self": canary}),
        ("runpy.run_module", {"mod_name": module}),
        ("importlib.import_module", {"name": module}),
        (f"{module}.run", {}),
        (f"{module}.sub.run", {}),
        ("hydra.utils.instantiate", {"config": {"_target_": "os.system", "command": touch}}),
        ("torch.load", {"f": canary}),
        ("shutil.copyfile", {"src": "/etc/hostname", "dst": canary}),
        ("adapterlab.app.cli.os.system", {"command": touch}),
        ("adapterlab.models.os.system", {"command": touch}),
        ("adapterlab.models.hub.Path.touch", {"self": canary}),
        ("adapterlab.data.sources.download.Path.touch", {"self": canary}),
        ("adapterlab.data.sources.hub_text.download", {"fetch": 1, "into": canary}),
        ("adapterlab.adapters.checkpoint.save_file", {"tensors": {}, "filename": canary}),
        ("adapterlab.adapters.save_adapter", {"adapted": 1, "path": canary}),
        ("adapterlab.models.hub.AutoTokenizer.from_pretrained", {"x": 1}),
        ("adapterlab.adapters.Strategy", {}),
        ("adapterlab.adapters.strategy.nn.Module", {}),
        ("adapterlab..models.MLP", {}),
        ("adapterlab.models.MLP\nos.system", {}),
        ("adapterlab_evil.models.MLP", {}),
        ("", {}),
    ]


def _one_place(place: str) -> Callable[[Lab, Path], str]:
    def attack(lab: Lab, folder: Path) -> str:
        target, options = lab.rng.choice(_harm(lab))
        run = lab.changed(folder, lambda values: _put(values, place, target, **options))
        # The base of another root is not there, so that its configuration counts as well.
        line = must_refuse(evaluated(lab, run, root=folder / "root"))
        exported(lab, run, folder / "model")
        return line

    return attack


def every_target(lab: Lab, folder: Path) -> str:
    """Name each of the targets at each of the places, through the function that looks at them."""
    from adapterlab.config.targets import prepared

    places = ("model", "adapter", "dataset.loader", "model.tokenizer")
    for target, options in _harm(lab):
        for place in places:
            must_refuse(refused(lambda t=target, o=options, p=place: _called(prepared, t, o, p)))  # type: ignore[misc]
    return "refused in one line"


def _called(prepared: Any, target: str, options: Values, place: str) -> str:
    return str(prepared({"_target_": target, **options}, place)())


def allows_itself(lab: Lab, folder: Path) -> str:
    """Let the run's own configuration allow the stranger's module."""
    module = lab.module()

    def change(values: Values) -> None:
        _put(values, lab.rng.choice(["model", "adapter"]), f"{module}.run")
        values["allow_targets"] = [module, "os", "builtins"]

    return must_refuse(evaluated(lab, lab.changed(folder, change)))


def allowed_but_no_model(lab: Lab, folder: Path) -> str:
    """Name a function of a package that the user allows, which is none of its models."""
    run = lab.changed(
        folder, lambda v: _put(v, "model", "os.system", command=f"touch {lab.canary}")
    )
    return must_refuse(evaluated(lab, run, allow_targets=["os", "posix"]))


def nested(lab: Lab, folder: Path) -> str:
    """Put `_target_`, `_args_`, `_partial_` and `_recursive_` where Hydra would heed them."""
    inner = {"_target_": "os.system", "command": f"touch {lab.canary}"}
    key, value = lab.rng.choice(
        [
            ("widths", inner),
            ("widths", [inner]),
            ("_args_", [f"touch {lab.canary}"]),
            ("_partial_", True),
            ("_recursive_", True),
            ("_convert_", "all"),
            ("kwargs", inner),
        ]
    )
    run = lab.changed(folder, lambda values: values["model"].update({key: value}))
    return must_refuse(evaluated(lab, run))


def interpolated(lab: Lab, folder: Path) -> str:
    """Have texts of a run's configuration ask for resolvers, as they would in conf/."""
    text = lab.rng.choice(
        ["${oc.env:HOME}", "${oc.env:PATH}", "${default_root:}", "${oc.create:{a:1}}", "${root}"]
    )
    run = lab.changed(folder, lambda values: values["base"].update({"source": text}))
    evaluated(lab, run)
    from adapterlab.runs.folders.folder import read_config

    assert read_config(run / "config.yaml").base.source == text, "a resolver was called"  # type: ignore[union-attr]
    return "a text stays a text"


def on_the_command_line(lab: Lab, folder: Path) -> str:
    """Have a colleague ask to type it: a target of others is refused there as well."""
    target, _ = lab.rng.choice(_harm(lab)[:14])
    from adapterlab.runs.check import check

    return must_refuse(refused(lambda: str(check(composed(folder, f"adapter._target_={target}")))))


ATTACKS = {
    **{
        f"a run's {place} names code of others": _one_place(place)
        for place in ("model", "adapter", "dataset.loader", "base.dataset.loader")
    },
    "each of 28 targets at each place": every_target,
    "a run allows itself a package": allows_itself,
    "a function in an allowed package that is no model": allowed_but_no_model,
    "Hydra's own keys inside of options": nested,
    "resolvers in a run's configuration": interpolated,
    "a target of others on the command line": on_the_command_line,
}
