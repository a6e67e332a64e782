"""Torch files read as data: tensors and plain containers come out, anything else becomes an object that does nothing.

Trainers keep their arguments beside the weights (a namespace, a path, a NumPy number, settings of their own classes), at
which torch's own safe reader stops. Here no class of the file is looked up. A file that names what only an attack needs
is refused all the same, so that its owner learns of it.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from sslbench.backbones.checkpoints.safe_pickle import RefusedGlobalError
from sslbench.errors import BackboneError
from sslbench.unpickling import RestrictedUnpickler

# How torch's former format begins, and its version.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
    "QInt8": torch.int8, "QUInt8": torch.uint8, "QInt32": torch.int32,
}  # fmt: skip
# Types that settings are made of. Every other builtin is a function that a state dict has no use for.
_TYPES = frozenset((
    "int", "float", "complex", "bool", "str", "bytes", "bytearray", "object", "range", "slice", "type", "NoneType", "Ellipsis",
    "long", "xrange", "unicode",
))  # fmt: skip
_CONTAINERS = {"dict": dict, "list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_HOSTILE = frozenset((
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "importlib", "runpy", "ctypes", "pty", "code", "codeop",
    "webbrowser", "pickle", "_pickle", "marshal", "operator", "_operator", "multiprocessing", "threading", "asyncio",
    "tempfile", "io", "_io", "urllib", "http", "pydoc", "timeit", "cProfile", "profile", "pdb", "bdb", "trace", "imp", "gc",
))  # fmt: skip
_ADVICE = "where you trust it, save the weights alone: torch.save(STATE_DICT, FILE), or as safetensors"


class _Storage:
    """Numbers of one file. kind: their type. raw: uint8 (N,)."""

    def __init__(self, kind: torch.dtype, raw: Tensor) -> None:
        self.kind = kind
        self.raw = raw


class Inert:
    """Stands for an object whose class is not looked up: it takes whatever a pickle does to it, and does nothing."""

    name = ""

    def __new__(cls, *_arguments: Any, **_keywords: Any) -> Inert:
        """Whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_keywords: Any) -> None:
        pass

    def __call__(self, *_arguments: Any, **_keywords: Any) -> Inert:
        """Itself."""
        return self

    def _nothing(self, *_arguments: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _nothing


class _Items(dict[Any, Any]):
    """A mapping of another class; state dicts bear notes of torch's modules."""

    def __setstate__(self, _state: Any) -> None:
        pass


class _Kind:
    """The type of a storage, as a file names it."""

    def __init__(self, kind: torch.dtype) -> None:
        self.kind = kind


class _StandIns:
    """What one file may name. Nothing is handed out that another file would meet, should this one write into it."""

    def __init__(self) -> None:
        self._inert: dict[str, type[Inert]] = {}

    def find(self, module: str, name: str) -> Any:
        """The stand-in of a global. Raises RefusedGlobalError."""
        root = module.partition(".")[0]
        builtin = module in ("builtins", "__builtin__")
        if builtin and name in _CONTAINERS:
            return _CONTAINERS[name]
        if builtin and name == "getattr":
            return self.attribute
        if module == "collections" and name in ("OrderedDict", "defaultdict", "Counter"):
            return self.mapping
        if root == "torch":
            found = self._of_torch(module, name)
            if found is not None:
                return found
        method = "." in name and root in sys.stdlib_module_names
        if root in _HOSTILE or method or (builtin and name not in _TYPES):
            raise self._refused(f"{module}.{name}")
        return self._inert_class(f"{module}.{name}")

    def _inert_class(self, full: str) -> type[Inert]:
        if full not in self._inert:
            self._inert[full] = type("Inert", (Inert,), {"name": full})
        return self._inert[full]

    def attribute(self, owner: Any, name: Any) -> type[Inert]:
        # How members of an enumeration and nested classes are written; a method of Python's own classes is something else.
        full = getattr(owner, "name", "") if isinstance(owner, type) and issubclass(owner, Inert) else ""
        if not full or full.partition(".")[0] in sys.stdlib_module_names:
            raise self._refused(f"{full or owner}.{name}")
        return self._inert_class(f"{full}.{name}")

    def _refused(self, name: str) -> RefusedGlobalError:
        return RefusedGlobalError(
            f"it names {name}, which runs code when the file is opened with pickle (torch refuses it too, with "
            f"weights_only=True). Nothing of it was run; {_ADVICE}"
        )

    def _of_torch(self, module: str, name: str) -> Any:
        if name.endswith("Storage") and name.removesuffix("Storage") in _STORAGES:
            return _Kind(_STORAGES[name.removesuffix("Storage")])
        if module == "torch" and isinstance(kind := getattr(torch, name, None), torch.dtype):
            return kind
        if (module, name) == ("torch", "Size"):
            return tuple
        known = {
            ("torch._utils", "_rebuild_tensor"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self.typed_tensor,
            ("torch._utils", "_rebuild_parameter"): self.parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self.parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): self.from_type,
        }
        return known.get((module, name))

    def mapping(self, *arguments: Any) -> dict[Any, Any]:
        # The first argument of a defaultdict is what makes its defaults.
        given = [argument for argument in arguments if isinstance(argument, Mapping | list)]
        return _Items(given[0]) if given else _Items()

    def tensor(self, storage: Any, offset: int, size: Any, stride: Any, *_rest: Any) -> Tensor:
        return self.typed_tensor(storage, offset, size, stride, None, None, storage.kind)

    def typed_tensor(
        self, storage: Any, offset: int, size: Any, stride: Any, _grad: Any, _hooks: Any, kind: Any, *_rest: Any
    ) -> Tensor:
        if not isinstance(storage, _Storage) or not isinstance(kind, torch.dtype):
            raise ValueError("a tensor without numbers")
        # Raises where the file asks for numbers that it does not have.
        return storage.raw.view(kind).as_strided(tuple(size), tuple(stride), offset)

    def parameter(self, data: Any, *_rest: Any) -> Any:
        return data

    def from_type(self, function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
        if function not in (self.tensor, self.typed_tensor, self.parameter):
            raise ValueError("a tensor that is built in an unknown way")
        return function(*arguments)


def read_torch_data(path: Path) -> Any:
    """The content of a file of torch.save: mappings, lists, tensors and `Inert` objects.

    Raises RefusedGlobalError for a hostile file, BackboneError for a network that was saved whole or for anything else that
    cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            content = _read_zip(path)
        else:
            with path.open("rb") as file:
                content = _read_legacy(file, path.stat().st_size)
    except RefusedGlobalError as error:
        raise RefusedGlobalError(f"{path}: {error}") from error
    except (
        pickle.UnpicklingError, zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, TypeError, AttributeError,
        LookupError, RuntimeError, MemoryError,
    ) as error:  # fmt: skip
        raise BackboneError(
            f"{path}: not a torch file that can be read ({type(error).__name__}: {error}). If it is cut short, fetch it again"
        ) from error
    if isinstance(content, Inert):
        raise BackboneError(
            f"{path}: a network of class {content.name} was saved whole, which only its own code can open. Save its weights "
            "where that code is: torch.save(network.state_dict(), FILE)"
        )
    return content


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next((name.removesuffix("data.pkl") for name in names if name.rpartition("/")[2] == "data.pkl"), None)
        if root is None:
            raise ValueError("a zip archive without data.pkl")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("torch compresses nothing")
        order = archive.read(f"{root}byteorder").decode() if f"{root}byteorder" in names else sys.byteorder
        if order != sys.byteorder:
            raise ValueError(f"its numbers are in {order}-endian order")
        storages: dict[str, _Storage] = {}

        def storage(found: tuple[Any, ...]) -> _Storage:
            kind, key, _location, _count = found
            if key not in storages:
                # Torch wants memory that may be written.
                raw = bytearray(archive.read(f"{root}data/{key}"))
                storages[key] = _Storage(kind.kind, torch.frombuffer(raw, dtype=torch.uint8) if raw else _empty(0))
            return storages[key]

        with archive.open(f"{root}data.pkl") as file:
            return _unpickler(file, storage).load()


def _read_legacy(file: IO[bytes], size: int) -> Any:
    storages: dict[str, _Storage] = {}
    left = size

    def storage(found: tuple[Any, ...]) -> _Storage:
        nonlocal left
        kind, key, _location, count, view = found
        if key not in storages:
            bytes_ = int(count) * kind.kind.itemsize
            left -= bytes_
            if bytes_ < 0 or left < 0:
                raise ValueError(f"it announces {bytes_} bytes more than it has")
            storages[key] = _Storage(kind.kind, _empty(bytes_))
        if view is None:
            return storages[key]
        _, offset, length = view
        item = kind.kind.itemsize
        return _Storage(kind.kind, storages[key].raw[offset * item : (offset + length) * item])

    if _unpickler(file, storage).load() != _MAGIC or _unpickler(file, storage).load() != _PROTOCOL:
        raise ValueError("it does not begin as files of torch.save do")
    system = _unpickler(file, storage).load()
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise ValueError("its numbers are not in little-endian order")
    content = _unpickler(file, storage).load()
    for key in _unpickler(file, storage).load():
        target = storages[key]
        count = int.from_bytes(file.read(8), "little")
        raw = file.read(len(target.raw))
        if count * target.kind.itemsize != len(target.raw) or len(raw) != len(target.raw):
            raise EOFError("numbers are missing")
        if raw:
            target.raw.copy_(torch.frombuffer(bytearray(raw), dtype=torch.uint8))
    return content


def _unpickler(file: IO[bytes], storage: Any) -> RestrictedUnpickler:
    def load(found: Any) -> Any:
        if isinstance(found, tuple) and found[:1] == ("module",):
            # The class of a network that was saved whole, and its source.
            return found[1]
        if not isinstance(found, tuple) or found[:1] != ("storage",) or not isinstance(found[1], _Kind):
            raise ValueError("a reference to something that is no tensor")
        return storage(found[1:])

    unpickler = RestrictedUnpickler(file, _StandIns().find)
    unpickler.persistent_load = load  # type: ignore[method-assign]
    return unpickler


def _empty(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.uint8)
