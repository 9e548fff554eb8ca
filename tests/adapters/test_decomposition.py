"""The singular value decomposition that methods begin with: exact, of one sign, made once."""

import pytest
import torch

from adapterlab.adapters import decomposition
from adapterlab.adapters.decomposition import decompose
from adapterlab.base.errors import ConfigError


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (1, 4), (4, 1)])
def test_it_is_the_weight(shape: tuple[int, int]) -> None:
    W = drawn(*shape)
    of = decompose(W)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(of.U @ (of.S[:, None] * of.Vh), W, **close)
    eye = torch.eye(min(shape), dtype=W.dtype)
    torch.testing.assert_close(of.U.mT @ of.U, eye, **close)
    torch.testing.assert_close(of.Vh @ of.Vh.mT, eye, **close)
    assert of.S.diff().le(0).all()


def test_by_hand_with_its_signs() -> None:
    # Rows of length 3 and 2 along axes: u = e_2, e_1, both made positive, so v takes the signs.
    of = decompose(torch.tensor([[0.0, 2.0], [-3.0, 0.0]]))
    assert of.S.tolist() == [3.0, 2.0]
    assert of.U.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert of.Vh.tolist() == [[-1.0, 0.0], [0.0, 1.0]]


def test_the_largest_entry_of_a_left_vector_is_positive() -> None:
    U = decompose(drawn(9, 7)).U
    assert (U.gather(0, U.abs().argmax(0, keepdim=True)) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_rounded_from_float64(dtype: torch.dtype) -> None:
    W = drawn(7, 6, dtype=dtype)
    exact, of = decompose(W.double()), decompose(W)
    for name in ("U", "S", "Vh"):
        assert torch.equal(getattr(of, name), getattr(exact, name).to(dtype))


def test_equal_weights_are_decomposed_once_and_changed_ones_again() -> None:
    W = drawn(6, 4, seed=3)
    first = decompose(W)
    assert decompose(W.clone()) is first
    assert decompose(W.mT.contiguous().mT) is first
    W[0, 0] += 1
    assert decompose(W) is not first
    torch.testing.assert_close(decompose(W).U @ (decompose(W).S[:, None] * decompose(W).Vh), W)


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = decompose(drawn(4, 4, seed=4)).nbytes
    monkeypatch.setattr(decomposition, "KEPT_BYTES", 2 * sizes)
    first = decompose(drawn(4, 4, seed=4))
    decompose(drawn(4, 4, seed=5))
    assert decompose(drawn(4, 4, seed=4)) is first
    decompose(drawn(4, 4, seed=6))  # which leaves no room for the one asked for before
    assert len(decomposition._kept) == 2
    assert decompose(drawn(4, 4, seed=4)) is first


def test_without_weights_there_are_shapes() -> None:
    of = decompose(torch.empty(5, 3, device="meta"))
    assert (of.U.shape, of.S.shape, of.Vh.shape) == ((5, 3), (3,), (3, 3))
    assert of.U.is_meta


def test_a_broken_weight_is_one_line() -> None:
    with pytest.raises(ConfigError, match="not finite"):
        decompose(torch.tensor([[1.0, float("nan")]]))


def test_a_weight_of_zeros_has_one_too() -> None:
    of = decompose(torch.zeros(3, 2))
    assert of.S.tolist() == [0, 0]
    torch.testing.assert_close(of.U.mT @ of.U, torch.eye(2))
