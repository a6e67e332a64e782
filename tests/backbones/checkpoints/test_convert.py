"""Conversion: once, verified, pinned; damaged, swapped or unwanted files never get through."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from torch import Tensor

from sslbench.backbones.checkpoints import CheckpointSpec, catalogue, checkpoint_spec, converted, first_use
from sslbench.backbones.checkpoints.convert import convert, load_converted, load_pinned
from sslbench.backbones.checkpoints.converted import read_converted
from sslbench.backbones.checkpoints.source_file import SourceFile
from sslbench.errors import BackboneError, CacheError, CacheWarning, UnknownNameError

State = dict[str, Tensor]
Same = Callable[[State, State], None]


def write(path: Path, state: State, **extra: Tensor) -> Path:
    torch.save({**{f"module.{key}": value for key, value in state.items()}, **extra}, path)
    return path


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    return write(tmp_path / "swav_800ep_pretrain.pth.tar", state, **{"module.prototypes.weight": torch.rand(3, 2)})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that a reader was given."""
    read: list[Path] = []
    original = CheckpointSpec.read

    def spy(self: CheckpointSpec, path: Path) -> Any:
        read.append(path)
        return original(self, path)

    monkeypatch.setattr(CheckpointSpec, "read", spy)
    return read


def leftovers(out: Path) -> set[str]:
    return {path.name for path in out.glob("*") if path.suffix != ".lock"} if out.exists() else set()


def test_the_converted_file_says_what_it_is(file: Path, out: Path, state: State, same: Same) -> None:
    done = convert(file, "swav", out_dir=out)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert done.path == out / f"swav-{sha256[:16]}.safetensors"
    with safe_open(done.path, framework="pt") as opened:
        metadata = opened.metadata()
        same({key: opened.get_tensor(key) for key in opened.keys()}, state)  # noqa: SIM118
    assert metadata["name"] == "swav"
    assert metadata["sha256"] == done.sha256 == sha256
    assert metadata["source"] == file.name
    assert metadata["licence"] == checkpoint_spec("swav").licence
    assert metadata["digest"] == done.digest
    assert done.dropped == ("module.prototypes.weight",)
    assert not done.published
    assert leftovers(out) == {done.path.name, "swav.pin.json"}


