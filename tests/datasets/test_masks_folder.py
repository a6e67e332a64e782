"""`masks:PATH`: both layouts, numbers and colours, what is ignored, and everything that is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.config import Settings
from sslbench.datasets import Dataset, Masks, dataset_spec, inspect, load_dataset, tidy_folder
from sslbench.errors import DataError, DataWarning
from sslbench.tasks import dataset_tasks

WIDTH, HEIGHT = 6, 4
COLOURS = {"sky": (128, 128, 128), "traffic light": (0, 0, 192), "Void": (0, 0, 0)}
PALETTE = np.array(list(COLOURS.values()), dtype=np.uint8)


def numbers(seed: int, high: int = 3) -> np.ndarray:
    """A mask in which every class occurs, each seed's its own."""
    values = np.random.default_rng(seed).integers(0, high, (HEIGHT, WIDTH)).astype(np.uint8)
    values.ravel()[:high] = np.arange(high)
    return values


def save(path: Path, values: np.ndarray, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(PALETTE[values] if mode in ("RGB", "RGBA") else values)
    if mode == "P":
        image = Image.fromarray(values)
        image.putpalette([7, 7, 7, 90, 0, 0, 0, 90, 0, 200, 1, 2])
    image.convert("RGBA" if mode == "RGBA" else image.mode).save(path)


def pair(image: Path, mask: Path, seed: int, mode: str = "L", high: int = 3) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (seed, 2 * seed, 200)).save(image)
    save(mask, numbers(seed, high), mode)


def plain(root: Path, mode: str = "L", count: int = 5, high: int = 3) -> Path:
    for seed in range(count):
        pair(root / f"images/{seed}.jpg", root / f"masks/{seed}.png", seed, mode, high)
    return root


SPLITS = {"train": range(0, 5), "val": range(5, 7), "test": range(7, 10)}


def split(root: Path, splits: Mapping[str, range] = SPLITS, mode: str = "L") -> Path:
    for name, seeds in splits.items():
        for seed in seeds:
            pair(root / f"images/{name}/{seed}.png", root / f"masks/{name}/{seed}.png", seed, mode)
    return root


def camvid(root: Path, splits: Mapping[str, range] = SPLITS, mode: str = "L") -> Path:
    for name, seeds in splits.items():
        for seed in seeds:
            pair(root / f"{name}/{seed}.png", root / f"{name}annot/{seed}.png", seed, mode)
    return root


def load(root: Path | str, option: str = "", **settings: str) -> Dataset:
    return load_dataset(f"masks:{root}{option}", Settings(**settings))


def seeds(dataset: Dataset) -> dict[str, list[int]]:
    return {name: [int(Path(path).stem) for path in rows.images.paths] for name, rows in dataset.splits.items()}


def rows(dataset: Dataset) -> dict[int, np.ndarray]:
    """The masks of all splits by seed."""
    return {
        seed: dataset.splits[name].targets.load(row)
        for name, part in seeds(dataset).items()
        for row, seed in enumerate(part)
    }


@pytest.mark.parametrize("mode", ["L", "P"])
def test_class_numbers(mode: str, tmp_path: Path) -> None:
    dataset = load(plain(tmp_path, mode))
    assert (dataset.classes, dataset.target_type, dataset.metric) == (("0", "1", "2"), Masks, None)
    assert dataset.details == {
        "split": "drawn 60/20/20", "split_seed": 0, "masks": "class numbers", "classes_from": "the masks",
    }  # fmt: skip
    assert {name: len(part) for name, part in seeds(dataset).items()} == {"train": 3, "val": 1, "test": 1}
    found = rows(dataset)
    assert sorted(found) == list(range(5))
    for seed, mask in found.items():
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, numbers(seed))
    assert {name: part.targets.ignore for name, part in dataset.splits.items()} == dict.fromkeys(dataset.splits, 255)


