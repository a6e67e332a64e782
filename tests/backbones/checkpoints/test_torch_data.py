"""Files of torch.save that hold more than weights: the weights come out, nothing runs."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import enum
import functools
import io
import os
import pathlib
import pickle
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from sslbench.backbones import load_backbone
from sslbench.backbones.checkpoint import read_state_dict
from sslbench.backbones.checkpoints.safe_pickle import RefusedGlobalError
from sslbench.backbones.checkpoints.torch_data import Inert, read_torch_data
from sslbench.errors import BackboneError

LEGACY = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
ATTACKS = pytest.mark.parametrize("protocol", [2, 4])


class Stage(enum.Enum):
    FIRST = 1


class Config:
    class Part:
        pass

    def __init__(self) -> None:
        self.stage, self.part = Stage.FIRST, Config.Part()


@dataclasses.dataclass
class Settings:
    rate: float = 0.1


class Steps(list):  # type: ignore[type-arg]
    pass


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


WEIGHTS: dict[str, Tensor] = {
    "transposed": torch.randn(3, 4).t(), "whole": torch.arange(5), "half": torch.randn(3).half(), "b": torch.randn(2).bfloat16(),
    "flags": torch.tensor([True, False]), "empty": torch.empty(0, 3), "number": torch.tensor(3.0), "view": torch.randn(9)[3:7],
    "double": torch.randn(2, 2, dtype=torch.double), "parameter": nn.Parameter(torch.randn(2)),
}  # fmt: skip
BESIDE: dict[str, Any] = {
    "namespace": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/out")), "NumPy number": np.float64(71.2),
    "array": np.arange(3), "array of objects": np.array([None, "a"], dtype=object), "path": pathlib.PurePosixPath("/out"),
    "defaultdict": collections.defaultdict(int, a=1), "list of defaults": collections.defaultdict(list), "enum": Stage.FIRST,
    "counter": collections.Counter("aab"), "nested classes": Config(), "dataclass": Settings(), "own list": Steps([1, 2]),
    "simple": types.SimpleNamespace(a=1), "partial": functools.partial(int, base=2), "date": datetime.datetime(2026, 1, 1),
    "set": {1, 2}, "range": range(3), "slice": slice(1, 2), "class": Settings, "bytes": b"abc", "complex": 1j,
    "network": Net(), "layer": nn.Linear(1, 1), "device": torch.device("cpu"), "sparse": torch.eye(2).to_sparse(),
}  # fmt: skip


def save(content: Any, path: Path, *, legacy: bool = False, protocol: int = 2) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor), name


@LEGACY
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("beside", BESIDE)
def test_weights_come_out_whatever_lies_beside_them(beside: str, protocol: int, legacy: bool, tmp_path: Path) -> None:
    save({"model": WEIGHTS, "beside": BESIDE[beside]}, tmp_path / "w", legacy=legacy, protocol=protocol)
    assert_same(read_state_dict(tmp_path / "w"), WEIGHTS)
    # The second reader alone, also where torch's own would do.
    assert_same(read_torch_data(tmp_path / "w")["model"], WEIGHTS)


def test_types_without_a_storage_of_their_own_come_out(tmp_path: Path) -> None:
    tensor = torch.randn(4).to(torch.float8_e4m3fn)
    save({"model": {"float8": tensor}, "args": argparse.Namespace()}, tmp_path / "w")
    got = read_state_dict(tmp_path / "w")["float8"]
    assert got.dtype == tensor.dtype and torch.equal(got.view(torch.uint8), tensor.view(torch.uint8))


@LEGACY
def test_tensors_that_share_memory_come_out(legacy: bool, tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    shared = {"whole": whole, "rows": whole.view(3, 4)[1:], "column": whole.view(3, 4)[:, 2], "again": whole}
    save({"model": shared, "args": argparse.Namespace()}, tmp_path / "w", legacy=legacy)
    assert_same(read_state_dict(tmp_path / "w"), shared)


def test_a_backbone_loads_beside_training_arguments(tmp_path: Path) -> None:
    weights = timm.create_model("test_vit", num_classes=0).state_dict()
    save({"model": weights, "args": argparse.Namespace(lr=0.1), "epoch": 3}, tmp_path / "net.pth")
    backbone = load_backbone(f"file:{tmp_path}/net.pth?arch=test_vit")
    assert_same(backbone.network.module.state_dict(), dict(weights))


def test_what_is_not_looked_up_does_nothing(tmp_path: Path) -> None:
    save({"model": WEIGHTS, "config": Config()}, tmp_path / "w")
    config = read_torch_data(tmp_path / "w")["config"]
    assert isinstance(config, Inert)
    assert config.name == f"{Config.__module__}.Config"
    assert vars(config) == {}


class Call:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def touch(mark: Path) -> None:
    mark.write_text("ran")


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "a shell": lambda mark: Call(os.system, f"echo ran > {mark}"),
    "a program": lambda mark: Call(eval, f"open({str(mark)!r}, 'w').write('ran')"),
    "a method": lambda mark: Call(Path.write_text, mark, "ran"),
    "by name": lambda mark: Call(getattr, Path, "touch"),
    "an import": lambda mark: Call(__import__, "antigravity"),
    "a file": lambda mark: Call(io.open, str(mark), "w"),
}  # fmt: skip


@LEGACY
@ATTACKS
@pytest.mark.parametrize("kind", HOSTILE)
def test_an_attack_is_refused_by_name_and_does_not_run(kind: str, protocol: int, legacy: bool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    save({"model": WEIGHTS, "args": HOSTILE[kind](mark)}, tmp_path / "w", legacy=legacy, protocol=protocol)
    for read in (read_state_dict, read_torch_data):
        with pytest.raises(RefusedGlobalError, match=r"w: it names .*, which runs code .*weights_only=True"):
            read(tmp_path / "w")
        assert not mark.exists()


@LEGACY
@ATTACKS
def test_an_attack_by_code_of_the_files_own_is_not_run(protocol: int, legacy: bool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    save({"model": WEIGHTS, "args": Call(touch, mark)}, tmp_path / "w", legacy=legacy, protocol=protocol)
    # Nobody can tell such a function from a class of settings: neither is looked up.
    assert_same(read_state_dict(tmp_path / "w"), WEIGHTS)
    assert not mark.exists()
    # It is a real attack: pickle runs it.
    torch.load(tmp_path / "w", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("name", ["eval", "exec", "setattr", "__import__", "open", "compile", "print", "vars", "input"])
def test_functions_of_python_are_refused(name: str, tmp_path: Path) -> None:
    for module in ("builtins", "__builtin__"):
        with pytest.raises(RefusedGlobalError, match=rf"it names {module}\.{name}"):
            read_torch_data(zipped(f"c{module}\n{name}\n.".encode(), tmp_path))


def zipped(data: bytes, folder: Path, **storages: bytes) -> Path:
    with zipfile.ZipFile(folder / "z.pt", "w") as archive:
        archive.writestr("net/data.pkl", data)
        for key, raw in storages.items():
            archive.writestr(f"net/data/{key}", raw)
    return folder / "z.pt"


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nVa\nVcpu\nI4\ntQI%d\n(I%d\nt(I%d\ntI00\nNtR."
)


@pytest.mark.parametrize(("offset", "size", "stride"), [(0, 5, 1), (1, 4, 1), (0, 2, 9), (-1, 2, 1), (0, -2, 1)])
def test_a_tensor_beyond_its_numbers_is_refused(offset: int, size: int, stride: int, tmp_path: Path) -> None:
    sound = read_torch_data(zipped(TENSOR % (1, 2, 1), tmp_path, a=np.arange(4, dtype="<f4").tobytes()))
    assert sound.tolist() == [1.0, 2.0]
    with pytest.raises(BackboneError, match="not a torch file that can be read"):
        read_torch_data(zipped(TENSOR % (offset, size, stride), tmp_path, a=np.arange(4, dtype="<f4").tobytes()))


@pytest.mark.parametrize(
    "data",
    [
        # A call of what is no function of the reader, and stand-ins with arguments of other kinds.
        b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI2\nI3\nI4\ntR.",
        b"ctorch._utils\n_rebuild_tensor_v3\n(I1\nI2\nI3\nI4\nNNcos.path\njoin\ntR.",
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cargparse\nNamespace\nN(tNtR.",
        b"(Vmodule\nVother\ntQ.", b"(Vstorage\nVother\ntQ.", b"I3\nQ.",
        # A name that is a type in numpy's place.
        b"ctorch\nload\n(VX\ntR(dVa\nI1\nsb.",
    ],
)  # fmt: skip
def test_stand_ins_give_nothing_else(data: bytes, tmp_path: Path) -> None:
    try:
        got = read_torch_data(zipped(data, tmp_path))
    except BackboneError:
        return
    assert isinstance(got, str | Inert) or issubclass(got, Inert)


@LEGACY
def test_a_network_that_was_saved_whole_says_so(legacy: bool, tmp_path: Path) -> None:
    save(Net(), tmp_path / "w", legacy=legacy)
    with pytest.raises(BackboneError, match=r"a network of class .*\.Net was saved whole.*state_dict\(\)"):
        read_state_dict(tmp_path / "w")
    save({"model": Net(), "epoch": 3}, tmp_path / "w", legacy=legacy)
    with pytest.raises(
        BackboneError, match=r"found no tensor under \['epoch', 'model'\] \(model: an object of .*\.Net"
    ):
        read_state_dict(tmp_path / "w")


@LEGACY
def test_a_file_cut_short_anywhere_is_refused_by_the_second_reader(legacy: bool, tmp_path: Path) -> None:
    save(
        {"model": {"a": torch.rand(30), "b": torch.rand(7)}, "args": argparse.Namespace()},
        tmp_path / "w",
        legacy=legacy,
    )
    content = (tmp_path / "w").read_bytes()
    for length in range(0, len(content) - 1, max(1, len(content) // 60)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(BackboneError, match="cut short"):
            read_torch_data(tmp_path / "cut")


def test_a_flipped_bit_in_the_numbers_of_a_zip_is_noticed(tmp_path: Path) -> None:
    numbers = torch.rand(30)
    save({"model": {"a": numbers}, "args": argparse.Namespace()}, tmp_path / "w")
    content = bytearray((tmp_path / "w").read_bytes())
    content[content.index(numbers.numpy().tobytes()) + 50] ^= 1
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(BackboneError, match="Bad CRC-32"):
        read_torch_data(tmp_path / "w")


def test_a_plain_pickle_is_no_file_of_torch(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(pickle.dumps({"model": {"weight": [1.0]}}))
    with pytest.raises(BackboneError, match=r"it does not begin as files of torch\.save do"):
        read_state_dict(tmp_path / "w")