def test_a_second_load_does_not_read_the_original(
    file: Path, out: Path, state: State, same: Same, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = convert(file, "swav", out_dir=out)
    monkeypatch.setattr(SourceFile, "sha256", property(lambda self: pytest.fail("the original was read again")))
    assert convert(file, "swav", out_dir=out) == first
    assert reads == [file]
    same(load_converted(file, checkpoint_spec("swav"), out_dir=out)[0], state)
    file.unlink()
    pinned = load_pinned(checkpoint_spec("swav"), out_dir=out)
    assert pinned is not None
    same(pinned[0], state)
    assert pinned[1] == first


def test_a_cache_copied_to_where_nothing_can_be_written(
    file: Path, out: Path, state: State, same: Same, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(file, "swav", out_dir=out)
    elsewhere = Path(shutil.copytree(out, out.with_name("elsewhere")))
    copy = Path(shutil.copy(file, elsewhere))

    def refuse(path: Path, *_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(first_use, "write_atomic", refuse)
    monkeypatch.setattr(converted, "write_atomic", refuse)
    monkeypatch.setattr(FileLock, "acquire", refuse)
    same(load_converted(copy, checkpoint_spec("swav"), out_dir=elsewhere)[0], state)
    assert reads == [file]
    # Another file is told for what it is, though nothing could be converted.
    write(copy, {**state, "bn1.bias": state["bn1.bias"] + 1})
    with pytest.raises(BackboneError, match="not the file that was used first"):
        load_converted(copy, checkpoint_spec("swav"), out_dir=elsewhere)


def test_of_several_at_once_one_converts(file: Path, out: Path, reads: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = set(pool.map(lambda _: convert(file, "swav", out_dir=out), range(4)))
    assert len(done) == 1
    assert reads == [file]


def test_nothing_is_pinned_before_the_first_use(out: Path) -> None:
    assert load_pinned(checkpoint_spec("swav"), out_dir=out) is None


def test_a_copy_elsewhere_is_the_same_file(file: Path, out: Path, reads: list[Path]) -> None:
    first = convert(file, "swav", out_dir=out)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    assert convert(copy, "swav", out_dir=out) == first
    assert reads == [file]


def test_another_file_for_the_name_is_an_error_that_says_how_to_accept_it(
    file: Path, out: Path, state: State, same: Same
) -> None:
    convert(file, "swav", out_dir=out)
    before = leftovers(out)
    other = {**state, "bn1.bias": state["bn1.bias"] + 1}
    write(file, other)
    remembered = out / "swav.pin.json"
    with pytest.raises(BackboneError, match="not the file that was used first") as raised:
        convert(file, "swav", out_dir=out)
    assert f"to accept it from now on, remove {remembered}" in str(raised.value)
    assert json.loads(remembered.read_bytes())["sha256"] in str(raised.value)
    assert leftovers(out) == before
    remembered.unlink()
    convert(file, "swav", out_dir=out)
    same(load_converted(file, checkpoint_spec("swav"), out_dir=out)[0], other)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"name": "byol"}'])
def test_a_damaged_pin_is_told(content: bytes, file: Path, out: Path) -> None:
    convert(file, "swav", out_dir=out)
    (out / "swav.pin.json").write_bytes(content)
    with pytest.raises(BackboneError, match=r"cannot read .*swav\.pin\.json: .*; remove it"):
        convert(file, "swav", out_dir=out)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def altered(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize("damage", [truncated, altered, lambda content: b"", lambda content: b"x" * 100])
def test_a_damaged_converted_file_is_reported_and_made_again(
    damage: Callable[[bytes], bytes], file: Path, out: Path, state: State, same: Same, reads: list[Path]
) -> None:
    first = convert(file, "swav", out_dir=out)
    sound = first.path.read_bytes()
    first.path.write_bytes(damage(sound))
    with pytest.warns(CacheWarning, match=rf"{re.escape(str(first.path))}.*; converting the checkpoint again"):
        tensors, again = load_converted(file, checkpoint_spec("swav"), out_dir=out)
    same(tensors, state)
    assert again == first
    same(read_converted(first.path)[0], state)
    assert len(reads) == 2
    # The same by name alone, from where the file was.
    first.path.write_bytes(damage(sound))
    with pytest.warns(CacheWarning):
        pinned = load_pinned(checkpoint_spec("swav"), out_dir=out)
    assert pinned is not None
    same(pinned[0], state)


def test_a_damaged_converted_file_without_its_original_is_not_used(file: Path, out: Path) -> None:
    first = convert(file, "swav", out_dir=out)
    first.path.write_bytes(altered(first.path.read_bytes()))
    file.unlink()
    with pytest.warns(CacheWarning):
        assert load_pinned(checkpoint_spec("swav"), out_dir=out) is None


def test_the_converted_file_of_another_source_is_not_used(file: Path, out: Path, state: State, same: Same) -> None:
    first = convert(file, "swav", out_dir=out)
    other = write(file.with_name("other"), {**state, "bn1.bias": state["bn1.bias"] + 1})
    elsewhere = convert(other, "swav", out_dir=out.with_name("elsewhere"))
    first.path.write_bytes(elsewhere.path.read_bytes())
    with pytest.warns(CacheWarning, match="made from another file"):
        same(load_converted(file, checkpoint_spec("swav"), out_dir=out)[0], state)


def test_a_conversion_of_an_older_version_is_made_again(
    file: Path, out: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(file, "swav", out_dir=out)
    monkeypatch.setattr(converted, "CONVERTER_VERSION", converted.CONVERTER_VERSION + 1)
    with pytest.warns(CacheWarning, match="expected sslbench-checkpoint-1 of version"):
        convert(file, "swav", out_dir=out)
    assert len(reads) == 2


@pytest.mark.parametrize("after", [0, 10_000])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    after: int, file: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.open

    def open_on_a_full_disk(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        opened = original(self, mode, *arguments, **options)
        if "x" in mode:
            write = opened.write

            def fill(data: bytes) -> None:
                write(data[:after])
                raise OSError(errno.ENOSPC, "No space left on device")

            opened = _Wrapped(opened, fill)
        return opened

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    with pytest.raises(
        CacheError, match=r"could not store the converted checkpoint in .*No space left on device.*SSLBENCH_CACHE"
    ):
        convert(file, "swav", out_dir=out)
    assert leftovers(out) == set()
    monkeypatch.undo()
    assert load_pinned(checkpoint_spec("swav"), out_dir=out) is None


class _Wrapped:
    def __init__(self, file: Any, write: Any) -> None:
        self.file, self.write = file, write

    def __enter__(self) -> _Wrapped:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def test_a_cache_that_cannot_be_made(file: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a directory should be")
    with pytest.raises(CacheError, match="could not store"):
        convert(file, "swav", out_dir=tmp_path / "blocked" / "checkpoints")


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><head><title>Dropbox</title>", b"\n\n  <html lang='en'>",
        b"\xef\xbb\xbf<!doctype HTML>", b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["swav", "moco-v1", "byol", "simclr-v1"])
def test_a_web_page(page: bytes, name: str, tmp_path: Path, out: Path) -> None:
    (tmp_path / "f").write_bytes(page)
    with pytest.raises(BackboneError, match="is a web page, not a checkpoint"):
        convert(tmp_path / "f", name, out_dir=out)
    assert leftovers(out) == set()


def test_an_empty_file_a_missing_one_and_a_folder(tmp_path: Path, out: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(BackboneError, match="is empty"):
        convert(tmp_path / "f", "swav", out_dir=out)
    for absent in (tmp_path / "absent", tmp_path):
        with pytest.raises(BackboneError, match=f"there is no checkpoint file {re.escape(str(absent))}"):
            convert(absent, "swav", out_dir=out)
    with pytest.raises(UnknownNameError, match="unknown checkpoint 'swaw'"):
        convert(tmp_path / "f", "swaw", out_dir=out)


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["supervised", "swav"])
def test_the_former_tar_container_is_refused_with_the_better_file(
    name: str, format_: int, tmp_path: Path, out: Path
) -> None:
    path = tmp_path / "resnet50-19c8e357.pth"
    with tarfile.open(path, "w", format=format_) as archive:
        for member in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(member), io.BytesIO())
    with pytest.raises(BackboneError, match="tar container") as raised:
        convert(path, name, out_dir=out)
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in str(raised.value)


def test_a_truncated_file_leaves_nothing(file: Path, out: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(BackboneError, match="cut short, fetch it again"):
        convert(file, "swav", out_dir=out)
    assert leftovers(out) == set()


def test_the_file_of_another_checkpoint_leaves_nothing(file: Path, out: Path) -> None:
    with pytest.raises(BackboneError, match=r"pirl: .*319 left over: module\.bn1\.bias"):
        convert(file, "pirl", out_dir=out)
    assert leftovers(out) == set()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare a digest for SwAV's file."""

    def declare(**digests: str) -> None:
        spec = checkpoint_spec("swav")
        source = replace(spec.sources[0], **digests)
        changed = {**catalogue.CHECKPOINTS, "swav": replace(spec, sources=(source,))}
        monkeypatch.setattr(catalogue, "CHECKPOINTS", changed)

    return declare


@pytest.mark.parametrize("length", [8, None])
@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("renamed", [True, False])
def test_a_published_digest(
    algorithm: str, length: int | None, renamed: bool, file: Path, out: Path, published: Callable[..., None]
) -> None:
    if renamed:
        file = file.rename(file.with_name("weights"))
    digest = hashlib.new(algorithm, file.read_bytes()).hexdigest()[:length]
    published(**{algorithm: digest})
    assert convert(file, "swav", out_dir=out).published
    wrong = ("0" if digest[0] != "0" else "1") + digest[1:]
    published(**{algorithm: wrong})
    with pytest.raises(BackboneError, match=f"wrong checksum: expected swav_800ep_pretrain.pth.tar with .*{wrong}"):
        convert(file, "swav", out_dir=out.with_name("other"))
    assert leftovers(out.with_name("other")) == set()


def test_the_digests_of_moco_and_torchvision_are_checked(state: State, tmp_path: Path, out: Path) -> None:
    for name, expected in (
        ("moco-v1", "MD5 b251726a"),
        ("moco-v2", "MD5 a04e12f8"),
        ("supervised", "SHA-256 0676ba61"),
    ):
        torch.save(state, tmp_path / "f")
        with pytest.raises(BackboneError, match=f"{name}: .*wrong checksum: expected .* with {expected}"):
            convert(tmp_path / "f", name, out_dir=out)


def test_a_bundle_is_one_file(bundle: Any, tmp_path: Path, out: Path, state: State, same: Same, counters: Any) -> None:
    from sslbench.backbones.checkpoints.simclr import variable_names

    tensors = {}
    for variable, name in variable_names().items():
        values = state[name].numpy()
        tensors[variable] = values.transpose(2, 3, 1, 0).copy() if values.ndim == 4 else values
    bundle(tmp_path / "a" / "model.ckpt-250228", tensors, shards=2)
    first = convert(tmp_path / "a", "simclr-v2", out_dir=out)
    same(read_converted(first.path)[0], counters[1](state))
    # The same files under another prefix are the same checkpoint; a changed data file is not.
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").iterdir():
        (tmp_path / "b" / path.name.replace("250228", "1")).write_bytes(path.read_bytes())
    assert convert(tmp_path / "b" / "model.ckpt-1", "simclr-v2", out_dir=out) == first
    data = tmp_path / "b" / "model.ckpt-1.data-00001-of-00002"
    data.write_bytes(altered(data.read_bytes()))
    with pytest.raises(BackboneError, match="not the file that was used first"):
        convert(tmp_path / "b", "simclr-v2", out_dir=out)