@pytest.mark.parametrize("make", [split, camvid])
@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (SPLITS, "given"),
        ({"train": range(5), "val": range(5, 7)}, "test from {val}, val a fifth of {train}"),
        ({"train": range(5), "test": range(7, 10)}, "test from {test}, val a fifth of {train}"),
    ],
)
def test_splits(make: Callable[..., Path], splits: dict[str, range], told: str, tmp_path: Path) -> None:
    dataset = load(make(tmp_path, splits))
    names = {name: f"images/{name}/" if make is split else f"{name}/" for name in SPLITS}
    assert dataset.details["split"] == told.format(**names)
    found = seeds(dataset)
    if told == "given":
        assert found == {name: list(part) for name, part in splits.items()}
    else:
        (test,) = set(splits) - {"train"}
        assert found["test"] == list(splits[test])
        assert len(found["val"]) == 1
        assert sorted(found["train"] + found["val"]) == list(splits["train"])
        assert seeds(load(tmp_path)) == found
    for seed, mask in rows(dataset).items():
        assert np.array_equal(mask, numbers(seed))


TABLES = {
    "classes.txt": "".join(f"{name} {r} {g} {b}\n" for name, (r, g, b) in COLOURS.items()),
    "class_dict.csv": "name,r,g,b\n" + "".join(f"{name}, {r},{g},{b}\n" for name, (r, g, b) in COLOURS.items()),
    "label_colors.txt": "".join(f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in COLOURS.items()),
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("file", TABLES)
def test_colours(file: str, mode: str, tmp_path: Path) -> None:
    root = camvid(tmp_path, mode=mode)
    (root / file).write_text(TABLES[file])
    dataset = load(root)
    assert dataset.classes == ("sky", "traffic light", "Void")
    assert (dataset.details["masks"], dataset.details["classes_from"]) == ("colours", file)
    for seed, mask in rows(dataset).items():
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, numbers(seed))
    assert dataset.splits["test"].targets.ignore is None


def test_an_ignored_colour_is_no_class(tmp_path: Path) -> None:
    root = camvid(tmp_path, mode="RGB")
    (root / "classes.txt").write_text("Void 0 0 0\nlight 0 0 192\nsky 128 128 128\n")
    dataset = load(root, "?ignore=#000000")
    assert dataset.classes == ("light", "sky")
    for seed, mask in rows(dataset).items():
        assert np.array_equal(mask, np.array([1, 0, 255], dtype=np.uint8)[numbers(seed)])
    assert dataset.splits["val"].targets.ignore == 255
    # One that the table does not name is ignored too.
    (root / "classes.txt").write_text("light 0 0 192\nsky 128 128 128\n")
    again = load(root, "?ignore=#000000")
    assert again.classes == ("light", "sky")
    assert all(np.array_equal(mask, rows(dataset)[seed]) for seed, mask in rows(again).items())
    with pytest.raises(
        DataError, match=r"\.png: \d+ pixels have the colour \(0, 0, 0\), which no class has; .*ignore=#rrggbb"
    ):
        rows(load(root))


def test_255_is_ignored_among_class_numbers(tmp_path: Path) -> None:
    root = plain(tmp_path)
    for path in (root / "masks").iterdir():
        values = np.asarray(Image.open(path)).copy()
        values[-1, -1] = 255
        Image.fromarray(values).save(path)
    dataset = load(root)
    assert dataset.classes == ("0", "1", "2")
    assert {int(mask[-1, -1]) for mask in rows(dataset).values()} == {255}
    everything = load(root, "?ignore=none")
    assert (len(everything.classes), everything.splits["test"].targets.ignore) == (256, None)
    (root / "classes.txt").write_text("a\nb\nc\n")
    assert load(root).classes == ("a", "b", "c")
    with pytest.raises(DataError, match=r"1 pixels have the value 255, which no class has; .*ignore=NUMBER"):
        rows(load(root, "?ignore=none"))


def test_an_ignored_number_moves_those_above_down(tmp_path: Path) -> None:
    dataset = load(plain(tmp_path), "?ignore=0")
    assert dataset.classes == ("1", "2")
    for seed, mask in rows(dataset).items():
        assert np.array_equal(mask, np.array([255, 0, 1], dtype=np.uint8)[numbers(seed)])
    (tmp_path / "classes.txt").write_text("nothing\ncat\ndog with hat\n")
    named = load(tmp_path, "?ignore=0")
    assert named.classes == ("cat", "dog with hat")
    assert all(np.array_equal(mask, rows(dataset)[seed]) for seed, mask in rows(named).items())


