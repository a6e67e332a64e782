"""`ade20k`: a tiny tree in the archive's layout, with and without the study's lists, fetched, and refused."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.cli import main
from sslbench.config import Settings
from sslbench.datasets import Dataset, Masks, inspect, load_dataset
from sslbench.datasets.published import ade20k as module
from sslbench.datasets.published.facts import Expected
from sslbench.datasets.splits import study_validation
from sslbench.errors import DataError, IncompleteDataError
from sslbench.sources import Source
from tests.conftest import Registries, Server
from tests.datasets.published.builders import ade20k, colour_of

LAYOUTS = (
    "ade20k/ADEChallengeData2016",
    "ADEChallengeData2016",
    "ADE20K/ADEChallengeData2016",
    "ade/ADEChallengeData2016",
)


def load(data_dir: Path, check: str = "loose") -> Dataset:
    return load_dataset("ade20k", Settings(data_dir=data_dir, check_data=check))


def test_the_facts() -> None:
    spec = module.SPEC
    assert (spec.targets, spec.metric, spec.num_classes) == (Masks, None, 150)
    assert spec.expected is not None
    assert spec.expected.images == {"train": 20_210, "test": 2_000}
    assert len(set(module.CLASSES)) == len(module.CLASSES) == 150
    # The challenge's own numbers, from 1, of some that are far apart.
    for number, name in ((1, "wall"), (13, "person"), (21, "car"), (90, "television receiver"), (150, "flag")):
        assert module.CLASSES[number - 1] == name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_and_masks_in_sorted_order(layout: str, tmp_path: Path) -> None:
    built = ade20k(tmp_path, 10, layout=layout)
    dataset = load(tmp_path)
    assert dataset.classes == module.CLASSES
    assert {name: len(split.targets) for name, split in dataset.splits.items()} == {"train": 8, "val": 2, "test": 3}
    train, val = study_validation(10)
    official = built.splits["training"]
    wanted = {
        "train": [official[row] for row in sorted(train)],
        "val": [official[row] for row in sorted(val)],
        "test": built.splits["validation"],
    }
    for name, stems in wanted.items():
        split = dataset.splits[name]
        assert [Path(path).stem for path in split.images.paths] == stems
        for row, stem in enumerate(stems):
            image, mask = split.images.load([row])[0], split.targets.load(row)
            assert np.abs(np.asarray(image)[0, 0].astype(int) - colour_of(stem)).max() < 12
            assert (mask.dtype, mask.shape) == (np.uint8, image.size[::-1])
            numbers = built.numbers[stem].astype(int)
            assert np.array_equal(mask, np.where(numbers == 0, 255, numbers - 1))
    assert dataset.splits["test"].targets.ignore == 255
    assert dataset.details["complete"] is False


def test_lists_decide_which_pictures_count_and_in_which_order(tmp_path: Path) -> None:
    built = ade20k(tmp_path, lists=True)
    path = built.root.parent / "validation.odgt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n\n")
    dataset = load(tmp_path)
    stems = built.splits["validation"][::-1][:2]
    assert [Path(path).stem for path in dataset.splits["test"].images.paths] == stems
    for row, stem in enumerate(stems):
        assert dataset.splits["test"].targets.load(row)[0, 1] == 149
        assert dataset.splits["test"].targets.load(row).shape == built.numbers[stem].shape
    # In the folder itself they are looked at too.
    inside = ade20k(tmp_path / "two")
    (inside.root / "validation.odgt").write_text(path.read_text())
    assert len(load(tmp_path / "two").splits["test"].targets) == 2


def test_another_place_is_the_same_data_and_another_mask_is_other_data(tmp_path: Path) -> None:
    built = ade20k(tmp_path / "one")
    ade20k(tmp_path / "two", layout="ADEChallengeData2016")
    before = load(tmp_path / "one")
    assert load(tmp_path / "two").fingerprint == before.fingerprint
    mask = built.root / "annotations/validation" / f"{built.splits['validation'][0]}.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(mask)
    after = load(tmp_path / "one")
    assert after.splits["test"].targets.digest != before.splits["test"].targets.digest
    assert after.splits["train"].targets.digest == before.splits["train"].targets.digest
    assert after.splits["test"].images.fingerprint == before.splits["test"].images.fingerprint


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("annotations", "2 of the 5 masks of training are absent or empty"),
        ("images", "2 of the 5 images of train are"),
    ],
)
def test_what_is_absent_or_empty_is_counted_and_named(part: str, told: str, tmp_path: Path) -> None:
    built = ade20k(tmp_path)
    paths = sorted((built.root / part / "training").iterdir())
    paths[1].unlink()
    paths[3].write_bytes(b"")
    with pytest.raises(IncompleteDataError, match=rf"^ade20k: {told}.*{paths[1].name}.*fetch --dataset ade20k"):
        load(tmp_path)
    status = inspect("ade20k", Settings(data_dir=tmp_path))
    assert (status.state, len(status.missing)) == ("incomplete", 2)


def test_a_folder_that_is_absent_is_named(tmp_path: Path) -> None:
    built = ade20k(tmp_path)
    (built.root / "annotations/validation").rename(built.root / "elsewhere")
    with pytest.raises(IncompleteDataError, match="lacks annotations/validation"):
        load(tmp_path)


def spoil(path: Path, size: tuple[int, int], what: str) -> None:
    width, height = size
    if what == "number":
        values = np.zeros((height, width), np.uint8)
        values[2, 3] = 151
        Image.fromarray(values).save(path)
    elif what == "size":
        Image.fromarray(np.zeros((height + 1, width), np.uint8)).save(path)
    elif what == "colours":
        Image.new("RGB", size).save(path)
    else:
        path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("number", r"expected numbers from 0 to 150, got 151; fetch or extract it again"),
        ("size", r"has \d+ x \d+ pixels and its picture \d+ x \d+"),
        ("colours", r"expected a greyscale PNG of class numbers, got shape \(\d+, \d+, 3\)"),
        ("truncated", r"cannot read the mask"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(what: str, told: str, tmp_path: Path) -> None:
    built = ade20k(tmp_path)
    stem = built.splits["validation"][1]
    spoil(built.root / f"annotations/validation/{stem}.png", built.numbers[stem].shape[::-1], what)
    targets = load(tmp_path).splits["test"].targets
    targets.load(0)
    with pytest.raises(DataError, match=told) as caught:
        targets.load(1)
    assert f"{stem}.png" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "expected one JSON object with fpath_img and fpath_segm, got '{'"),
        ("[1]", r"expected one JSON object with fpath_img and fpath_segm, got '\[1\]'"),
        ('{"fpath_img": "ADEChallengeData2016/a.jpg"}', "expected one JSON object with"),
        (
            '{"fpath_img": "/etc/passwd", "fpath_segm": "x"}',
            "expected a path that begins with ADEChallengeData2016/, got '/etc",
        ),
        (
            '{"fpath_img": "ADEChallengeData2016/../../a.jpg", "fpath_segm": "x"}',
            r"expected a path that begins with ADEChallengeData2016/, got 'ADEChallengeData2016/\.\./",
        ),
    ],
)
def test_a_list_that_cannot_be_is_refused(line: str, told: str, tmp_path: Path) -> None:
    built = ade20k(tmp_path, lists=True)
    path = built.root.parent / "training.odgt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=rf"training\.odgt: row 6: {told}"):
        load(tmp_path)


def test_a_list_that_repeats_a_picture_is_refused(tmp_path: Path) -> None:
    path = ade20k(tmp_path, lists=True).root.parent / "training.odgt"
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataError, match=r"training\.odgt lists 5 pictures more than once"):
        load(tmp_path)


def test_without_files_it_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        IncompleteDataError, match=r"^ade20k: no files in .*`sslbench fetch --dataset ade20k` gets ADEChal"
    ):
        load(tmp_path)
    assert inspect("ade20k", Settings(data_dir=tmp_path)).state == "absent"


def test_fetched_and_as_published_it_is_ready(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    registries: Registries,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = ade20k(tmp_path / "made", layout="ADEChallengeData2016")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(made.root.rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "made").as_posix())
    content, name = stream.getvalue(), "ADEChallengeData2016.zip"
    source = Source(name, (server.add(f"/{name}", content),), md5=hashlib.md5(content).hexdigest(), unpack=".")
    with pytest.raises(IncompleteDataError, match="train: expected 20210 images, found 5; test: expected 2000 images"):
        load(tmp_path / "made", "strict")
    spec = replace(module.SPEC, sources=(source,), expected=Expected(150, {"train": 5, "test": 3}))
    monkeypatch.setattr(module, "SPEC", spec)
    registries.redeclare(spec)
    data = tmp_path / "data"
    assert main(["fetch", "--dataset", "ade20k", "--data", str(data)]) == 0
    dataset = load(data, "strict")
    assert dataset.details["complete"] is True
    assert dataset.fingerprint == load(tmp_path / "made").fingerprint
    assert json.dumps(dataset.details)
    capsys.readouterr()
    assert main(["fetch", "--dataset", "ade20k", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines() == ["dataset ade20k: ready"]
