import pytest
import torch

from sslbench.features.stacked import Pool


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("sizes", [(7,), (3, 1, 5), (4, 0, 2)])
def test_rows_are_those_of_the_matrices_put_together(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(size, 4, generator=generator).to(dtype) for size in sizes]
    pool, whole = Pool(parts), torch.cat(parts).float()
    assert (len(pool), pool.width, pool.device.type) == (sum(sizes), 4, "cpu")
    index = torch.randint(0, len(pool), (2, 3, 5), generator=generator)
    found = pool.rows(index)
    assert found.dtype == torch.float32
    assert torch.equal(found, whole[index])
    memory = torch.full((40, 4), torch.nan)
    assert torch.equal(pool.rows(index, out=memory), whole[index])
    assert torch.equal(memory[:30], whole[index].view(30, 4))
    assert memory[30:].isnan().all()
    lines = index.view(6, 5)
    sums = pool.sums(lines)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, whole[lines].sum(1))
