"""Tiny archives in the exact layouts of the study's datasets: `build("flowers", data_dir)`.

Every picture has a colour of its own, which follows from its id, so that a decoded picture tells which one it is. The
first four of a dataset are an RGB, a greyscale and a CMYK JPEG and a palette PNG, all named as the dataset names them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from scipy.io import savemat

Row = tuple[str, int]
SIZES = {"train": 3, "val": 2, "test": 2}
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CHESTX = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax")
ISIC = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")


@dataclass
class Built:
    """What was written: class names, ids with labels of the official splits in their order, and colours by id."""

    classes: tuple[str, ...]
    splits: dict[str, list[tuple[str, Any]]]
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    root: Path = Path()


def colour_of(name: str) -> tuple[int, int, int]:
    """A colour that depends on the id alone."""
    number = zlib.crc32(name.encode())
    return number & 255, number >> 8 & 255, number >> 16 & 255


class Album:
    """Saves one-coloured pictures in varying modes and remembers what they look like as RGB."""

    def __init__(self, modes: Sequence[str] = ("RGB", "L", "CMYK", "P"), size: tuple[int, int] = (24, 18)) -> None:
        self.colours: dict[str, tuple[int, int, int]] = {}
        self._modes = chain(modes, cycle(["RGB"]))
        self._size = size

    def add(self, name: str, path: Path) -> None:
        """Write the picture of an id."""
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = next(self._modes)
        image = Image.new("RGB", self._size, colour_of(name))
        image = image.quantize(4) if mode == "P" else image.convert(mode)
        lossless = mode in ("P", "RGBA") or path.suffix == ".png"
        image.save(path, "PNG" if lossless else "JPEG", **({} if lossless else {"quality": 95}))
        self.colours[name] = image.convert("RGB").getpixel((0, 0))


def build(
    name: str,
    data_dir: Path,
    layout: str = "",
    *,
    classes: int = 3,
    sizes: Mapping[str, int] = SIZES,
) -> Built:
    """Write a dataset below `data_dir`. sizes: images of each class and split. layout: the first of LAYOUTS if empty."""
    return _BUILDERS[name](data_dir / (layout or LAYOUTS[name][0]), classes, sizes)


# The directories that a dataset's archives may be extracted to; for cars and chestx with the mirror's arrangement.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "aircraft": ("aircraft/fgvc-aircraft-2013b/data", "fgvc-aircraft-2013b/data", "Aircraft/data"),
    "caltech101": ("caltech101", "Caltech101", "Caltech101/caltech101"),
    "cars": ("stanford_cars", "Cars", "stanford_cars:devkit", "stanford_cars:kaggle", "Cars:kaggle:devkit"),
    "cifar10": ("cifar10/cifar-10-batches-py", "cifar-10-batches-py", "CIFAR10/cifar-10-batches-py"),
    "cifar100": ("cifar100/cifar-100-python", "cifar-100-python", "CIFAR100/cifar-100-python"),
    "dtd": ("dtd/dtd", "DTD", "dtd"),
    "flowers": ("flowers-102", "Flowers"),
    "food": ("food/food-101", "food-101", "Food/food-101"),
    "pets": ("oxford-iiit-pet", "Pets"),
    "sun397": ("sun397", "SUN397:flat", "sun397/SUN397:flat"),
    "voc2007": ("voc2007/VOCdevkit/VOC2007", "VOCdevkit/VOC2007", "VOC2007/VOCdevkit/VOC2007"),
    "cropdiseases": ("CropDiseases", "plant-disease"),
    "eurosat": ("eurosat", "EuroSAT"),
    "isic": ("ISIC", "isic"),
    "chestx": ("ChestX", "chestx", "ChestX:kaggle", "ChestX:v2020"),
}


def _named(given: Sequence[str], count: int, more: str) -> list[str]:
    """`count` names: the given ones first, then numbered ones."""
    return list(islice(chain(given, (more.format(number) for number in range(1000))), count))


def _write(path: Path, lines: Sequence[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())


def _aircraft(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    variants = _named(["Cessna 172", "707-320", "F-16A/B", "Boeing 717"], count, "variant {}")
    album, splits, classes, number = Album(), {}, sorted(variants), 34958
    for split in ("train", "val", "test"):
        # Neither images nor variants are in order in the official lists.
        rows = []
        for variant in variants * sizes[split]:
            number = (number * 31) % 3_000_017
            rows.append((f"{number:07d}", variant))
            album.add(rows[-1][0], root / "images" / f"{number:07d}.jpg")
        _write(root / f"images_variant_{split}.txt", [f"{image} {variant}" for image, variant in rows])
        splits[split] = [(image, classes.index(variant)) for image, variant in rows]
    return Built(tuple(classes), splits, album.colours, root)


def _caltech101(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    """No lists are written, so that they are drawn; the truth is therefore left to the test."""
    classes = sorted(_named(["Faces", "accordion", "BACKGROUND_Google", "car_side"], count, "kind_{}"))
    album, rows = Album(), []
    for label, name in enumerate(classes):
        for number in range(1, 1 + 5 * sum(sizes.values())):
            image = f"{name}/image_{number:04d}.jpg"
            album.add(image, root / "101_ObjectCategories" / image)
            rows.append((image, label))
    # The official archive holds a stray file in the background folder.
    (root / "101_ObjectCategories" / classes[0] / "tmp").write_text("")
    return Built(tuple(classes), {"folders": rows}, album.colours, root)


def _cars(place: Path, count: int, sizes: Mapping[str, int]) -> Built:
    root, nested = Path(str(place).partition(":")[0]), "kaggle" in place.name
    classes = _named(
        ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"], count, "car {}"
    )
    album, splits = Album(), {}
    # The class is a uint8 in the official files, and no two files in a row show the same car.
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    for split in ("train", "test"):
        labels = [label for _ in range(sizes[split]) for label in range(count)][::-1]
        files = [f"{number:05d}.jpg" for number in range(1, 1 + len(labels))]
        for file in files:
            folder = root / f"cars_{split}" / f"cars_{split}" if nested else root / f"cars_{split}"
            album.add(f"{split}/{file}", folder / file)
        table = np.array(
            [(1, 2, 3, 4, np.uint8(label + 1), file) for label, file in zip(labels, files, strict=True)],
            dtype=[(field, "O") for field in fields],
        )
        name = "devkit/cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat"
        path = root / ("devkit" if "devkit" in place.name else "") / name if split == "test" else root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"annotations": table[None]})
        splits[split] = [(f"{split}/{file}", label) for label, file in zip(labels, files, strict=True)]
    names = np.array(classes, dtype=object)[None]
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})
    return Built(tuple(classes), splits, album.colours, root)


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes as Python 2 did: texts and bytes as byte strings, and NumPy's old module names."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_text(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    def save_global(self, value: Any, name: str | None = None) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{value.__qualname__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text
    dispatch[type(Built)] = dispatch[type(_write)] = dispatch[type(len)] = save_global


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(dict(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def _cifar_batch(path: Path, count: int, size: int, key: str, built: Built, split: str) -> None:
    labels = [label for _ in range(size) for label in range(count)][::-1]
    ids = [f"{path.name}/{row}" for row in range(len(labels))]
    planes = np.array([np.repeat(np.array(colour_of(name), dtype=np.uint8), 1024) for name in ids])
    # One pixel tells rows from columns: the second of the first row is white.
    planes[:, [1, 1025, 2049]] = 255
    _dump(path, {"data": planes, key: labels, "batch_label": "x", "filenames": ids})
    built.splits.setdefault(split, []).extend(zip(ids, labels, strict=True))
    built.colours.update({name: colour_of(name) for name in ids})


def _cifar10(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    built = Built(tuple(_named(["airplane", "automobile", "bird"], count, "thing {}")), {}, {}, root)
    for number in range(1, 6):
        _cifar_batch(root / f"data_batch_{number}", count, sizes["train"], "labels", built, "train")
    _cifar_batch(root / "test_batch", count, sizes["test"], "labels", built, "test")
    _dump(root / "batches.meta", {"label_names": list(built.classes), "num_vis": 3072})
    return built


def _cifar100(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    built = Built(tuple(_named(["apple", "aquarium_fish", "baby"], count, "thing {}")), {}, {}, root)
    for split in ("train", "test"):
        _cifar_batch(root / split, count, sizes[split] * 3, "fine_labels", built, split)
    _dump(root / "meta", {"fine_label_names": list(built.classes), "coarse_label_names": ["fish"]})
    return built


def _dtd(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    classes = sorted(_named(["zigzagged", "banded", "polka-dotted"], count, "texture{}"))
    album, splits = Album(), {}
    for split in ("train", "val", "test"):
        rows = [(f"{name}/{name}_{split}{row:04d}.jpg", label) for row in range(sizes[split])
                for label, name in enumerate(classes)]  # fmt: skip
        for image, _ in rows:
            album.add(image, root / "images" / image)
        _write(root / "labels" / f"{split}1.txt", [image for image, _ in rows])
        # The other partitions are there too and must not be taken.
        _write(root / "labels" / f"{split}2.txt", [image for image, _ in reversed(rows)])
        splits[split] = rows
    (root / "images" / classes[0] / ".directory").write_text("[Dolphin]")
    return Built(tuple(classes), splits, album.colours, root)


def _flowers(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    total = count * sum(sizes.values())
    # Image numbers are spread over the splits, and neither they nor the labels are sorted in them.
    numbers = [1 + (number * 7919) % total for number in range(total)] if total % 7919 else list(range(1, total + 1))
    labels = np.zeros(total, dtype=np.uint8)
    album, splits, start = Album(), {}, 0
    for split in ("train", "val", "test"):
        part = numbers[start : start + count * sizes[split]]
        start += len(part)
        for position, number in enumerate(part):
            labels[number - 1] = 1 + position % count
            album.add(f"image_{number:05d}.jpg", root / "jpg" / f"image_{number:05d}.jpg")
        splits[split] = [(f"image_{number:05d}.jpg", position % count) for position, number in enumerate(part)]
    savemat(root / "imagelabels.mat", {"labels": labels[None]})
    keys = {"train": "trnid", "val": "valid", "test": "tstid"}
    ids = {keys[split]: [int(name[6:11]) for name, _ in rows] for split, rows in splits.items()}
    savemat(root / "setid.mat", {key: np.array(part, dtype=np.uint16)[None] for key, part in ids.items()})
    return Built(tuple(str(number) for number in range(1, count + 1)), splits, album.colours, root)


def _food(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    classes = _named(["apple_pie", "baby_back_ribs", "baklava"], count, "dish_{}")
    album, splits = Album(), {}
    for split in ("train", "test"):
        # Within a class the order is that of the list; the keys are in another order than classes.txt.
        listed = {
            name: [f"{name}/{1000 + (row * 17 + label) % 97}{split[1]}" for row in range(sizes[split] * 2)]
            for label, name in reversed(list(enumerate(classes)))
        }
        for image in chain(*listed.values()):
            album.add(image, root / "images" / f"{image}.jpg")
        (root / "meta").mkdir(parents=True, exist_ok=True)
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
        splits[split] = [(image, label) for label, name in enumerate(classes) for image in listed[name]]
    _write(root / "meta" / "classes.txt", classes)
    return Built(tuple(classes), splits, album.colours, root)


def _pets(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    classes = _named(["Abyssinian", "american_bulldog", "Egyptian_Mau"], count, "breed_{}")
    album, splits = Album(), {}
    for split, file, first in (("train", "trainval", 100), ("test", "test", 1)):
        rows = [
            (f"{name}_{first + row}", label) for label, name in enumerate(classes) for row in range(sizes[split] * 2)
        ]
        for image, _ in rows:
            album.add(image, root / "images" / f"{image}.jpg")
        _write(root / "annotations" / f"{file}.txt", [f"{image} {label + 1} 1 {label + 1}" for image, label in rows])
        splits[split] = rows
    (root / "images" / "Abyssinian_100.mat").write_text("")
    return Built(tuple(classes), splits, album.colours, root)


def _sun397(place: Path, count: int, sizes: Mapping[str, int]) -> Built:
    root, flat = Path(str(place).partition(":")[0]), ":" in place.name
    images = root if flat else root / "SUN397"
    given = ["/c/church/outdoor", "/a/apartment_building/outdoor", "/a/abbey", "/c/church/indoor"]
    listed = _named(given, count, "/s/scene{}")
    classes = sorted(name[3:] for name in listed)
    album, splits = Album(), {}
    for split, file in (("train", "Training_01"), ("test", "Testing_01")):
        rows = [(f"{name}/sun_{split}{row:02d}.jpg"[1:], classes.index(name[3:])) for name in listed
                for row in range(sizes[split] * 2)]  # fmt: skip
        for image, _ in rows:
            album.add(image, images / image)
        _write(root / f"{file}.txt", [f"/{image}" for image, _ in rows], "\r\n")
        splits[split] = rows
    _write(images / "ClassName.txt", listed, "\r\n")
    return Built(tuple(classes), splits, album.colours, root)


def _voc2007(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    """Every class has a positive in every split; difficult ones (0) and double spaces as in the official lists."""
    album, splits, number = Album(), {}, 0
    for split in ("train", "val", "test"):
        rows = []
        for row in range(max(4, count * sizes[split])):
            number += 3
            image = f"{number:06d}"
            album.add(image, root / "JPEGImages" / f"{image}.jpg")
            marks = [(1, -1, -1, 0)[(row + column) % 4] for column in range(20)]
            rows.append((image, marks))
        for column, name in enumerate(VOC):
            path = root / "ImageSets" / "Main" / f"{name}_{split}.txt"
            _write(path, [f"{image} {marks[column]:2d}" for image, marks in rows])
        splits[split] = [(image, [int(mark == 1) for mark in marks]) for image, marks in rows]
    return Built(tuple(VOC), splits, album.colours, root)


def _folders(root: Path, classes: Sequence[str], size: int, name: str, **album: Any) -> Built:
    pictures, rows = Album(**album), []
    for label, kind in enumerate(sorted(classes)):
        for number in range(size):
            image = f"{kind}/{name.format(kind, number)}"
            pictures.add(image, root / image)
            rows.append((image, label))
    return Built(tuple(sorted(classes)), {"all": rows}, pictures.colours, root)


def _cropdiseases(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    given = ["Tomato___healthy", "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot", "Pepper,_bell___healthy"]
    classes = _named(given, count, "Crop___disease_{}")
    _folders(root / "dataset" / "test", classes, 1, "held out {1}.JPG")
    return _folders(root / "dataset" / "train", classes, sum(sizes.values()), "{1:02d}e6-4___RS_HL 57.JPG")


def _eurosat(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    from sslbench.datasets.published.eurosat import CLASSES

    # All ten, since their names are known.
    return _folders(root / "2750", CLASSES, sum(sizes.values()), "{}_{}.jpg")


def _isic(root: Path, count: int, sizes: Mapping[str, int]) -> Built:
    album, rows = Album(), []
    for number in range(7 * sum(sizes.values())):
        image = f"ISIC_{24306 + number * 13:07d}"
        album.add(image, root / "ISIC2018_Task3_Training_Input" / f"{image}.jpg")
        rows.append((image, (number * 3) % 7))
    name = "ISIC2018_Task3_Training_GroundTruth"
    lines = [",".join([image, *(f"{float(label == column)}" for column in range(7))]) for image, label in rows]
    _write(root / name / f"{name}.csv", [",".join(["image", *ISIC]), *lines])
    (root / "ISIC2018_Task3_Training_Input" / "ATTRIBUTION.txt").write_text("")
    return Built(ISIC, {"all": rows}, album.colours, root)


def _chestx(place: Path, count: int, sizes: Mapping[str, int]) -> Built:
    root, nested = Path(str(place).partition(":")[0]), "kaggle" in place.name
    album, rows, kept = Album(("L", "L", "RGBA"), (40, 40)), [], []
    for number in range(7 * sum(sizes.values())):
        image, label = f"{number:08d}_{number % 3:03d}.png", (number * 2) % 7
        rows.append((image, CHESTX[label]))
        kept.append((image, label))
        if number % 3 == 0:
            more = ("No Finding", "Pneumonia", "Mass|Nodule", "Hernia", "Effusion|Pneumonia")[number % 5]
            rows.append((f"{number:08d}_900.png", more))
    for number, (image, _) in enumerate(rows):
        folder = f"images_{1 + number * 12 // len(rows):03d}/images" if nested else "images"
        album.add(image, root / folder / image)
    name = "Data_Entry_2017_v2020.csv" if "v2020" in place.name else "Data_Entry_2017.csv"
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    buffer = io.StringIO()
    csv.writer(buffer).writerows([image, found, 0, 1, 2682, 2749, 0.143, 0.143, ""] for image, found in rows)
    _write(root / name, [header, *buffer.getvalue().splitlines()])
    return Built(CHESTX, {"all": kept}, album.colours, root)


_BUILDERS: dict[str, Callable[[Path, int, Mapping[str, int]], Built]] = {
    "aircraft": _aircraft, "caltech101": _caltech101, "cars": _cars, "cifar10": _cifar10, "cifar100": _cifar100,
    "dtd": _dtd, "flowers": _flowers, "food": _food, "pets": _pets, "sun397": _sun397, "voc2007": _voc2007,
    "cropdiseases": _cropdiseases, "eurosat": _eurosat, "isic": _isic, "chestx": _chestx,
}  # fmt: skip


@dataclass
class BuiltBoxes:
    """A tree of `voc`. splits: ids (`2007/000003`) in order. objects: of each id, as written. sizes: width and height of each.

    root: the directory with VOC2007 and VOC2012. An object is its class, xmin, ymin, xmax, ymax counted from 1, and whether it
    is difficult.
    """

    root: Path
    splits: dict[str, list[str]] = field(default_factory=dict)
    objects: dict[str, list[tuple[str, tuple[float, ...], bool]]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)


def voc_detection(
    root: Path, pictures_per_split: int = 4, *, layout: str = "voc2007/VOCdevkit", classes: Sequence[str] = VOC[:5]
) -> BuiltBoxes:
    """Write PASCAL VOC's 2007 and 2012 as their archives have them, below `root`, which is the data directory.

    Of train and val, the larger half is of 2007, the rest of 2012; test is of 2007. Each picture is a grey JPEG of its own size
    with one to four filled boxes in the colours of their classes; the last object of every third picture is difficult. Both
    years have pictures beside that no list names. Every list of a class is there too, so that `voc2007` can be read as well.
    """
    built, rng = BuiltBoxes(root / layout), np.random.default_rng(0)
    early = {"train": (pictures_per_split + 1) // 2, "val": (pictures_per_split + 1) // 2, "test": pictures_per_split}
    late = {split: pictures_per_split - early[split] for split in ("train", "val")}
    for year, sizes, name in (("2007", early, "{:06d}"), ("2012", late, "2008_{:06d}")):
        # The numbers of the splits are mixed, and no list is in their order.
        numbers = iter((1 + rng.permutation(sum(sizes.values()) + 1) * 7).tolist())
        lists = {split: [name.format(next(numbers)) for _ in range(size)] for split, size in sizes.items()}
        for picture in [*chain(*lists.values()), name.format(next(numbers))]:
            _voc_picture(built, rng, year, picture, classes)
        _voc_lists(built, year, lists)
        for split, pictures in lists.items():
            built.splits.setdefault(split, []).extend(f"{year}/{picture}" for picture in pictures)
        for folder in ("SegmentationClass", "SegmentationObject"):
            (built.root / f"VOC{year}" / folder).mkdir()
            Image.new("P", (8, 8)).save(built.root / f"VOC{year}" / folder / f"{picture}.png")
    return built


def _voc_picture(built: BuiltBoxes, rng: np.random.Generator, year: str, picture: str, classes: Sequence[str]) -> None:
    name, count = f"{year}/{picture}", len(built.sizes)
    width, height = (int(side) for side in rng.integers(40, 97, 2))
    image = Image.new("RGB", (width, height), (128, 128, 128))
    objects: list[tuple[str, tuple[float, ...], bool]] = []
    for number in range(amount := 1 + count % 4):
        kind = classes[(count + number) % len(classes)]
        x1, y1 = (int(rng.integers(1, side // 2)) for side in (width, height))
        x2, y2 = (int(rng.integers(low + 12, side + 1)) for low, side in ((x1, width), (y1, height)))
        image.paste(colour_of(kind), (x1 - 1, y1 - 1, x2, y2))
        corners = (x1, y1, x2, y2)
        # Some of 2012 have fractions.
        corners = (x1 + 0.70000076293945, y1, x2, y2) if year == "2012" and number == 0 else corners
        objects.append((kind, corners, count % 3 == 0 and number == amount - 1))
    path = built.root / f"VOC{year}" / "JPEGImages" / f"{picture}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without subsampling, which would blur the boxes' edges.
    image.save(path, quality=95, subsampling=0)
    built.sizes[name], built.objects[name] = (width, height), objects
    _write(built.root / f"VOC{year}" / "Annotations" / f"{picture}.xml", [_voc_xml(built, year, picture)])


def _voc_xml(built: BuiltBoxes, year: str, picture: str) -> str:
    """The two years order their elements differently; some objects of 2012 have parts, and actions."""
    width, height = built.sizes[f"{year}/{picture}"]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    texts = []
    for kind, corners, difficult in built.objects[f"{year}/{picture}"]:
        box = dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
        mark = f"<difficult>{int(difficult)}</difficult>"
        if year == "2007":
            inner = "".join(f"<{side}>{box[side]}</{side}>" for side in box)
            texts.append(
                f"<object><name>{kind}</name><pose>Left</pose><truncated>0</truncated>{mark}<bndbox>{inner}</bndbox></object>"
            )
        else:
            inner = "".join(f"<{side}>{box[side]}</{side}>" for side in ("xmax", "xmin", "ymax", "ymin"))
            texts.append(
                f"<object><name>{kind}</name><actions><jumping>0</jumping></actions><bndbox>{inner}</bndbox>{mark}"
                f"<pose>Unspecified</pose>{part}</object>"
            )
    objects = "\n\t".join(texts)
    if year == "2007":
        owner = "<owner><flickrid>someone</flickrid><name>?</name></owner>"
        return f"<annotation>\n\t<folder>VOC2007</folder>\n\t{owner}\n\t{size}\n\t{objects}\n</annotation>"
    return f"<annotation>\n\t<folder>VOC2012</folder>\n\t{objects}\n\t<segmented>0</segmented>\n\t{size}\n</annotation>"


def _voc_lists(built: BuiltBoxes, year: str, lists: Mapping[str, Sequence[str]]) -> None:
    """The challenge's lists: of pictures, and of each class with 1, -1 and, where all are difficult, 0."""
    sets = built.root / f"VOC{year}" / "ImageSets"
    for split, pictures in {**lists, "trainval": sorted([*lists["train"], *lists["val"]])}.items():
        _write(sets / "Main" / f"{split}.txt", pictures)
        _write(sets / "Segmentation" / f"{split}.txt", pictures[:1])
        for kind in VOC:
            marks = []
            for picture in pictures:
                found = [difficult for name, _, difficult in built.objects[f"{year}/{picture}"] if name == kind]
                marks.append(f"{picture} {-1 if not found else 0 if all(found) else 1:2d}")
            _write(sets / "Main" / f"{kind}_{split}.txt", marks)


