"""TensorFlow's bundles: against files TensorFlow wrote, files written from its documents, and damaged ones.

golden/one.* and golden/two.* were written by tf.train.Saver of TensorFlow 2.21, the second with sharded=True and its
variables on two devices.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from sslbench.backbones.checkpoints import bundle_files
from sslbench.backbones.checkpoints.bundle_files import bundle_paths, open_bundle
from sslbench.errors import BackboneError

Write = Callable[..., None]
GOLDEN = Path(__file__).parent / "golden"


def tensors(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {f"group/{n % 7}/name_{n}": rng.standard_normal((n % 3 + 1, 2)).astype(np.float32) for n in range(count)}
    return found | {"global_step": np.int64(2**40), "one": np.int32(-1), "empty": np.zeros((0, 3), np.float32)}


def check(prefix: Path, expected: dict[str, np.ndarray]) -> None:
    bundle = open_bundle(prefix, "here")
    assert bundle is not None
    assert bundle.entries.keys() == expected.keys()
    for name, values in expected.items():
        got = bundle.read(name)
        assert (got.dtype, got.shape) == (values.dtype, values.shape)
        assert np.array_equal(got, values)


@pytest.mark.parametrize("name", ["one", "two"])
def test_files_of_tensorflow_itself(name: str) -> None:
    expected = {
        "base_model/conv2d/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 8,
        "base_model/batch_normalization/beta": np.array([1.5, -2], np.float32),
        "base_model/batch_normalization/gamma": np.array([-0.0, 3e38], np.float32),
        "global_step": np.asarray(225206),
        "counter": np.asarray(7, np.int32),
    }
    check(GOLDEN / name, expected)
    assert len(bundle_paths(GOLDEN / name)) == {"one": 2, "two": 3}[name]


def test_the_checksum_is_castagnolis() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("per_block", [1, 5, 1000])
@pytest.mark.parametrize("restart", [1, 16])
def test_round_trip(bundle: Write, tmp_path: Path, shards: int, per_block: int, restart: int) -> None:
    expected = tensors(45)
    bundle(tmp_path / "model.ckpt-3", expected, shards=shards, per_block=per_block, restart=restart)
    check(tmp_path / "model.ckpt-3", expected)


@pytest.mark.parametrize("given", ["x/model.ckpt-3", "x/model.ckpt-3.index", "x", "."])
def test_prefix_index_and_folder_are_the_same(bundle: Write, tmp_path: Path, given: str) -> None:
    bundle(tmp_path / "x" / "model.ckpt-3", tensors(3))
    bundle(tmp_path / "x" / "hub" / "variables", {"other": np.zeros(1, np.float32)})
    check(tmp_path / given, tensors(3))


def test_a_zip(bundle: Write, tmp_path: Path) -> None:
    bundle(tmp_path / "model.ckpt-3", tensors(3), shards=2)
    bundle(tmp_path / "variables", {"other": np.zeros(1, np.float32)})
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in tmp_path.glob("*.*-*"):
            archive.write(path, f"ResNet/{path.name}")
        archive.write(tmp_path / "variables.index", "ResNet/hub/variables.index")
    check(tmp_path / "a.zip", tensors(3))


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/data.pkl", b"x")
    assert open_bundle(tmp_path / "file", "here") is None
    assert open_bundle(tmp_path / "a.zip", "here") is None


def test_two_checkpoints_in_one_folder(bundle: Write, tmp_path: Path) -> None:
    for step in (1, 2):
        bundle(tmp_path / f"model.ckpt-{step}", tensors(1))
    with pytest.raises(BackboneError, match=r"expected one checkpoint, found model.ckpt-1.index, model.ckpt-2.index"):
        open_bundle(tmp_path, "here")
    check(tmp_path / "model.ckpt-2.index", tensors(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endianness": 1}, "big-endian"),
        ({"compression": 1}, r"its index is compressed \(type 1\)"),
        ({"sliced": ("one",)}, "'one' is stored in slices"),
    ],
)
def test_what_is_not_supported_is_refused(bundle: Write, tmp_path: Path, options: dict, message: str) -> None:
    bundle(tmp_path / "p", tensors(3), **options)
    with pytest.raises(BackboneError, match=message):
        check(tmp_path / "p", tensors(3))


def test_an_unknown_type_is_refused_when_it_is_read(bundle: Write, tmp_path: Path) -> None:
    bundle(tmp_path / "p", {"a": np.zeros(2, np.uint8), "b": np.ones(2, np.float32)})
    opened = open_bundle(tmp_path / "p", "here")
    assert opened is not None
    assert opened.read("b").tolist() == [1, 1]
    with pytest.raises(BackboneError, match="'a' has TensorFlow's type 4"):
        opened.read("a")


def test_a_changed_byte_is_noticed_or_changes_nothing(bundle: Write, tmp_path: Path) -> None:
    expected = tensors(1)
    bundle(tmp_path / "p", expected, per_block=2)
    for path in bundle_paths(tmp_path / "p"):
        content = path.read_bytes()
        unnoticed = 0
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 0x10
            path.write_bytes(changed)
            try:
                check(tmp_path / "p", expected)
            except BackboneError:
                continue
            unnoticed += 1
        # Nobody reads the empty meta-index (9 bytes), its handle and the padding of the footer.
        assert unnoticed <= (0 if ".data-" in path.name else 9 + 40)
        path.write_bytes(content)
    check(tmp_path / "p", expected)


def test_every_truncation_is_noticed(bundle: Write, tmp_path: Path) -> None:
    expected = tensors(1)
    bundle(tmp_path / "p", expected, per_block=2)
    for path in bundle_paths(tmp_path / "p"):
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(BackboneError, match=r"damaged tensor bundle|cannot read"):
                check(tmp_path / "p", expected)
        path.write_bytes(content)


def test_a_missing_data_file_is_named(bundle: Write, tmp_path: Path) -> None:
    bundle(tmp_path / "p", tensors(4), shards=2)
    (tmp_path / "p.data-00001-of-00002").unlink()
    with pytest.raises(BackboneError, match=r"cannot read p.data-00001-of-00002"):
        check(tmp_path / "p", tensors(4))


def zipped(bundle: Write, folder: Path) -> Path:
    bundle(folder / "model.ckpt-1", tensors(20))
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in bundle_paths(folder / "model.ckpt-1"):
            archive.write(path, path.name)
    return folder / "a.zip"


def test_a_damaged_zip(bundle: Write, tmp_path: Path) -> None:
    path = zipped(bundle, tmp_path)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BackboneError, match="damaged zip archive"):
        open_bundle(path, "here")


def test_a_zip_without_its_data(bundle: Write, tmp_path: Path) -> None:
    bundle(tmp_path / "model.ckpt-1", tensors(2))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "model.ckpt-1.index", "model.ckpt-1.index")
    with pytest.raises(BackboneError, match=re.escape("the zip has no model.ckpt-1.data-00000-of-00001")):
        check(tmp_path / "a.zip", tensors(2))


def test_a_zip_bomb_is_not_unpacked(bundle: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(bundle, tmp_path)
    monkeypatch.setattr(bundle_files, "ZIP_LIMIT", 500)
    with pytest.raises(BackboneError, match="larger than"):
        open_bundle(path, "here")


def test_golden_files_may_be_renamed(tmp_path: Path) -> None:
    for path in GOLDEN.glob("two.*"):
        shutil.copy(path, tmp_path / path.name.replace("two", "other.ckpt"))
    opened = open_bundle(tmp_path, "here")
    assert opened is not None
    assert opened.read("counter") == 7