def test_many_classes_take_wider_numbers(tmp_path: Path) -> None:
    root = plain(tmp_path)
    wide = np.full((HEIGHT, WIDTH), 299, dtype=np.uint16)
    wide[0, 0] = 0
    Image.fromarray(wide).save(root / "masks" / "2.png")
    with pytest.raises(DataError, match=r"2\.png has the value 299; name so many classes in a classes\.txt"):
        load(root)
    (root / "classes.txt").write_text("".join(f"class-{number}\n" for number in range(300)))
    dataset = load(root)
    assert (len(dataset.classes), dataset.splits["train"].targets.ignore) == (300, None)
    assert rows(dataset)[2].dtype == np.int32
    assert rows(dataset)[2].max() == 299
    ignoring = load(root, "?ignore=299")
    assert (len(ignoring.classes), ignoring.splits["train"].targets.ignore) == (299, -1)
    assert np.unique(rows(ignoring)[2]).tolist() == [-1, 0]


def test_masks_of_one_and_of_32_bits(tmp_path: Path) -> None:
    root = plain(tmp_path)
    for path in (root / "masks").iterdir():
        Image.fromarray(numbers(int(path.stem)) > 0).save(path)
    dataset = load(root)
    assert dataset.classes == ("0", "1")
    for seed, mask in rows(dataset).items():
        assert np.array_equal(mask, (numbers(seed) > 0).astype(np.uint8))
    wide = numbers(3).astype(np.int32)
    (root / "masks" / "3.png").unlink()
    Image.fromarray(wide, mode="I").save(root / "masks" / "3.tif")
    assert np.array_equal(rows(load(root))[3], wide)
    wide[0, 0] = -5
    Image.fromarray(wide, mode="I").save(root / "masks" / "3.tif")
    with pytest.raises(DataError, match=r"3\.tif: 1 pixels have the value -5, which no class has"):
        rows(load(root))


def test_no_mask_is_decoded_before_it_is_asked_for(tmp_path: Path) -> None:
    root = plain(tmp_path)
    (root / "classes.txt").write_text("a\nb\nc\n")
    mask = root / "masks" / "1.png"
    content = mask.read_bytes()
    place = content.index(b"IDAT")
    mask.write_bytes(content[: place + 6] + b"\xff" * 8 + content[place + 14 :])
    dataset = load(root)
    with pytest.raises(DataError, match=r"cannot read the mask \S+1\.png"):
        rows(dataset)


def test_fingerprints_follow_content_meaning_and_not_place(tmp_path: Path) -> None:
    root = split(tmp_path / "one")
    shutil.copytree(root, tmp_path / "two")
    before = load(root)
    assert load(tmp_path / "two").fingerprint == before.fingerprint
    prints = {before.splits["train"].targets.digest, load(root, "?ignore=1").splits["train"].targets.digest}
    save(root / "masks" / "train" / "0.png", numbers(99))
    changed = load(root)
    assert changed.splits["train"].images.fingerprint == before.splits["train"].images.fingerprint
    assert changed.splits["test"].targets.digest == before.splits["test"].targets.digest
    prints.add(changed.splits["train"].targets.digest)
    (root / "classes.txt").write_text("a\nb\nc\n")
    prints.add(load(root).splits["train"].targets.digest)
    assert len(prints) == 4


