"""Features are kept on disk: found by all that they depend on, and thrown out by age."""

import logging
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from filelock import FileLock
from torch import Tensor

from adapterlab.adapters import Head, LastLayers, LoRA, Strategy
from adapterlab.base import cache
from adapterlab.base.cache import _read, filled
from adapterlab.training.prefix.files import make_room
from small_texts import WIDTH, data, encoder, prefix, texts


class TestCache:
    def test_a_second_run_computes_nothing(self, filled: list[str], tmp_path: Path) -> None:
        first, second = data(encoder()), data(encoder(), batch_size=3, order_seed=9)
        prefix(LastLayers(n=1).apply(encoder()), first, tmp_path)
        assert filled == ["train", "validation"]
        # Another strategy, head and pooler; the first two layers are the same.
        model = encoder()
        with torch.no_grad():
            for name in ("model.classifier", "model.bert.pooler", "model.bert.encoder.layer.2"):
                for weight in model.get_submodule(name).parameters():
                    weight.mul_(2)
        result = prefix(LoRA(rank=2, layers="last 1").apply(model, seed=4), second, tmp_path)
        assert result.depth == 2
        assert filled == ["train", "validation"]
        for one, other in zip(first.batches("train"), second.batches("train"), strict=True):
            assert torch.equal(one.inputs["hidden_states"], other.inputs["hidden_states"])

    @pytest.mark.parametrize(
        "name",
        [
            "model.mpnet.embeddings.word_embeddings",
            "model.mpnet.encoder.layer.1.output.dense",
            "model.mpnet.encoder.relative_attention_bias",
        ],
    )
    def test_another_weight_in_the_prefix_is_another_prefix(
        self, name: str, filled: list[str], tmp_path: Path
    ) -> None:
        prefix(LastLayers(n=1).apply(encoder("mpnet")), data(encoder("mpnet")), tmp_path)
        model = encoder("mpnet")
        with torch.no_grad():
            next(model.get_submodule(name).parameters())[0, 0] += 0.1
        prefix(LastLayers(n=1).apply(model), data(model), tmp_path)
        assert filled == ["train", "validation"] * 2

    @pytest.mark.parametrize(
        ("strategy", "changes", "options"),
        [
            (LastLayers(n=2), {}, {}),
            (LastLayers(n=1), {}, {"layer_norm_eps": 1e-3}),
            (LastLayers(n=1), {"precision": "bf16-mixed"}, {}),
        ],
        ids=["depth", "config", "precision"],
    )
    def test_so_is_another_way_to_compute(
        self,
        strategy: Strategy,
        changes: dict[str, Any],
        options: dict[str, Any],
        filled: list[str],
        tmp_path: Path,
    ) -> None:
        prefix(LastLayers(n=1).apply(encoder()), data(encoder()), tmp_path)
        prefix(strategy.apply(encoder(**options)), data(encoder()), tmp_path, **changes)
        assert filled == ["train", "validation"] * 2

    def test_another_split_is_computed_alone(self, filled: list[str], tmp_path: Path) -> None:
        prefix(Head().apply(encoder()), data(encoder()), tmp_path)
        prefix(Head().apply(encoder()), data(encoder(), validation=texts(20, 5)), tmp_path)
        assert filled == ["train", "validation", "validation"]

    def test_a_damaged_file_is_computed_again(
        self, filled: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        module = data(encoder())
        prefix(Head().apply(encoder()), module, tmp_path)
        whole = [batch.inputs["hidden_states"] for batch in module.batches("train")]
        damaged = max(tmp_path.glob("*.safetensors"), key=lambda path: path.stat().st_size)
        damaged.write_bytes(damaged.read_bytes()[:-1])
        with caplog.at_level(logging.WARNING):
            prefix(Head().apply(encoder()), module, tmp_path)
        assert f"{damaged} is damaged" in caplog.text
        assert filled == ["train", "validation", "train"]
        again = [batch.inputs["hidden_states"] for batch in module.batches("train")]
        assert all(torch.equal(*pair) for pair in zip(whole, again, strict=True))

    def test_the_least_used_give_way_and_live_on_where_they_are_in_use(
        self, filled: list[str], tmp_path: Path
    ) -> None:
        """Room is for two prefixes; the first is used again before the third comes."""
        models = [encoder(seed=seed) for seed in range(3)]
        modules = [data(model) for model in models]
        gib = 2.5 * 70 * WIDTH * 4 / 2**30
        run = [
            partial(prefix, Head().apply(model), module, tmp_path, max_gib=gib)
            for model, module in zip(models, modules, strict=True)
        ]
        for age, index in enumerate((0, 1, 0)):
            run[index]()
            for path in tmp_path.glob("*.safetensors"):  # clocks of file systems are coarse
                if path.stat().st_mtime > 1000:
                    os.utime(path, (age, age))
        held = [batch.inputs["hidden_states"].clone() for batch in modules[1].batches("train")]
        run[2]()
        assert filled == ["train", "validation"] * 3
        assert len(list(tmp_path.glob("prefix-*.safetensors"))) == 4
        still = [batch.inputs["hidden_states"] for batch in modules[1].batches("train")]
        assert all(torch.equal(*pair) for pair in zip(held, still, strict=True))
        run[0]()
        assert len(filled) == 6
        run[1]()
        assert len(filled) == 8


class TestFiles:
    @staticmethod
    def ones(values: Tensor) -> None:
        values.fill_(1)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
    def test_are_read_back_as_they_were_written(self, dtype: torch.dtype, tmp_path: Path) -> None:
        path = tmp_path / "prefix-a.safetensors"
        expected = torch.arange(6).view(2, 3).to(dtype)
        written, found = filled(path, (2, 3), dtype, lambda values: values.copy_(expected))
        assert torch.equal(written, expected)
        assert not found
        read, found = filled(path, (2, 3), dtype, pytest.fail)
        assert torch.equal(read, expected)
        assert found
        read.zero_()
        assert torch.equal(filled(path, (2, 3), dtype, pytest.fail)[0], expected)

    def test_may_be_deleted_as_soon_as_they_have_their_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By a process that makes room for its own."""
        path, replace = tmp_path / "prefix-a.safetensors", Path.replace

        def replaced(part: Path, place: Path) -> Path:
            kept = replace(part, place)
            make_room(tmp_path, {tmp_path / "prefix-b.safetensors": 1}, 1)
            return kept

        monkeypatch.setattr(Path, "replace", replaced)
        values, found = filled(path, (3,), torch.float32, self.ones)
        assert (values.tolist(), found, path.exists()) == ([1, 1, 1], False, False)
        monkeypatch.undo()
        filled(path, (3,), torch.float32, self.ones)
        seen = cache._found

        def unlinked(place: Path, key: str) -> cache.Entry | None:
            entry = seen(place, key)
            place.unlink()
            return entry

        monkeypatch.setattr(cache, "_found", unlinked)
        assert filled(path, (3,), torch.float32, pytest.fail)[1]
        assert not path.exists()  # and no empty file in its place

    def test_are_mapped_and_outlive_their_name(self, tmp_path: Path) -> None:
        path = tmp_path / "prefix-a.safetensors"
        size = 2**24
        filled(path, (size,), torch.float32, self.ones)
        before = psutil.Process().memory_info().rss
        values = _read(path)[0].tensors["values"]
        assert psutil.Process().memory_info().rss - before < size
        path.unlink()
        assert int(values[::1000].sum()) == len(values[::1000])

    def test_leave_nothing_behind_when_computing_fails(self, tmp_path: Path) -> None:
        path = tmp_path / "prefix-a.safetensors"

        def fail(values: Tensor) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            filled(path, (4,), torch.float32, fail)
        assert {file.suffix for file in tmp_path.iterdir()} <= {".lock"}
        assert filled(path, (4,), torch.float32, self.ones)[0].tolist() == [1, 1, 1, 1]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path, other: path.write_bytes(bytes(path.stat().st_size)),
            lambda path, other: path.write_bytes(path.read_bytes()[:-1]),
            lambda path, other: path.write_bytes(path.read_bytes()[:-4] + bytes(4)),
            lambda path, other: path.write_bytes(b""),
            lambda path, other: shutil.copy(other, path),
        ],
        ids=["zeros", "cut short", "last number zero", "empty", "another's"],
    )
    def test_are_made_again_when_they_are_not_what_was_written(
        self, damage: Callable[[Path, Path], object], tmp_path: Path
    ) -> None:
        path, other = (tmp_path / f"prefix-{name}.safetensors" for name in "ab")
        filled(path, (4,), torch.float32, self.ones)
        filled(other, (4,), torch.float32, lambda values: values.fill_(2))
        damage(path, other)
        again, found = filled(path, (4,), torch.float32, self.ones)
        assert again.tolist() == [1, 1, 1, 1]
        assert not found
        assert filled(path, (4,), torch.float32, pytest.fail)[1]

    def test_of_no_element_are_kept_too(self, tmp_path: Path) -> None:
        path = tmp_path / "prefix-a.safetensors"
        assert filled(path, (0, 3), torch.float32, pytest.fail)[0].shape == (0, 3)
        assert filled(path, (0, 3), torch.float32, pytest.fail)[1]

    def test_room_is_made_by_age_and_no_further_than_needed(self, tmp_path: Path) -> None:
        names = ("prefix-c.safetensors", "prefix-a.bin", "prefix-b.safetensors")
        for age, name in enumerate(names):
            path = tmp_path / name
            path.write_bytes(bytes(40))
            os.utime(path, (age, age))
        (tmp_path / "other.safetensors").write_bytes(bytes(400))
        wanted = {tmp_path / names[0]: 40, tmp_path / "prefix-d.safetensors": 30}
        assert make_room(tmp_path, wanted, 110) == 0
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"other.safetensors", names[0], names[2]}

    def test_what_a_killed_process_left_is_swept(self, tmp_path: Path) -> None:
        for name in "ab":
            (tmp_path / f"prefix-{name}.safetensors.12.part").write_bytes(bytes(8))
        with FileLock(tmp_path / "prefix-b.lock"):
            make_room(tmp_path, {}, 0)
        left = [path.name for path in tmp_path.glob("*.part")]
        assert left == ["prefix-b.safetensors.12.part"]