@dataclass
class BuiltMasks:
    """A tree of `ade20k`. splits: stems in sorted order. numbers: what each mask's file holds. root: ADEChallengeData2016."""

    root: Path
    splits: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)


def ade20k(
    root: Path, count: int = 5, *, layout: str = "ade20k/ADEChallengeData2016", lists: bool = False,
    sides: tuple[int, int] = (8, 20),
) -> BuiltMasks:  # fmt: skip
    """Write the archive as it is unpacked below `root`, the data directory: `count` pictures of training, 3 of validation.

    Every picture has a size of its own, each side from `sides`. Masks hold 0 to 150. lists: also the study's lists beside, in
    reverse order.
    """
    built, rng = BuiltMasks(root / layout), np.random.default_rng(1)
    for folder, name, size in (("training", "train", count), ("validation", "val", 3)):
        stems = [f"ADE_{name}_{number:08d}" for number in range(1, size + 1)]
        lines = []
        for stem in stems:
            width, height = (int(side) for side in rng.integers(*sides, 2))
            picture = built.root / "images" / folder / f"{stem}.jpg"
            mask = built.root / "annotations" / folder / f"{stem}.png"
            for path in (picture, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (width, height), colour_of(stem)).save(picture, quality=95)
            built.numbers[stem] = rng.integers(0, 151, (height, width), dtype=np.uint8)
            built.numbers[stem].flat[:2] = (0, 150)
            Image.fromarray(built.numbers[stem]).save(mask)
            paths = {
                "fpath_img": f"ADEChallengeData2016/images/{folder}/{stem}.jpg",
                "fpath_segm": f"ADEChallengeData2016/annotations/{folder}/{stem}.png",
            }
            lines.append(json.dumps({**paths, "width": width, "height": height}))
        built.splits[folder] = stems
        if lists:
            _write(built.root.parent / f"{folder}.odgt", lines[::-1])
    return built