def test_links_hidden_files_nested_ones_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = plain(tmp_path / "data", count=4)
    name = os.fsdecode(b"caf\xe9")
    pair(root / "images" / "deeper" / f"{name}.png", root / "masks" / "deeper" / f"{name}.png", 9)
    (root / "images" / ".hidden.png").write_bytes(b"")
    (root / "masks" / "._0.png").write_bytes(b"macOS")
    (root / "masks" / "notes.md").write_text("not read")
    shutil.move(root / "images" / "1.jpg", tmp_path / "moved.jpg")
    (root / "images" / "1.jpg").symlink_to(tmp_path / "moved.jpg")
    with pytest.warns(DataWarning, match=r"^masks:\S+: not read: \.md: 1$"):
        dataset = load(root)
    stems = sorted(Path(path).stem for part in dataset.splits.values() for path in part.images.paths)
    assert stems == sorted(["0", "1", "2", "3", name])
    for part in dataset.splits.values():
        for row, path in enumerate(part.images.paths):
            seed = 9 if Path(path).stem == name else int(Path(path).stem)
            assert np.array_equal(part.targets.load(row), numbers(seed))


def test_the_declaration(tmp_path: Path) -> None:
    root = plain(tmp_path / "m")
    name = f"masks:{root}?ignore=7"
    spec = dataset_spec(name)
    assert (spec.targets, spec.metric, spec.origin) == (Masks, None, str(root))
    assert tidy_folder(f"masks:{root}//?ignore=7") == name
    assert not {task.protocol for task in dataset_tasks(name)} & {"linear", "knn", "fewshot"}
    assert inspect(name).bytes == sum(path.stat().st_size for path in root.glob("images/*"))
    assert load_dataset("masks:m", Settings(data_dir=tmp_path)).fingerprint == load(root).fingerprint
    assert inspect("masks:nowhere").state == "incomplete"
    for bad in ("x", "-1", "#12345", "1,2,3", ""):
        with pytest.raises(DataError, match=rf"expected ignore=255 .* got ignore={bad}$"):
            dataset_spec(f"masks:{root}?ignore={bad}")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere.*the one option is"):
        load("nowhere?ignore=1&other=2")


def without_images(root: Path) -> None:
    shutil.rmtree(root / "images")


def odd_size(root: Path) -> None:
    save(root / "masks" / "3.png", numbers(3)[:, :5])


def lossy(root: Path) -> None:
    Image.open(root / "masks" / "3.png").save(root / "masks" / "3.jpg")
    (root / "masks" / "3.png").unlink()


def floats(root: Path) -> None:
    (root / "masks" / "3.png").unlink()
    Image.fromarray(numbers(3).astype(np.float32)).save(root / "masks" / "3.tif")


def unreadable(root: Path) -> None:
    (root / "masks" / "3.png").write_bytes(b"no picture")


def binary(root: Path) -> None:
    for path in (root / "masks").iterdir():
        Image.fromarray((numbers(1) > 0).astype(np.uint8) * 255).save(path)


def table(file: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / file).write_text(text)


