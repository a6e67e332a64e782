"""Pickles of JAX networks read as data: every global becomes a stand-in that builds plain values, and any other is refused.

A pickle is a program that calls whatever it names. Here it can name only what `_StandIns` offers, none of which
imports, opens or runs anything; arrays are rebuilt from their bytes instead of by numpy's own unpickling.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from sslbench.errors import BackboneError
from sslbench.unpickling import RestrictedUnpickler

_MULTIARRAY = re.compile(r"numpy\.(core|_core)\.(multiarray|_multiarray_umath)")
_BUILTINS: Mapping[str, type] = {"tuple": tuple, "list": list, "dict": dict}
# Every version of Haiku pickles its mappings as (class, (dict,)).
_HAIKU_MAPPINGS = ("frozendict", "FlatMapping", "FlatMap", "FrozenDict")


class RefusedGlobalError(BackboneError):
    """A pickle names something that its format has no use for."""


class Record(tuple[Any, ...]):
    """A named tuple out of a pickle; `fields` is empty where the class is known by name only."""

    fields: tuple[str, ...] = ()

    def __new__(cls, *values: Any) -> Self:
        """Like a named tuple: from its values, not from one sequence."""
        if cls.fields and len(values) != len(cls.fields):
            raise ValueError(f"a record of {len(cls.fields)} fields with {len(values)} values")
        return super().__new__(cls, values)

    def as_dict(self) -> dict[str, Any]:
        """Values by field."""
        return dict(zip(self.fields, self, strict=True)) if self.fields else {}


class Array:
    """An array out of a pickle."""

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, Any, Any, Any, Any]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.values = np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran else "C")


class _Dtype:
    def __init__(self, text: str) -> None:
        if not re.fullmatch(r"[<>|=]?[fiub]\d", text):
            raise ValueError(f"an array of type {text!r}; expected numbers")
        self._text = text

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"an array with byte order {order!r}")
        self._text = order + self._text.lstrip("<>|=")

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self._text)


class _Module:
    """A module that dill names by `_import_module`; it is never imported."""

    def __init__(self, name: str) -> None:
        self.name = name


class _StandIns:
    """What the pickles of one file may call.

    Only bound methods, classes made for this file and immutable builtins are handed out, so that a pickle which sets
    attributes on them (the opcode BUILD) reaches nothing that another file would meet.
    """

    def __init__(self, records: Mapping[str, Sequence[str]]) -> None:
        self._records = records
        self._ndarray = object()

    def find(self, module: str, name: str) -> Any:
        """The stand-in of a global. Raises RefusedGlobalError."""
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return _BUILTINS[name]
        if _MULTIARRAY.fullmatch(module) and name in ("_reconstruct", "scalar"):
            return self.reconstruct if name == "_reconstruct" else self.scalar
        if module.startswith("haiku.") and name in _HAIKU_MAPPINGS:
            return self.mapping
        # States of optimisers; only their presence matters.
        if module.split(".")[0] == "optax" and name.endswith("State"):
            return self.create_record(name, ())
        if f"{module}.{name}" in self._records:
            return self.create_record(name, self._records[f"{module}.{name}"])
        known = {
            ("numpy", "ndarray"): self._ndarray,
            ("numpy", "dtype"): self.dtype,
            ("_codecs", "encode"): self.encode,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if module in ("dill._dill", "dill.dill"):
            module = "dill"
        known |= {
            ("dill", "_create_namedtuple"): self.create_record,
            ("dill", "_create_array"): self.create_array,
            ("dill", "_load_type"): self.load_type,
            ("dill", "_import_module"): self.import_module,
            ("dill", "_get_attr"): self.get_attr,
        }
        if (module, name) not in known:
            raise RefusedGlobalError(
                f"the pickle names {module}.{name}, which is not among what this format needs; nothing of it was run. Do "
                "not open this file with pickle or dill; fetch the published one"
            )
        return known[module, name]

    def reconstruct(self, subtype: object, shape: object, kind: object) -> Array:
        if subtype is not self._ndarray:
            raise ValueError("an array of another class than numpy.ndarray")
        return Array()

    def scalar(self, dtype: _Dtype, raw: bytes) -> Any:
        return np.frombuffer(raw, dtype.numpy())[0]

    def dtype(self, text: str, align: bool = False, copy: bool = False) -> _Dtype:
        return _Dtype(text)

    def encode(self, text: str, encoding: str) -> bytes:
        # How pickles of protocol 2 hold bytes; other codecs would decompress.
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")

    def mapping(self, items: Mapping[Any, Any]) -> dict[Any, Any]:
        return dict(items)

    def create_record(self, name: str, fields: Sequence[str], module: str = "", defaults: Any = None) -> type[Record]:
        return type(str(name), (Record,), {"fields": tuple(map(str, fields))})

    def create_array(self, function: Any, arguments: Any, state: Any, attributes: Any = None) -> Array:
        if function != self.reconstruct:
            raise ValueError("an array that numpy's _reconstruct does not build")
        array = self.reconstruct(*arguments)
        array.__setstate__(state)
        return array

    def load_type(self, name: str) -> Any:
        return self.find("builtins", {"TupleType": "tuple", "ListType": "list", "DictType": "dict"}.get(name, name))

    def import_module(self, name: str) -> _Module:
        return _Module(name)

    def get_attr(self, module: object, name: str) -> Any:
        # dill writes functions of C modules as an attribute of their module.
        if not isinstance(module, _Module):
            raise ValueError(f"the attribute {name!r} of something that is no module")
        return self.find(module.name, name)


class StandIns(Protocol):
    """What a format offers in the place of the globals that its pickles name."""

    def find(self, module: str, name: str) -> Any:
        """The stand-in of a global. Raises RefusedGlobalError."""


def load_pickle(path: Path, *, records: Mapping[str, Sequence[str]]) -> Any:
    """The content of a pickle, written by pickle or dill, whose leaves are `Array`, numbers and text.

    records: fields by full name of the named tuples that the pickle may name.
    Raises RefusedGlobalError for any other global and BackboneError for a file that is no whole pickle.
    """
    try:
        with path.open("rb") as file:
            return RestrictedUnpickler(file, _StandIns(records).find).load()
    except BackboneError as error:
        raise type(error)(f"{path}: {error}") from error
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, MemoryError) as error:
        raise BackboneError(
            f"{path}: not a pickle of arrays that can be read: {type(error).__name__}: {error}; if the file is cut short, "
            "fetch it again"
        ) from error
    except OSError as error:
        raise BackboneError(f"cannot read {path}: {error}") from error
