"""Ways of naming layers: equal selections are written alike, different ones differently."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adapterlab.adapters import LoRA
from adapterlab.adapters.methods.lora import LoRALinear
from adapterlab.models.hub import bert_tiny
from adapterlab.runs.identity import arm_hash, config_hash
from reviews import small

SHORT = ("query", "key", "value", "out", "ffn", "attention")


@pytest.fixture(scope="module")
def bert() -> nn.Module:
    with torch.device("meta"):
        return bert_tiny(3, vocab_size=60, hidden_size=8, num_layers=3)


def selected(model: nn.Module, options: dict[str, Any]) -> set[str]:
    return set(LoRA(**options)._layers(model))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_is_written_in_one_way_selects_the_same(bert: nn.Module, data: st.DataObject) -> None:
    names = sorted(selected(bert, {}))
    targets = data.draw(
        st.lists(st.sampled_from([*SHORT, *names, "*.dense", "layer.1.*"]), min_size=1, max_size=9)
    )
    options = {"targets": targets}
    one = LoRA(**options).in_one_way(bert)
    kept = {key: one[key] for key in ("targets", "layers")}
    wanted = selected(bert, options)
    assert selected(bert, kept) == wanted
    spelt = data.draw(st.permutations(sorted(wanted)))
    assert LoRA(targets=spelt).in_one_way(bert) == one
    assert LoRA(**kept).in_one_way(bert) == one


USUAL = {
    "all": ({"targets": "all-linear"}, ("all-linear", "all")),
    "query and value": ({"targets": ["value", "query"]}, (["query", "value"], "all")),
    "attention by its parts": (
        {"targets": ["query", "key", "value", "out"]}, (["attention"], "all"),
    ),
    "the last": ({"layers": [1, 2]}, ("all-linear", "last 2")),
    "two apart": ({"layers": [2, 0], "targets": "ffn"}, (["ffn"], [0, 2])),
    "one by name": (
        {"targets": ["layer.1.attention.self.query"]}, (["query"], [1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", USUAL)
def test_what_people_write_stays_as_they_write_it(case: str, bert: nn.Module) -> None:
    options, expected = USUAL[case]
    one = LoRA(**options).in_one_way(bert)
    assert (one["targets"], one["layers"]) == expected


def test_different_selections_are_written_differently(bert: nn.Module) -> None:
    names = sorted(selected(bert, {}))
    written = [
        str(LoRA(targets=list(some)).in_one_way(bert)) for some in combinations(names[:9], 3)
    ]
    assert len(set(written)) == len(written)


def test_ranks_and_alphas_are_those_that_layers_have(bert: nn.Module) -> None:
    for options in (
        {"rank": 2, "rank_pattern": {"ffn": 3}, "alpha_pattern": {"query": 1.0}},
        {"rank": 2, "rank_pattern": {"layer.0.*": 3, "query": 1}},
        {"rank": 2, "rank_pattern": {"query": 1, "layer.0.*": 3}},
    ):
        written = LoRA(**options).in_one_way(bert)
        ranks = []
        for one in (LoRA(**options), LoRA(**written)):
            model = one.apply(bert_tiny(3, vocab_size=60, hidden_size=8, num_layers=3)).model
            layers = dict(model.named_modules())
            ranks.append(
                {n: (m.rank, m.scale) for n, m in layers.items() if isinstance(m, LoRALinear)}
            )
        assert ranks[0] == ranks[1]


def test_runs_on_texts_that_name_layers_otherwise(tmp_path: Path) -> None:
    ways = ("[query,value]", "[value,query]", "['*.query','*.value']")
    runs = [small(tmp_path, tmp_path, f"adapter.targets={way}", "seed=3") for way in ways]
    assert len({config_hash(run) for run in runs}) == len({arm_hash(run) for run in runs}) == 1
    other = small(tmp_path, tmp_path, "adapter.targets=[query,key]", "seed=3")
    assert config_hash(other) != config_hash(runs[0])
