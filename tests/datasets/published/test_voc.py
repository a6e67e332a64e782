"""`voc`, the study's detection: on a tiny tree in the archives' layout, against torchvision's reader, fetched, and refused."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv

from sslbench.cli import main
from sslbench.config import Settings
from sslbench.datasets import Boxes, Dataset, dataset_spec, inspect, list_datasets, load_dataset
from sslbench.datasets.published import voc, voc2007
from sslbench.datasets.published.facts import Expected
from sslbench.errors import DataError, IncompleteDataError, UnknownNameError
from sslbench.protocols import ProtocolSpec, register_protocol
from sslbench.sources import Source
from sslbench.studies.ericsson2021 import STUDY
from sslbench.tasks import Task, expand_tasks, parse_task
from tests.conftest import Registries, Server
from tests.datasets.published.builders import VOC, BuiltBoxes, voc_detection

LAYOUTS = ("voc2007/VOCdevkit", "VOCdevkit", "voc/VOCdevkit", "VOC2007/VOCdevkit")
# So many are on disk in a tree of the default size.
COUNTS = {"train": 4, "val": 4, "test": 4}


def load(data_dir: Path, check: str = "loose") -> Dataset:
    return load_dataset("voc", Settings(data_dir=data_dir, check_data=check))


def publish(monkeypatch: pytest.MonkeyPatch, registries: Registries, **changes: object) -> None:
    """Let a tiny tree be the published data, or what else may be changed."""
    given = {"expected": Expected(20, COUNTS), **changes}
    spec = replace(voc.SPEC, **given)  # type: ignore[arg-type]
    monkeypatch.setattr(voc, "SPEC", spec)
    registries.redeclare(spec)


def test_the_facts() -> None:
    spec = dataset_spec("voc")
    assert spec is voc.SPEC
    assert (spec.targets, spec.metric, spec.num_classes, spec.markers) == (Boxes, None, 20, ("download",))
    assert spec.expected is not None
    images = spec.expected.images
    # Trainval of 2007 and 2012, and test of 2007; each year's counts are those of its lists.
    assert images["train"] + images["val"] == 5011 + 11540 == 16551
    assert images == {"train": 2501 + 5717, "val": 2510 + 5823, "test": 4952}
    assert voc2007.SPEC.expected is not None
    assert voc2007.SPEC.expected.images == {"train": 2501, "val": 2510, "test": 4952}
    assert (spec.folder, spec.sources[:2]) == (voc2007.SPEC.folder, voc2007.SPEC.sources)
    # Its switches are of recognition.
    assert "voc" not in STUDY.datasets


@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_boxes_and_pictures(layout: str, tmp_path: Path) -> None:
    built = voc_detection(tmp_path, layout=layout)
    dataset = load(tmp_path)
    assert dataset.classes == VOC
    assert list(dataset.splits) == ["train", "val", "test"]
    assert dataset.details["layout"].endswith(f"({layout})")
    assert (dataset.details["val"], dataset.details["complete"]) == ("official", False)
    for split, names in built.splits.items():
        part = dataset.splits[split]
        assert [name[:4] for name in names] == (["2007"] * 4 if split == "test" else ["2007", "2007", "2012", "2012"])
        assert [Path(path).stem for path in part.images.paths] == [name[5:] for name in names]
        for row, name in enumerate(names):
            image = part.images.load([row])[0]
            assert image.size == built.sizes[name]
            objects = part.targets.load(row)
            written = built.objects[name]
            assert [dataset.classes[label] for label in objects.labels] == [kind for kind, _, _ in written]
            assert objects.difficult.tolist() == [difficult for _, _, difficult in written]
            wanted = np.array([(x1 - 1, y1 - 1, x2, y2) for _, (x1, y1, x2, y2), _ in written], dtype=np.float32)
            np.testing.assert_array_equal(objects.boxes, wanted)
            assert objects.boxes.dtype == np.float32
    difficult = [mark for name in built.splits["test"] for _, _, mark in built.objects[name]]
    assert 0 < sum(difficult) < len(difficult)


def test_boxes_lie_on_what_the_picture_shows(tmp_path: Path) -> None:
    """The last object is on top; its box has its colour to the corners, and another one beside them."""
    built = voc_detection(tmp_path, pictures_per_split=12)
    part = load(tmp_path).splits["test"]
    beside = 0
    for row, name in enumerate(built.splits["test"]):
        pixels = np.asarray(part.images.load([row])[0]).astype(int)
        x1, y1, x2, y2 = part.targets.load(row).boxes[-1].astype(int).tolist()
        middle = pixels[(y1 + y2) // 2, (x1 + x2) // 2]
        for y, x in ((y1, x1), (y1, x2 - 1), (y2 - 1, x1), (y2 - 1, x2 - 1)):
            assert np.abs(pixels[y, x] - middle).max() < 60
        if x2 < built.sizes[name][0]:
            beside += np.abs(pixels[(y1 + y2) // 2, x2:][0] - middle).max() > 60
    assert beside > 3


def test_boxes_are_those_that_torchvision_parses(tmp_path: Path) -> None:
    voc_detection(tmp_path, pictures_per_split=7, layout="VOCdevkit")
    dataset = load(tmp_path)
    for split, years in {"train": ("2007", "2012"), "val": ("2007", "2012"), "test": ("2007",)}.items():
        rows = dataset.splits[split]
        reference = [row for year in years for row in tv.VOCDetection(str(tmp_path), year=year, image_set=split)]
        assert len(rows.targets) == len(reference) == 7
        for row, (image, parsed) in enumerate(reference):
            np.testing.assert_array_equal(np.asarray(image), np.asarray(rows.images.load([row])[0]))
            annotated = parsed["annotation"]["object"]
            objects = rows.targets.load(row)
            assert [dataset.classes[label] for label in objects.labels] == [item["name"] for item in annotated]
            assert objects.difficult.tolist() == [item["difficult"] == "1" for item in annotated]
            corners = [[float(item["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")] for item in annotated]
            wanted = np.array(corners) - [1, 1, 0, 0]
            np.testing.assert_array_equal(objects.boxes, wanted.astype(np.float32))


def test_fractions_are_kept(tmp_path: Path) -> None:
    built = voc_detection(tmp_path)
    row, name = next((row, name) for row, name in enumerate(built.splits["train"]) if name.startswith("2012"))
    x1 = built.objects[name][0][1][0]
    assert x1 % 1
    assert load(tmp_path).splits["train"].targets.load(row).boxes[0, 0] == np.float32(x1 - 1)


def test_another_place_is_the_same_data_and_other_data_are_others(tmp_path: Path) -> None:
    built = voc_detection(tmp_path / "one")
    voc_detection(tmp_path / "two", layout="VOCdevkit")
    before = load(tmp_path / "one")
    assert load(tmp_path / "two").fingerprint == before.fingerprint
    name = built.splits["test"][0][5:]
    annotation = built.root / f"VOC2007/Annotations/{name}.xml"
    x1 = built.objects[f"2007/{name}"][0][1][0]
    annotation.write_text(annotation.read_text().replace(f"<xmin>{x1}<", f"<xmin>{x1 + 1}<", 1))
    moved = load(tmp_path / "one")
    assert moved.splits["test"].targets.digest != before.splits["test"].targets.digest
    assert moved.details["fingerprint"]["test"]["rows"] != before.details["fingerprint"]["test"]["rows"]
    assert moved.splits["test"].images.fingerprint == before.splits["test"].images.fingerprint


def rename(built: BuiltBoxes, old: str, new: str) -> None:
    """Give a picture another name, in every list too."""
    year, before = old.split("/")
    root = built.root / f"VOC{year}"
    (root / f"JPEGImages/{before}.jpg").rename(root / f"JPEGImages/{new}.jpg")
    (root / f"Annotations/{before}.xml").rename(root / f"Annotations/{new}.xml")
    for path in root.glob("ImageSets/Main/*.txt"):
        path.write_text(path.read_text().replace(before, new))


def test_one_name_in_two_years_is_two_pictures(tmp_path: Path) -> None:
    built = voc_detection(tmp_path)
    first, last = built.splits["train"][0], built.splits["train"][-1]
    assert (first[:4], last[:4]) == ("2007", "2012")
    rename(built, last, first[5:])
    dataset = load(tmp_path)
    pictures = dataset.splits["train"].images.load([0, 3])
    assert [image.size for image in pictures] == [built.sizes[first], built.sizes[last]]
    kinds = [[dataset.classes[label] for label in dataset.splits["train"].targets.load(row).labels] for row in (0, 3)]
    assert kinds == [[kind for kind, _, _ in built.objects[name]] for name in (first, last)]


def test_as_published_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries) -> None:
    built = voc_detection(tmp_path)
    with pytest.raises(
        IncompleteDataError, match="not the published ones: train: expected 8218 images, found 4; val: ex"
    ):
        load(tmp_path, "strict")
    assert inspect("voc", Settings(data_dir=tmp_path)).state == "incomplete"
    publish(monkeypatch, registries)
    dataset = load(tmp_path, "strict")
    assert dataset.details["complete"] is True
    status = inspect("voc", Settings(data_dir=tmp_path))
    assert (status.state, status.missing) == ("ready", ())
    used = [path for part in ("JPEGImages", "Annotations", "ImageSets/Main") for path in built.root.glob(f"*/{part}/*")]
    assert status.bytes == sum(path.stat().st_size for path in used)


def test_without_files_it_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        IncompleteDataError, match=r"^voc: no files in .*one of voc2007/VOCdevkit, VOCdevkit, .*--sslbench-data"
    ):
        load(tmp_path)
    status = inspect("voc", Settings(data_dir=tmp_path))
    assert (status.state, status.missing) == ("absent", ())
    assert (
        "`sslbench fetch --dataset voc` gets VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar, VOCtrainval_11-May-2012"
        in (status.how)
    )


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("VOC2012", r"lacks VOC2012/JPEGImages, VOC2012/Annotations, VOC2012/ImageSets/Main"),
        ("VOC2007/Annotations", r"lacks VOC2007/Annotations"),
        ("VOC2007/ImageSets/Main/test.txt", r"VOC2007/ImageSets/Main lacks test\.txt"),
        ("VOC2012/ImageSets/Main/val.txt", r"VOC2012/ImageSets/Main lacks val\.txt"),
    ],
)
def test_what_an_incomplete_extraction_lacks_is_named(lost: str, told: str, tmp_path: Path) -> None:
    path = voc_detection(tmp_path).root / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(IncompleteDataError, match=rf"^voc: .*{told}.*sslbench fetch --dataset voc"):
        load(tmp_path)
    status = inspect("voc", Settings(data_dir=tmp_path))
    assert status.state == "incomplete"
    assert status.missing


@pytest.mark.parametrize(
    ("folder", "suffix", "what"), [("JPEGImages", "jpg", "images"), ("Annotations", "xml", "annotations")]
)
def test_absent_and_empty_files_are_counted_and_named(folder: str, suffix: str, what: str, tmp_path: Path) -> None:
    built = voc_detection(tmp_path, pictures_per_split=14)
    victims = built.splits["train"][3:10]
    for number, name in enumerate(victims):
        path = built.root / f"VOC{name[:4]}" / folder / f"{name[5:]}.{suffix}"
        path.write_bytes(b"") if number % 2 else path.unlink()
    with pytest.raises(
        IncompleteDataError, match=rf"^voc: 7 of the 14 {what} of train are absent or empty.*and 2 more"
    ) as caught:
        load(tmp_path)
    assert caught.value.missing == tuple(victims[:5])
    assert all(name in str(caught.value) for name in victims[:5])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<name>{kind}</name>", "<name>unicorn</name>", r"objects of the challenge's 20 kinds.*'unicorn'.*extract"),
        ("<xmin>{x1}</xmin>", "<xmin>500</xmin>", r"boxes with an area, got '\w+' with xmin, ymin, xmax, ymax 500, "),
        ("<annotation>", "<!DOCTYPE a><annotation>", r"a DTD or an entity"),
        ("</annotation>", "", r"no element found.*expected the XML"),
    ],
)
@pytest.mark.parametrize("which", [0, -1])
def test_an_annotation_that_cannot_be_is_refused(which: int, old: str, new: str, told: str, tmp_path: Path) -> None:
    built = voc_detection(tmp_path)
    # Not the first, so that the one that is named has been looked for.
    name = built.splits["test"][2]
    kind, corners, _ = built.objects[name][which]
    path = built.root / f"VOC2007/Annotations/{name[5:]}.xml"
    text, old = path.read_text(), old.format(kind=kind, x1=corners[0])
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=rf"{name[5:]}\.xml.*{told}"):
        load(tmp_path)
    assert inspect("voc", Settings(data_dir=tmp_path)).state == "incomplete"


def tarred(root: Path, members: Iterable[Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(members):
            archive.add(path, arcname=path.relative_to(root).as_posix())
    return stream.getvalue()


def archives(tmp_path: Path) -> dict[str, bytes]:
    """The three archives, as the challenge cuts them: that of 2007's test holds what belongs to test alone."""
    built = voc_detection(tmp_path, layout="VOCdevkit")
    files = [path for path in built.root.rglob("*") if path.is_file()]
    held_out = {name[5:] for name in built.splits["test"]}
    test = {path for path in files if "VOC2007" in path.parts and (path.stem in held_out or path.stem.endswith("test"))}
    late = {path for path in files if "VOC2012" in path.parts}
    return {
        "VOCtrainval_06-Nov-2007.tar": tarred(tmp_path, set(files) - test - late),
        "VOCtest_06-Nov-2007.tar": tarred(tmp_path, test),
        "VOCtrainval_11-May-2012.tar": tarred(tmp_path, late),
    }


