"""Checksums by which a change of weights is noticed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslbench.backbones.digest import checksum


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(3, 4), torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.rand(3, 4).t(), torch.rand(()),
        torch.rand(0, 3), torch.arange(6).view(2, 3), torch.rand(3).half(), torch.rand(3).bfloat16(), torch.rand(4) > 0.5,
        torch.rand(3, dtype=torch.complex64).conj(), torch.eye(3).to_sparse(), torch.rand(1, 3).expand(2, 3),
    ],
)  # fmt: skip
def test_a_checksum_tells_every_element(tensor: Tensor) -> None:
    before = checksum(tensor)
    assert checksum(tensor.clone()) == before or tensor.stride() != tensor.clone().stride()
    for place in range(tensor.numel()):
        dense = tensor.to_dense() if tensor.is_sparse else tensor
        changed = dense.clone().contiguous().flatten()
        changed[place] = ~changed[place] if changed.dtype == torch.bool else changed[place] + 1
        changed = changed.view(dense.shape)
        assert checksum(changed) != checksum(dense.clone().contiguous())


def test_a_transposed_matrix_is_another_one() -> None:
    matrix = torch.rand(4, 4)
    assert checksum(matrix) != checksum(matrix.t())
    assert checksum(matrix) != checksum(matrix.double())