@dataclass
class BuiltRooms:
    """Files of NYU Depth v2.

    pictures: uint8 (N, H, W, 3). depths: (N, H, W). normals: (N, H, W, 3) unit, in the file's axes. valid: (N, H, W). train,
    test: numbers of the pictures, from 0.
    """

    root: Path
    pictures: Any
    depths: Any
    normals: Any
    valid: Any
    scenes: tuple[str, ...]
    train: list[int]
    test: list[int]


ROOMS = (
    "kitchen_0004",
    "kitchen_0004",
    "office_0001a",
    "office_0001b",
    "office_0001b",
    "den_0002",
    "study_0003",
    "den_0005",
)


def nyuv2(
    root: Path, *, folder: str = "nyuv2", inner: str = "surfacenormal_metadata", scenes: Sequence[str] = ROOMS,
    size: tuple[int, int] = (9, 7), protocol: int = 4, shuffled: bool = False,
) -> BuiltRooms:  # fmt: skip
    """Write the three files below `root`, the data directory; the last two pictures are test.

    size: width and height. protocol: of the pickle. shuffled: its maps are in another order than the pictures.
    """
    # Only the tests of these datasets need it.
    import h5py

    (width, height), count, rng = size, len(scenes), np.random.default_rng(2)
    base = root / folder
    (base / inner).mkdir(parents=True, exist_ok=True)
    pictures = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    depths = rng.uniform(0.7, 9.9, (count, height, width)).astype(np.float32)
    normals = rng.standard_normal((count, height, width, 3))
    # Towards the camera, in the axes of a camera.
    normals[..., 2] = -np.abs(normals[..., 2]) - 0.1
    normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)
    valid = rng.random((count, height, width)) < 0.8
    normals[~valid] = np.nan
    # MATLAB writes 512 bytes of its own before what is HDF5.
    with h5py.File(base / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        file.create_dataset("images", data=pictures.transpose(0, 3, 2, 1), compression="gzip")
        file.create_dataset("depths", data=depths.transpose(0, 2, 1), compression="gzip")
        cells = file.create_dataset("scenes", (1, count), dtype=h5py.ref_dtype)
        for number, scene in enumerate(scenes):
            text = np.frombuffer(scene.encode("utf-16-le"), "<u2").reshape(-1, 1)
            cells[0, number] = file.create_dataset(f"#refs#/{number}", data=text).ref
    numbers = rng.permutation(count - 2).tolist(), [count - 2, count - 1]
    train, test = (np.array(rows, dtype=np.uint16)[:, None] + 1 for rows in numbers)
    savemat(base / "splits.mat", {"trainNdxs": train, "testNdxs": test})
    order = rng.permutation(count) if shuffled else np.arange(count)
    content = {
        "all_normals": normals[order],
        "all_valid_depth_masks": valid[order].astype(np.float32),
        "all_filenames": [f"{number + 1:06d}" for number in order],
    }
    dump_pickle(base / inner / "all_normals.pklz", content, protocol)
    return BuiltRooms(base, pictures, depths, normals, valid, tuple(scenes), *numbers)


def dump_pickle(path: Path, content: Any, protocol: int = 4) -> None:
    """Write a gzipped pickle."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        pickle.dump(content, file, protocol=protocol)


def vocabulary(path: Path, words: Any) -> None:
    """Write `vocab40.mat`, a cell that holds a struct with the codewords."""
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = {"normals": words, "faces": np.zeros((2, 3))}
    savemat(path, {"vocabs": cell})
