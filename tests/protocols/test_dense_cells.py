"""Cells of a grid against loops over pixels; answers on a grid against answers for pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from sslbench.datasets import Depths, Masks, Normals, Targets
from sslbench.errors import DataError
from sslbench.protocols._dense_cells import DepthCells, NormalsCells, SegmentationCells, reachable, task_of

RANDOM = np.random.default_rng(0)
NAMES = tuple("abc")


def masks(ignore: int | None = 9) -> SegmentationCells:
    return SegmentationCells(NAMES, Masks(lambda row: np.zeros((1, 1), np.uint8), "", np.arange(1), ignore=ignore))


def pixels_of(cell: int, size: tuple[int, int], grid: tuple[int, int]) -> list[tuple[int, int]]:
    """Those whose middles lie in the cell's part of the picture."""
    row, column = divmod(cell, grid[1])
    return [
        (y, x)
        for y in range(size[0])
        for x in range(size[1])
        if row <= (y + 0.5) * grid[0] / size[0] < row + 1 and column <= (x + 0.5) * grid[1] / size[1] < column + 1
    ]


SIZES = [((12, 20), (3, 4)), ((7, 10), (3, 4)), ((2, 3), (3, 4))]


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_shares_of_classes(size: tuple[int, int], grid: tuple[int, int]) -> None:
    target = RANDOM.choice(np.array([0, 1, 2, 9], np.uint8), size)
    values, share = masks().pooled(target, grid)
    for cell in range(grid[0] * grid[1]):
        own = [int(target[place]) for place in pixels_of(cell, size, grid)]
        known = [label for label in own if label != 9]
        assert share[cell] == pytest.approx(len(known) / len(own) if own else 0)
        expected = [known.count(label) / len(known) if known else 0 for label in range(3)]
        np.testing.assert_allclose(values[cell], expected, rtol=1e-6)
    np.testing.assert_array_equal(masks().sums(target), [(target == label).sum() for label in range(3)])


@pytest.mark.parametrize(("size", "grid"), SIZES)
def test_mean_directions_and_depths(size: tuple[int, int], grid: tuple[int, int]) -> None:
    normals = RANDOM.normal(size=(*size, 3)).astype(np.float32)
    depth = RANDOM.uniform(1, 9, size).astype(np.float32)
    unknown = RANDOM.random(size) < 0.4
    normals[unknown], depth[unknown] = 0, 0
    directions, of_normals = NormalsCells().pooled(normals, grid)
    logarithms, of_depth = DepthCells().pooled(depth, grid)
    np.testing.assert_array_equal(of_normals, of_depth)
    np.testing.assert_allclose(NormalsCells().sums(normals), normals.reshape(-1, 3).sum(axis=0), rtol=1e-3, atol=1e-4)
    depths = depth[~unknown]
    assert DepthCells().sums(depth)[0] == pytest.approx(np.log(depths).mean() if depths.size else 0)
    for cell in range(grid[0] * grid[1]):
        own = pixels_of(cell, size, grid)
        known = [place for place in own if not unknown[place]]
        assert of_depth[cell] == pytest.approx(len(known) / len(own) if own else 0)
        if known:
            mean = np.mean([normals[place] for place in known], axis=0)
            np.testing.assert_allclose(directions[cell], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5)
            assert logarithms[cell, 0] == pytest.approx(np.mean([np.log(depth[place]) for place in known]), rel=1e-5)
        else:
            assert not directions[cell].any() and not logarithms[cell].any()


def test_answers_are_those_of_the_enlarged_values() -> None:
    values = torch.from_numpy(RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32))
    large = interpolate(values, (13, 17), mode="bilinear", align_corners=False)
    found = masks().answers(values, (13, 17))
    np.testing.assert_array_equal(found, large.argmax(dim=1).numpy())
    assert found.dtype == np.uint8
    directions = NormalsCells().answers(values, (13, 17))
    np.testing.assert_allclose(directions, large.permute(0, 2, 3, 1).numpy(), rtol=1e-6)
    assert NormalsCells().answers(torch.zeros(1, 3, 2, 2), (2, 2)).reshape(-1, 3).tolist() == [[0, 0, 1]] * 4
    np.testing.assert_allclose(DepthCells().answers(values[:, :1], (13, 17)), large[:, 0].exp().numpy(), rtol=1e-5)
    assert np.isfinite(DepthCells().answers(torch.full((1, 1, 2, 2), 1e4), (2, 2))).all()


def test_what_is_reachable() -> None:
    """The truth itself where cells are pixels or all alike; unknown cells spoil none of their neighbours."""
    target = RANDOM.integers(0, 3, (6, 8)).astype(np.uint8)
    task = masks()
    np.testing.assert_array_equal(task.answers(reachable(task, [target, target], (6, 8)), (6, 8)), [target, target])
    depth = np.full((8, 8), 5, np.float32)
    depth[:, :3] = 0
    (found,) = DepthCells().answers(reachable(DepthCells(), [depth], (4, 4)), (8, 8))
    np.testing.assert_allclose(found[depth > 0], 5, rtol=1e-5)
    blocks = np.repeat([[0] * 8 + [2] * 8], 16, axis=0).astype(np.uint8)
    (of_blocks,) = task.answers(reachable(task, [blocks], (2, 2)), (16, 16))
    np.testing.assert_array_equal(of_blocks, blocks)


@pytest.mark.parametrize(
    ("targets", "classes", "odd"),
    [
        (Masks, NAMES, np.full((2, 2), 3, np.uint8)),
        (Masks, NAMES, np.zeros((2, 2), np.float32)),
        (Normals, (), np.full((2, 2, 3), np.nan, np.float32)),
        (Normals, (), np.zeros((2, 2), np.float32)),
        (Depths, (), np.full((2, 2), -1, np.float32)),
        (Depths, (), np.zeros((2, 2), np.int64)),
    ],
)
def test_targets_that_cannot_be(targets: type[Targets], classes: tuple[str, ...], odd: NDArray[np.generic]) -> None:
    task = task_of(targets(lambda row: odd, "", np.arange(1)), classes)  # type: ignore[call-arg]
    with pytest.raises(DataError, match=r"^train, row 7: expected "):
        task.check(odd, "train, row 7")
