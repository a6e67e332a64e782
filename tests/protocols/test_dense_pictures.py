"""What a dense head is shown: sizes against the official arithmetic, labels against pixels, enlarged rows against torch."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from sslbench.backbones.preprocessing import Preprocessing
from sslbench.datasets import ImageArray, ImageFiles, Masks, Normals
from sslbench.errors import DataError
from sslbench.protocols._dense_coding import Classes
from sslbench.protocols._dense_pictures import batches_alike, labels_shown, padded, pictures_of, resized, rows_enlarged
from sslbench.protocols._detection_pictures import shown
from sslbench.protocols._read_ahead import ReadAhead
from tests.protocols.dense import NORMALS as NORMALS_TASK
from tests.protocols.dense import coding_of, part

# Of files that are decoded again for each use, which is what is meant here.
pytestmark = pytest.mark.filterwarnings("ignore::sslbench.errors.CacheWarning")
PLAIN = Preprocessing(input_size=(64, 64), resize=64, mean=(0.0,) * 3, std=(1 / 255,) * 3)


def test_the_studys_sizes() -> None:
    assert [resized((480, 640), short, 1000) for short in (300, 375, 450, 525, 600)] == [
        (300, 400), (375, 500), (450, 600), (525, 700), (600, 800)
    ]  # fmt: skip
    assert resized((640, 480), 450, 1000) == (600, 450)
    # The longer side is 1,000 at most, and what is not whole is cut.
    assert resized((400, 1200), 450, 1000) == (333, 1000)
    assert padded((450, 600), 8) == (456, 600) and padded((333, 1000), 32) == (352, 1024)
    generator = np.random.default_rng(0)
    for high, wide in generator.integers(20, 3000, (200, 2)).tolist():
        for short in (300, 600):
            scale = min(short / min(high, wide), 1000 / max(high, wide))
            assert resized((high, wide), short, 1000) == (int(high * scale + 1e-9), int(wide * scale + 1e-9))


@pytest.mark.parametrize("flip", [False, True])
def test_a_label_is_what_the_middle_of_its_cell_shows(flip: bool) -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        own = tuple(generator.integers(5, 90, 2).tolist())
        shape = tuple(generator.integers(9, 60, 2).tolist())
        whole, mask = padded(shape, 8), generator.integers(0, 9, own).astype(np.uint8)
        grid = (whole[0] // 4, whole[1] // 4)
        (found,) = labels_shown([mask], [shape], [flip], whole, grid, none=255, outside=77)
        assert found.dtype == np.uint8 and found.shape == grid
        for row, column in np.ndindex(*grid):
            y, x = 4 * row + 2, 4 * column + 2
            if y >= shape[0] or x >= shape[1]:
                assert found[row, column] == 77
                continue
            # Between two pixels the later one, which after mirroring is the earlier one's place.
            x = shape[1] - x if flip else x
            at = min(int(y * own[0] / shape[0] + 1e-9), own[0] - 1), min(int(x * own[1] / shape[1] + 1e-9), own[1] - 1)
            assert found[row, column] == mask[at]


@pytest.mark.parametrize("flip", [False, True])
def test_labels_lie_on_what_is_shown(flip: bool) -> None:
    """A picture whose red level is its mask: labels are the levels at the middles of the cells."""
    mask = np.kron(np.arange(40).reshape(5, 8), np.ones((16, 16))).astype(np.uint8)
    pixels = torch.from_numpy(np.stack([mask] * 3))
    shape = (100, 160)
    (image,) = shown([pixels], [shape], torch.tensor([flip]), PLAIN, 32)
    whole = (image.shape[1], image.shape[2])
    (labels,) = labels_shown([mask], [shape], [flip], whole, (whole[0] // 4, whole[1] // 4), none=255, outside=255)
    middles = image[0, 2::4, 2::4].numpy()
    counted = labels != 255
    assert counted.sum() == 25 * 40
    # At the edges between areas levels are mixed.
    assert (np.abs(middles - labels)[counted] < 0.5).mean() > 0.8


def test_enlarged_rows_are_torchs() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 7, 9)
    for size in [(31, 44), (7, 9), (5, 20), (64, 4)]:
        wanted = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        bands = [rows_enlarged(maps, size, start, min(start + 6, size[0])) for start in range(0, size[0], 6)]
        torch.testing.assert_close(torch.cat(bands, dim=2), wanted, rtol=1e-5, atol=1e-5)


def masked(shapes: list[tuple[int, int]], folder: Path, masks: list[np.ndarray], ignore: int | None = None) -> object:
    paths = []
    for number, (high, wide) in enumerate(shapes):
        paths.append(folder / f"{number}.png")
        Image.new("RGB", (wide, high)).save(paths[-1])
    targets = Masks(lambda row: masks[row], "made", np.arange(len(masks)), ignore=ignore)
    return pictures_of({"train": part(ImageFiles("files", paths), targets)}, 32, Classes(4))


def test_masks_are_of_the_full_picture(tmp_path: Path) -> None:
    """Pictures are kept reduced; masks are of what they were before."""
    shapes = [(100, 80), (40, 50), (100, 80)]
    masks = [np.full(shape, number, np.int32) for number, shape in enumerate(shapes)]
    masks[1][:3] = -7
    found = masked(shapes, tmp_path, masks, ignore=-7)
    assert found.sizes() == shapes and found.counts() == {"train": 3}
    assert found.pictures.originals[0].sizes.tolist() == [[40, 32], [32, 40], [40, 32]]
    code = found.encoded(1)
    assert code.dtype == np.uint8 and (code[:3] == 255).all() and (code[3:] == 1).all()
    # Pictures of one size come together.
    assert list(batches_alike(found.pictures.originals[0], 1 << 20)) == [[1], [0, 2]]
    assert list(batches_alike(found.pictures.originals[0], 8000)) == [[1], [0], [2]]


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros((20, 30), np.uint8), r"row 1: expected a map of the picture's 30 x 20 pixels .* got one of shape \(20, 30\)"),
        (np.full((30, 20), 4, np.uint8), "train, row 1: expected classes from 0 to 3, got 4; correct the masks"),
        (np.full((30, 20), -1, np.int32), "train, row 1: expected classes from 0 to 3, got -1"),
        (np.zeros((30, 20), np.float32), "train, row 1: expected a mask of whole numbers"),
        (np.zeros((30, 20, 3), np.uint8), "train, row 1: expected a mask of whole numbers"),
    ],
)  # fmt: skip
def test_a_mask_that_does_not_fit_is_told_with_its_row(mask: np.ndarray, told: str, tmp_path: Path) -> None:
    found = masked([(30, 20)] * 2, tmp_path, [np.zeros((30, 20), np.uint8), mask])
    assert found.encoded(0).shape == (30, 20)
    with pytest.raises(DataError, match=told):
        found.encoded(1)


def test_an_ignored_value_is_named(tmp_path: Path) -> None:
    found = masked([(30, 20)], tmp_path, [np.full((30, 20), 9, np.uint8)], ignore=200)
    with pytest.raises(DataError, match="expected classes from 0 to 3, or 200 for pixels that do not count, got 9"):
        found.encoded(0)


@pytest.mark.parametrize(
    ("normals", "told"),
    [
        (np.full((8, 8, 3), np.nan, np.float32), "its normals are not finite"),
        (np.zeros((8, 8), np.float32), r"expected normals float32 \(H, W, 3\), got float32 \(8, 8\)"),
        (np.zeros((8, 8, 3), np.int8), "expected normals float32"),
    ],
)
def test_normals_that_are_none_are_told_with_their_row(normals: np.ndarray, told: str) -> None:
    targets = Normals(lambda row: normals, "made", np.arange(1))
    own = part(ImageArray("black", np.zeros((1, 8, 8, 3), np.uint8)), targets)
    with pytest.raises(DataError, match=f"train, row 0: .*{told}"):
        pictures_of({"train": own}, 8, coding_of(NORMALS_TASK)).encoded(0)


def test_more_classes_than_a_byte_has() -> None:
    coding = Classes(300)
    targets = Masks(lambda row: None, "made", np.arange(1), ignore=65_535)  # type: ignore[arg-type, return-value]
    target = np.array([[0, 299], [255, 65_535]], np.int32)
    coding.check(target, targets, "here")
    found = coding.encode(target, targets)
    assert found.tolist() == [[0, 299], [255, -1]] and coding.none == -1
    probabilities = torch.zeros(1, 300, 1, 1)
    probabilities[0, 299] = 1
    assert coding.decode(probabilities).tolist() == [[[299]]]


def test_arrays_are_read_once_in_a_thread_and_kept_as_far_as_they_fit() -> None:
    read, threads = [], set()

    def reading(item: int) -> np.ndarray:
        read.append(item)
        threads.add(threading.current_thread().name)
        if item == 9:
            raise DataError("nine cannot be read")
        return np.full(10, item, np.uint8)

    ahead = ReadAhead(reading, most=25)
    assert [array[0] for array in ahead.take([1, 2, 1])] == [1, 2, 1]
    ahead.prefetch([2, 3, 4])
    assert [array[0] for array in ahead.take([4, 3, 2])] == [4, 3, 2]
    assert sorted(read) == [1, 2, 3, 4] and not any("MainThread" in name for name in threads)
    # Two fit: 1 and 2 are there, 3 is read again.
    ahead.take([1, 2, 3])
    assert sorted(read) == [1, 2, 3, 3, 4]
    ahead.prefetch([9])
    with pytest.raises(DataError, match="nine cannot be read"):
        ahead.take([9])
    # What was announced and not taken is forgotten.
    ahead.prefetch([5, 6])
    ahead.take([1])
    assert not ahead._coming