def test_fetching_it_goes_on_from_voc2007(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    registries: Registries,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources = tuple(
        Source(
            name,
            (server.add(f"/{name}", data),),
            md5=hashlib.md5(data).hexdigest(),
            size=len(data),
            unpack=".",
        )
        for name, data in archives(tmp_path / "made").items()
    )
    publish(monkeypatch, registries, sources=sources)
    early = replace(voc2007.SPEC, sources=sources[:2], expected=Expected(20, {"train": 2, "val": 2, "test": 4}))
    monkeypatch.setattr(voc2007, "SPEC", early)
    registries.redeclare(early)
    data = tmp_path / "data"

    assert main(["fetch", "--dataset", "voc*", "--dry-run", "--data", str(data)]) == 0
    total = sum(source.size or 0 for source in sources)
    # What both need counts once.
    assert capsys.readouterr().out.splitlines()[-1] == f"to fetch: 3 files, {total / 1000:.1f} kB"
    assert server.seen == []

    assert main(["fetch", "--dataset", "voc2007", "--data", str(data)]) == 0
    assert [path for path, _ in server.seen] == [f"/{source.filename}" for source in sources[:2]]
    status = inspect("voc", Settings(data_dir=data))
    assert (status.state, status.missing[0]) == ("incomplete", "VOC2012/JPEGImages")

    assert main(["fetch", "--dataset", "voc", "--data", str(data)]) == 0
    assert [path for path, _ in server.seen[2:]] == ["/VOCtrainval_11-May-2012.tar"]
    dataset = load(data, "strict")
    assert dataset.details["layout"] == "torchvision (voc2007/VOCdevkit)"
    assert dataset.fingerprint == load(tmp_path / "made").fingerprint
    assert inspect("voc2007", Settings(data_dir=data)).state == "ready"
    capsys.readouterr()
    assert main(["fetch", "--dataset", "voc*", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines() == ["dataset voc: ready", "dataset voc2007: ready"]
    assert len(server.seen) == 3


@pytest.fixture
def finding(registries: Registries) -> ProtocolSpec:
    """A protocol that takes boxes, in two variants."""
    return register_protocol(ProtocolSpec("finding", 1, "m:f", "x", variants=("quick", "slow"), takes=(Boxes,)))


@pytest.mark.usefixtures("finding")
@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("finding/voc/quick", Task("finding", "voc", "quick")),
        ("finding/voc:my/boxes/quick", Task("finding", "voc:my/boxes", "quick")),
        ("finding/voc:voc/slow", Task("finding", "voc:voc", "slow")),
        ("finding/voc:/data/VOCdevkit/VOC2007/slow", Task("finding", "voc:/data/VOCdevkit/VOC2007", "slow")),
        ("linear/voc2007", Task("linear", "voc2007")),
    ],
)
def test_the_dataset_and_the_folders_keep_their_names(text: str, task: Task) -> None:
    assert parse_task(text) == task
    assert task.id == text
    assert expand_tasks([text], "embedded") == [task]


@pytest.mark.usefixtures("finding")
def test_globs_and_misspellings_tell_them_apart() -> None:
    assert {"voc", "voc2007"} <= set(list_datasets("voc*"))
    assert not [name for name in list_datasets() if ":" in name]
    assert [task.id for task in expand_tasks(["finding/voc:x*"], "embedded")] == [
        "finding/voc:x/quick",
        "finding/voc:x/slow",
    ]
    with pytest.raises(UnknownNameError, match="unknown dataset 'voc2012'; nearest: voc2007, voc"):
        dataset_spec("voc2012")
    with pytest.raises(UnknownNameError, match="unknown variant of finding 'fast'"):
        parse_task("finding/voc/fast")
    with pytest.raises(UnknownNameError, match="'finding/voc2007/quick' names no task: finding takes boxes"):
        parse_task("finding/voc2007/quick")
    with pytest.raises(UnknownNameError, match=r"'linear/voc' names no task: linear takes .*but voc has boxes"):
        parse_task("linear/voc")


def test_the_list_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets", "voc*"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {"voc", "voc2007", "voc:PATH"}
    assert "20 classes  boxes " in lines["voc"]