def both_tables(root: Path) -> None:
    for file, text in TABLES.items():
        (root / file).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_images, r"has masks alone; expected PATH/images and PATH/masks"),
        (
            lambda root: [shutil.rmtree(root / part) for part in ("images", "masks")],
            "has neither images nor masks; expected",
        ),
        (
            lambda root: (root / "masks/2.png").unlink(),
            r"1 of images without a mask in masks \(2\)\. A mask has its image's name",
        ),
        (
            lambda root: [(root / part).unlink() for part in ("masks/2.png", "images/0.jpg", "images/1.jpg")],
            r"1 of images without a mask in masks \(2\); 2 of masks without an image in images \(0, 1\)",
        ),
        (lambda root: [path.unlink() for path in (root / "images").iterdir()], r"images: no images"),
        (lambda root: camvid(root), r"has images and masks and trainannot, valannot, testannot; expected .* not both"),
        (lambda root: save(root / "masks/train/9.png", numbers(9)), r"masks has image files beside the splits train"),
        (odd_size, r"1 masks have another size than their image: masks/3\.png has 5 x 4 pixels and its image 6 x 4"),
        (lossy, r"1 masks are in formats that change values: masks/3\.jpg \(JPEG\)"),
        (floats, r"1 masks hold neither class numbers nor RGB: masks/3\.tif \(F\)"),
        (unreadable, r"cannot read the mask \S+3\.png"),
        (
            lambda root: save(root / "masks/3.png", numbers(3), "RGB"),
            r"masks/3\.png holds colours and masks/0\.png class numbers",
        ),
        (
            lambda root: plain(root, "RGB"),
            r"the masks hold colours and there is no table of their classes; add a classes\.txt",
        ),
        (binary, r"1 classes beside what is ignored; .*0 and 255 have to be written as 0 and 1"),
        (lambda root: save(root / "masks/0.bmp", numbers(0)), r"0\.bmp and 0\.png differ in their suffix only"),
        (
            lambda root: [path.unlink() for path in root.glob("*/[1-4].*")],
            r"too few images to fill the (val|test) split",
        ),
        (both_tables, r"classes\.txt and class_dict\.csv and label_colors\.txt name the classes; keep one"),
        (table("classes.txt", "a\nb 1 2 3\nc\n"), r"expected NAME or NAME R G B with colours from 0 to 255, got 'a'"),
        (table("classes.txt", "a 1 2 3\nb 1 2 256\n"), r"got 'b 1 2 256'"),
        (table("classes.txt", "a\nb\na\n"), r"classes\.txt: the name a is there twice"),
        (table("classes.txt", "\n"), r"classes\.txt: no class"),
        (table("class_dict.csv", "name,r,g,b\na,1,2,3\nb,1,2,3\n"), r"the colour \(1, 2, 3\) is there twice"),
        (
            table("class_dict.csv", "name,r,g,b\na,1,2\n"),
            r"expected NAME,R,G,B with colours from 0 to 255, got 'a,1,2'",
        ),
        (table("label_colors.txt", "1 2 3 a\n1 2 b\n"), r"expected R G B NAME .* got '1 2 b'"),
    ],
)
def test_refusals(spoil: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    root = plain(tmp_path)
    spoil(root)
    with pytest.raises(DataError, match=told):
        load(root)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: shutil.rmtree(root / "val"), r"has valannot without the images"),
        (lambda root: shutil.rmtree(root / "testannot"), r"has test without the masks"),
        (
            lambda root: [shutil.rmtree(root / f"{part}{end}") for part in ("val", "test") for end in ("", "annot")],
            r"train/ alone",
        ),
        (lambda root: (root / "testannot/8.png").unlink(), r"1 of test without a mask in testannot \(8\)"),
    ],
)
def test_refusals_in_the_layout_of_camvid(spoil: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    root = camvid(tmp_path)
    spoil(root)
    with pytest.raises(DataError, match=told):
        load(root)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: shutil.rmtree(root / "masks/val"), r"different splits: val in one of them only"),
        (
            lambda root: pair(root / "images/valid/1.png", root / "masks/valid/1.png", 1),
            r"images: val and valid are both val",
        ),
        (lambda root: pair(root / "images/more/1.png", root / "masks/more/1.png", 1), r"has more beside the splits"),
    ],
)
def test_refusals_among_splits(spoil: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    root = split(tmp_path)
    spoil(root)
    with pytest.raises(DataError, match=told):
        load(root)


def test_ignore_of_the_other_sort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the masks hold numbers, of which one is left out by ignore=NUMBER"):
        load(plain(tmp_path / "numbers"), "?ignore=#000000")
    root = plain(tmp_path / "colours", "RGB")
    (root / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match=r"hold colours and \S+classes\.txt names no colours"):
        load(root)
    (root / "classes.txt").write_text(TABLES["classes.txt"])
    with pytest.raises(DataError, match="the masks hold colours, of which one is left out by ignore=#rrggbb"):
        load(root, "?ignore=0")


def test_an_unreadable_picture_is_told_when_it_is_decoded(tmp_path: Path) -> None:
    root = split(tmp_path)
    (root / "images" / "test" / "8.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read the image \S+8\.png"):
        load(root).splits["test"].images.load([1])
    assert load(root, bad_images="skip").splits["test"].images.load([1]) == [None]


def test_a_split_inside_of_a_split_is_refused(tmp_path: Path) -> None:
    root = split(tmp_path / "masks")
    for folder in ("images", "masks"):
        (root / folder / "val").rename(root / folder / "train" / "val")
    with pytest.raises(
        DataError, match=r"images/train has val in it, so that one split would be read as part of another"
    ):
        load(root)
