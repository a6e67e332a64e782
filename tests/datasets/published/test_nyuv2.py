"""`nyuv2` and `nyuv2-depth`: tiny files in the published formats, their splits by scene, and everything that is refused."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from sslbench.cli import main
from sslbench.config import Settings
from sslbench.datasets import Dataset, Depths, Normals, inspect, load_dataset
from sslbench.datasets.published import _kept, _nyuv2, nyuv2_depth
from sslbench.datasets.published import _nyuv2_normals as keeping
from sslbench.datasets.published import nyuv2 as module
from sslbench.datasets.published.facts import Expected
from sslbench.errors import DataError, DataWarning, IncompleteDataError
from sslbench.sources import Source
from tests.conftest import Registries, Server
from tests.datasets.published.builders import BuiltRooms, dump_pickle, nyuv2, vocabulary

NAMES = ("nyuv2", "nyuv2-depth")
PICKLE = "surfacenormal_metadata/all_normals.pklz"


def load(data_dir: Path, name: str = "nyuv2", check: str = "loose") -> Dataset:
    return load_dataset(name, Settings(data_dir=data_dir, check_data=check))


def numbers(dataset: Dataset, split: str) -> list[int]:
    """Which of the labelled pictures a split shows, from 0."""
    return list(dataset.splits[split].images.numbers)


def ours(built: BuiltRooms, number: int) -> np.ndarray:
    """The normals of a picture, turned by hand: y and z have the other sign."""
    turned = np.stack(
        [built.normals[number, ..., 0], -built.normals[number, ..., 1], -built.normals[number, ..., 2]], -1
    )
    return np.where(built.valid[number][..., None], turned, 0)


def test_the_facts() -> None:
    for spec, kind in ((module.SPEC, Normals), (nyuv2_depth.SPEC, Depths)):
        assert (spec.targets, spec.metric, spec.num_classes, spec.folder) == (kind, None, 0, "nyuv2")
        assert spec.expected is not None
        assert spec.expected.images == {"train": 795, "test": 654}
        assert sum(spec.expected.images.values()) == 1449
    # Who has the normals needs to fetch nothing for the depths.
    assert nyuv2_depth.SPEC.sources == module.SPEC.sources[:2]


@pytest.mark.parametrize("folder", ["nyuv2", "NYUv2"])
@pytest.mark.parametrize("inner", ["surfacenormal_metadata", "."])
@pytest.mark.parametrize("protocol", [2, 4])
def test_pictures_and_normals(folder: str, inner: str, protocol: int, tmp_path: Path) -> None:
    built = nyuv2(tmp_path, folder=folder, inner=inner, protocol=protocol, shuffled=protocol == 4)
    dataset = load(tmp_path)
    assert list(dataset.splits) == ["train", "val", "test"]
    seen = []
    for split in dataset.splits.values():
        rows = split.images.numbers
        seen += rows.tolist()
        pixels = split.images.load(range(len(rows)))
        assert np.array_equal(pixels, built.pictures[rows])
        assert np.array_equal(split.images.load([len(rows) - 1, 0]), built.pictures[rows[[-1, 0]]])
        for row, number in enumerate(rows):
            normals = split.targets.load(row)
            assert (normals.dtype, normals.shape) == (np.float32, (7, 9, 3))
            assert np.array_equal(normals.any(axis=-1), built.valid[number])
            np.testing.assert_allclose(normals, ours(built, number), atol=3e-5)
            np.testing.assert_allclose(np.linalg.norm(normals[built.valid[number]], axis=-1), 1, atol=1e-6)
            assert (normals[..., 2] >= 0).all()
    assert sorted(seen) == list(range(8))
    assert numbers(dataset, "test") == built.test


def test_pictures_and_depths_are_kept_in_files_that_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More pictures than are read at once, in blocks that hold corners of several."""
    built = nyuv2(tmp_path, scenes=[f"den_{number:04d}" for number in range(40)])
    with h5py.File(built.root / "nyu_depth_v2_labeled.mat", "a") as file:
        for name, chunks in (("images", (18, 1, 4, 5)), ("depths", (7, 5, 3))):
            values = file[name][:]
            del file[name]
            file.create_dataset(name, data=values, chunks=chunks, compression="gzip")

    def same(dataset: Dataset) -> None:
        for split in dataset.splits.values():
            rows = split.images.numbers
            assert np.array_equal(split.images.load(range(len(rows))), built.pictures[rows])
            assert np.array_equal([split.targets.load(row) for row in range(len(rows))], built.depths[rows])

    same(load(tmp_path, "nyuv2-depth"))
    bytes_ = (built.root / "nyu_depth_v2_labeled.mat").stat().st_size
    assert sorted(path.name for path in built.root.glob("*.npy")) == [
        f"nyu_depth_v2_labeled-{bytes_}-{name}-1.npy" for name in ("depths", "images")
    ]
    assert not list(built.root.glob("*.tmp"))

    def again(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(_nyuv2, "_blocks", again)
    _nyuv2._kept.cache_clear()
    same(load(tmp_path, "nyuv2-depth"))


def test_a_depth_may_be_written_to(tmp_path: Path) -> None:
    nyuv2(tmp_path)
    targets = load(tmp_path, "nyuv2-depth").splits["test"].targets
    before = targets.load(0).copy()
    targets.load(0)[:] = 7
    assert np.array_equal(targets.load(0), before)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = nyuv2(tmp_path)
    dataset = load(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_kept, "_make", full)
    for give, name in (
        (lambda: dataset.splits["test"].images.load([0]), "nyu_depth_v2_labeled.mat"),
        (lambda: dataset.splits["test"].targets.load(0), "all_normals.pklz"),
    ):
        with pytest.raises(
            DataError, match=rf"No space left.* made of {name}.* has to be writable once, with 0\.0 GB free"
        ):
            give()
    assert not list(built.root.rglob("*.npy"))


def test_depths_are_metres(tmp_path: Path) -> None:
    built = nyuv2(tmp_path)
    dataset = load(tmp_path, "nyuv2-depth")
    for split in dataset.splits.values():
        for row, number in enumerate(split.images.numbers):
            depth = split.targets.load(row)
            assert depth.dtype == np.float32
            assert np.array_equal(depth, built.depths[number])


def test_both_share_pictures_and_splits(tmp_path: Path) -> None:
    nyuv2(tmp_path)
    normals, depths = (load(tmp_path, name) for name in NAMES)
    for split in ("train", "val", "test"):
        assert normals.splits[split].images.fingerprint == depths.splits[split].images.fingerprint
    assert len({normals.splits[split].images.fingerprint for split in normals.splits}) == 3
    assert normals.fingerprint != depths.fingerprint


def test_validation_is_whole_scenes(tmp_path: Path) -> None:
    nyuv2(tmp_path)
    dataset = load(tmp_path)
    scenes = _nyuv2.read_labelled(tmp_path / "nyuv2/nyu_depth_v2_labeled.mat", 1).scenes
    apart = [{scenes[number].rstrip("ab") for number in numbers(dataset, split)} for split in ("train", "val")]
    assert not apart[0] & apart[1]
    assert apart[0] and apart[1]
    assert dataset.details["val"].endswith("scenes of train, shuffled with seed 0, about a fifth of the rows")


def test_the_draw_takes_about_a_fifth_and_never_cuts_a_scene() -> None:
    rng = np.random.default_rng(3)
    scenes = [f"room_{number:04d}" + "abc"[part] for number, part in rng.integers(0, (200, 3), (795, 2))]
    draw = _nyuv2.draw_by_scene(scenes)
    assert sorted([*draw.train, *draw.val]) == list(range(795))
    places = [{scenes[row].rstrip("abc") for row in rows} for rows in (draw.train, draw.val)]
    assert not places[0] & places[1]
    largest = max(sum(scene.rstrip("abc") == place for scene in scenes) for place in places[0] | places[1])
    assert 0.2 * 795 <= len(draw.val) < 0.2 * 795 + largest
    again = _nyuv2.draw_by_scene(scenes)
    assert np.array_equal(again.val, draw.val)
    # Which scenes it takes does not depend on the order of the rows.
    backwards = _nyuv2.draw_by_scene(scenes[::-1])
    assert sorted(794 - backwards.val) == draw.val.tolist()


def test_normals_are_kept_in_a_file_that_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = nyuv2(tmp_path)
    targets = load(tmp_path).splits["test"].targets
    folder = built.root / "surfacenormal_metadata"
    # Opening the dataset, as doctor does, reads no map.
    assert sorted(path.name for path in folder.iterdir()) == ["all_normals.pklz"]
    first = targets.load(0)
    (kept,) = folder.glob("*.npy")
    assert np.load(kept).dtype == np.int16
    assert not list(folder.glob("*.tmp"))

    def again(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(keeping, "_read", again)
    keeping._mapped.cache_clear()
    assert np.array_equal(load(tmp_path).splits["test"].targets.load(0), first)


def test_an_interrupt_leaves_nothing_and_the_next_one_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = nyuv2(tmp_path)
    targets, encode, calls = load(tmp_path).splits["test"].targets, keeping.encode, []

    def interrupted(*arguments: Any) -> np.ndarray:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(keeping, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        targets.load(0)
    assert not [path for path in built.root.rglob("*") if path.suffix in (".npy", ".tmp")]
    np.testing.assert_allclose(targets.load(0), ours(built, built.test[0]), atol=3e-5)


def test_a_kept_file_that_is_spoilt_is_named(tmp_path: Path) -> None:
    built = nyuv2(tmp_path)
    targets = load(tmp_path).splits["test"].targets
    targets.load(0)
    (kept,) = built.root.rglob("*.npy")
    content = kept.read_bytes()
    for spoilt, told in (
        (content[:-7], "may be removed"),
        (b"", "may be removed"),
        (None, "remove it, and it is made again"),
    ):
        keeping._mapped.cache_clear()
        kept.unlink()
        np.save(kept, np.zeros((2, 3), np.int16)) if spoilt is None else kept.write_bytes(spoilt)
        with pytest.raises(DataError, match=told) as caught:
            targets.load(0)
        assert str(kept) in str(caught.value)


def test_the_code_is_within_a_twentieth_of_a_degree() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((200, 300, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[0, :3], vectors[0, 3] = np.eye(3), 0
    valid = rng.random((200, 300)) < 0.9
    valid[0, :4] = True
    decoded = keeping.decode(keeping.encode(vectors, valid, "here")).astype(np.float64)
    wanted = vectors * keeping.FILE_AXES
    assert not decoded[~valid].any() and not decoded[0, 3].any()
    valid[0, 3] = False
    # Of small angles, the arc cosine would tell nothing.
    angles = np.degrees(2 * np.arcsin(np.linalg.norm(decoded - wanted, axis=-1)[valid] / 2))
    assert angles.max() < 0.002


def test_axes_that_are_not_the_assumed_ones_are_told(tmp_path: Path) -> None:
    built = nyuv2(tmp_path)
    content = {
        "all_normals": -built.normals,
        "all_valid_depth_masks": built.valid.astype(np.float32),
        "all_filenames": [f"{number:06d}" for number in range(1, 9)],
    }
    dump_pickle(built.root / PICKLE, content)
    with pytest.warns(
        DataWarning, match="normals face away from the camera, so that the file's axes are not those assumed"
    ):
        load(tmp_path).splits["test"].targets.load(0)


class Hostile:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("owned",)


def spoil_pickle(path: Path, built: BuiltRooms, what: str) -> None:
    content: dict[str, Any] = {
        "all_normals": built.normals.copy(),
        "all_valid_depth_masks": built.valid.astype(np.float32),
        "all_filenames": [f"{number:06d}" for number in range(1, 9)],
    }
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "checksum":
        raw = bytearray(path.read_bytes())
        raw[-6] ^= 1
        path.write_bytes(raw)
    elif what == "text":
        path.write_text("<html>not found</html>")
    else:
        changes: dict[str, dict[str, Any]] = {
            "hostile": {"all_filenames": Hostile()},
            "names": {"all_filenames": [*content["all_filenames"][:-1], "000001"]},
            "fewer": {"all_normals": built.normals[:7]},
            "size": {"all_normals": built.normals[:, :5]},
            "mask": {"all_valid_depth_masks": built.valid[..., :4]},
            "length": {"all_normals": built.normals * 2},
            "nan": {"all_normals": built.normals * np.nan},
            "words": {"all_normals": np.full(built.normals.shape, "x", dtype=object)},
        }
        content |= changes.get(what, {})
        if what == "key":
            del content["all_valid_depth_masks"]
        dump_pickle(path, [content] if what == "list" else content)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("truncated", "cannot read .*EOFError"),
        ("checksum", "cannot read .*CRC check failed"),
        ("text", "cannot read .*BadGzipFile"),
        ("hostile", r"it asks for (posix|nt)\.mkdir, which a file of arrays does not need"),
        ("key", "expected a dict with all_normals, .*all_valid_depth_masks is not there"),
        ("list", "expected a dict with all_normals"),
        ("names", "expected all_filenames 000001 to 000008, got 8: 000001, 000002"),
        ("fewer", "expected 8 maps in all_normals, one a picture"),
        ("size", r"picture 1: expected all_normals to be numbers \(7, 9, 3\), got float32 \(5, 9, 3\)"),
        ("mask", r"picture 1: expected all_valid_depth_masks to be numbers \(7, 9\), got bool \(7, 4\)"),
        ("length", r"picture 1: expected normals of unit length, got \d+ others"),
        ("nan", r"picture 1: expected normals of unit length, got \d+ others"),
        ("words", r"picture 1: expected all_normals to be numbers .*, got object"),
    ],
)
def test_a_pickle_that_cannot_be_is_refused(
    what: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    built = nyuv2(tmp_path)
    path = built.root / PICKLE
    spoil_pickle(path, built, what)
    targets = load(tmp_path).splits["test"].targets
    with pytest.raises(DataError, match=told) as caught:
        targets.load(0)
    assert str(path) in str(caught.value)
    assert "fetch or extract it again" in str(caught.value)
    assert not (tmp_path / "owned").exists()
    assert not list(built.root.rglob("*.npy"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("truncated", r"cannot read .*labeled\.mat: .*truncated file.*fetch or extract it again"),
        ("text", r"cannot read .*labeled\.mat: .*file signature not found"),
        ("absent", r"labeled\.mat: expected depths, found #refs#, images, scenes"),
        ("shape", r"labeled\.mat: expected depths of shape \(8, 9, 7\) and kind f, got \(8, 9, 6\) and 'f'"),
        ("kind", r"labeled\.mat: expected images of shape \(any, 3, any, any\) and kind u, got \(8, 3, 9, 7\) and 'f'"),
        ("deep", r"expected uint8 images and the scene of each, got 8 uint16 and 8"),
        ("scenes", r"expected uint8 images and the scene of each, got 8 uint8 and 7"),
        ("dangling", r"cannot read .*labeled\.mat: "),
        ("one scene", r"expected pictures of two scenes or more to draw validation from, got \['den_0002'\]"),
    ],
)
def test_a_mat_file_that_cannot_be_is_refused(name: str, what: str, told: str, tmp_path: Path) -> None:
    built = nyuv2(tmp_path, **({"scenes": ["den_0002"] * 8} if what == "one scene" else {}))
    path = built.root / "nyu_depth_v2_labeled.mat"
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif what == "text":
        path.write_text("<html>" * 1000)
    else:
        with h5py.File(path, "a") as file:
            if what in ("absent", "shape"):
                del file["depths"]
            if what == "shape":
                file["depths"] = np.zeros((8, 9, 6), np.float32)
            if what in ("kind", "deep"):
                del file["images"]
                file["images"] = np.zeros((8, 3, 9, 7), np.float32 if what == "kind" else np.uint16)
            if what == "scenes":
                references = file["scenes"][:, :7]
                del file["scenes"]
                file.create_dataset("scenes", data=references, dtype=h5py.ref_dtype)
            if what == "dangling":
                del file["scenes"]
                file.create_dataset("scenes", (1, 8), dtype=h5py.ref_dtype)
    with pytest.raises(DataError, match=told):
        load(tmp_path, name)
    assert inspect(name, Settings(data_dir=tmp_path)).state == "incomplete"


def test_a_chunk_that_is_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    built = nyuv2(tmp_path, size=(64, 48))
    dataset = load(tmp_path)
    path = built.root / "nyu_depth_v2_labeled.mat"
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[512 + chunk.byte_offset + 20 : 512 + chunk.byte_offset + 60] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(IncompleteDataError, match=r"cannot read .*labeled\.mat"):
        for split in dataset.splits.values():
            split.images.load(range(len(split.images)))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_depths_that_are_no_distance_are_refused(bad: float, tmp_path: Path) -> None:
    built = nyuv2(tmp_path)
    with h5py.File(built.root / "nyu_depth_v2_labeled.mat", "a") as file:
        file["depths"][built.test[1], 3, 4] = bad
    targets = load(tmp_path, "nyuv2-depth").splits["test"].targets
    targets.load(0)
    with pytest.raises(DataError, match=r"expected depths of 0 or more metres, got others in picture 8"):
        targets.load(1)


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ([0, 1, 2], [4], "expected trainNdxs to be different numbers from 1 to 8"),
        ([1, 2, 2], [4], "expected trainNdxs to be different numbers from 1 to 8"),
        ([1, 2, 5], [9], "expected testNdxs to be different numbers from 1 to 8"),
        ([1.5, 2, 5], [7], "expected trainNdxs to be different numbers from 1 to 8"),
        ([1, 2, 5], [], "expected testNdxs to be different numbers from 1 to 8"),
        ([1, 2, 5], [5, 6], "expected each picture in train or test, got 1 in both"),
        (None, [5, 6], "expected trainNdxs, found testNdxs"),
    ],
)
def test_lists_that_cannot_be_are_refused(train: list[int] | None, test: list[int], told: str, tmp_path: Path) -> None:
    path = nyuv2(tmp_path).root / "splits.mat"
    savemat(path, {"testNdxs": test} | ({} if train is None else {"trainNdxs": train}))
    with pytest.raises(DataError, match=rf"splits\.mat: {told}"):
        load(tmp_path)


@pytest.mark.parametrize(("name", "lost"), [("nyuv2", "splits.mat"), ("nyuv2", PICKLE), ("nyuv2-depth", "splits.mat")])
def test_what_is_absent_or_empty_is_named(name: str, lost: str, tmp_path: Path) -> None:
    path = nyuv2(tmp_path).root / lost
    if lost == PICKLE:
        path.write_bytes(b"")
        with pytest.raises(IncompleteDataError, match=r"^nyuv2: .*all_normals\.pklz is empty.*fetch --dataset nyuv2"):
            load(tmp_path)
    path.unlink()
    with pytest.raises(IncompleteDataError, match=rf"^{name}: .* lacks .*{Path(lost).name}.*fetch --dataset {name}"):
        load(tmp_path, name)


@pytest.mark.parametrize("name", NAMES)
def test_without_files_it_says_how_to_get_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        IncompleteDataError, match=rf"^{name}: no files in .*`sslbench fetch --dataset {name}` gets nyu_depth"
    ):
        load(tmp_path, name)
    assert inspect(name, Settings(data_dir=tmp_path)).state == "absent"


@pytest.mark.parametrize("name", NAMES)
def test_without_h5py_it_says_what_to_install(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nyuv2(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        DataError, match=r"h5py, which reads those, is not installed: pip install h5py, or sslbench\[nyuv2\]"
    ):
        load(tmp_path, name)


def words() -> np.ndarray:
    made = np.random.default_rng(5).standard_normal((40, 3))
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.mark.parametrize("folder", ["surfacenormal_metadata", "."])
def test_the_vocabulary_is_read_in_our_axes(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = nyuv2(tmp_path)
    settings = Settings(data_dir=tmp_path, check_data="loose")
    plain = load_dataset("nyuv2", settings)
    assert plain.splits["train"].targets.codewords is None
    with pytest.raises(
        IncompleteDataError,
        match=r"no vocab40\.mat in .*nyuv2/surfacenormal_metadata; it lies in nyuv2_surfacenormal_metadata",
    ):
        module.read_vocabulary(settings)
    path = built.root / folder / "vocab40.mat"
    vocabulary(path, words())
    found = module.read_vocabulary(settings)
    assert (found.dtype, found.shape) == (np.float64, (40, 3))
    assert np.array_equal(found, np.stack([words()[:, 0], -words()[:, 1], -words()[:, 2]], 1))
    dataset = load_dataset("nyuv2", settings)
    for split in dataset.splits.values():
        assert np.array_equal(split.targets.codewords, found)
    assert dataset.fingerprint != plain.fingerprint
    (told,) = [text for text in dataset.details["fingerprint"]["differs"] if "vocab40" in text]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told == f"vocab40.mat: expected sha256 4acfec87...cac2fc, found {digest}"
    monkeypatch.setattr(module, "VOCABULARY_SHA256", (digest[:8], digest[-6:]))
    assert "vocab40" not in str(load_dataset("nyuv2", settings).details["fingerprint"]["differs"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda path: vocabulary(path, words()[:20]), r"expected 40 x 3 floating-point numbers, got float64 \(20, 3\)"),
        (lambda path: vocabulary(path, words() * 2), "expected unit vectors, got lengths from 2 to 2"),
        (lambda path: savemat(path, {"vocabs": np.eye(3)}), "expected normals in vocabs, got float64"),
        (lambda path: savemat(path, {"other": np.eye(3)}), "expected vocabs, found other"),
        (lambda path: path.write_text("<html>"), "cannot read"),
    ],
)
def test_another_vocabulary_is_refused(content: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    path = nyuv2(tmp_path).root / "vocab40.mat"
    content(path)
    with pytest.raises(DataError, match=rf"vocab40\.mat.*{told}|{told}.*vocab40\.mat"):
        module.read_vocabulary(Settings(data_dir=tmp_path))


def test_another_place_is_the_same_data_and_other_files_are_others(tmp_path: Path) -> None:
    nyuv2(tmp_path / "one")
    nyuv2(tmp_path / "two", folder="NYUv2", inner=".")
    assert load(tmp_path / "one").fingerprint == load(tmp_path / "two").fingerprint
    path = tmp_path / "two/NYUv2/all_normals.pklz"
    path.write_bytes(path.read_bytes() + b"\0")
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert one.splits["test"].targets.digest != two.splits["test"].targets.digest
    assert one.splits["test"].images.fingerprint == two.splits["test"].images.fingerprint


def test_fetched_and_as_published_they_are_ready(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    registries: Registries,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = nyuv2(tmp_path / "made")
    with pytest.raises(
        IncompleteDataError, match=r"not the published ones: expected pictures of .*train: expected 795"
    ):
        load(tmp_path / "made", check="strict")
    stream, archive_name = io.BytesIO(), "nyuv2_surfacenormal_metadata.zip"
    with zipfile.ZipFile(stream, "w") as archive:
        archive.write(made.root / PICKLE, PICKLE)
    files = {name: (made.root / name).read_bytes() for name in ("nyu_depth_v2_labeled.mat", "splits.mat")}
    sources = (
        *(Source(name, (server.add(f"/{name}", content),)) for name, content in files.items()),
        Source(archive_name, (server.add(f"/{archive_name}", stream.getvalue()),), unpack="."),
    )
    monkeypatch.setattr(_nyuv2, "SIZE", (9, 7))
    for which, given in ((module, sources), (nyuv2_depth, sources[:2])):
        spec = replace(which.SPEC, sources=given, expected=Expected(0, {"train": 6, "test": 2}))
        monkeypatch.setattr(which, "SPEC", spec)
        registries.redeclare(spec)
    data = tmp_path / "data"
    assert main(["fetch", "--dataset", "nyuv2-depth", "--data", str(data)]) == 0
    assert [path for path, _ in server.seen] == [f"/{name}" for name in files]
    assert main(["fetch", "--dataset", "nyuv2", "--data", str(data)]) == 0
    # Only what the depths do not need is fetched for the normals.
    assert [path for path, _ in server.seen[2:]] == [f"/{archive_name}"]
    assert load(data, check="strict").details["complete"] is True
    assert load(data).fingerprint == load(tmp_path / "made").fingerprint
    capsys.readouterr()
    assert main(["fetch", "--dataset", "nyuv2*", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines() == ["dataset nyuv2: ready", "dataset nyuv2-depth: ready"]
