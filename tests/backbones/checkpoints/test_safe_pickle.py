"""Pickles that are read as data: those of dill and pickle come out, and nothing else is even looked up.

golden/dill-0.3.2.pkl was written by dill 0.3.2 with NumPy 1.19.5 on Python 3.8, the versions of BYOL's time, from
classes with the names BYOL's code had.
"""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslbench.backbones.checkpoints import safe_pickle
from sslbench.backbones.checkpoints.safe_pickle import Array, RefusedGlobalError, load_pickle
from sslbench.errors import BackboneError

GOLDEN = Path(__file__).parent / "golden" / "dill-0.3.2.pkl"
RECORDS = {"some.module.State": ("first", "second")}


def load(content: bytes, folder: Path) -> Any:
    (folder / "p.pkl").write_bytes(content)
    return load_pickle(folder / "p.pkl", records=RECORDS)


def test_a_pickle_of_dill() -> None:
    content = load_pickle(GOLDEN, records={})
    assert content.keys() == {"experiment_state", "step", "rng"}
    assert content["step"] == 300
    assert content["rng"].values.tolist() == [0, 7]
    state = content["experiment_state"].as_dict()
    assert list(state) == ["online_params", "target_params", "online_state", "target_state", "opt_state"]
    kernel = state["online_params"]["res_net50/~/initial_conv"]["w"].values
    assert kernel.dtype == np.float32
    assert np.array_equal(kernel, np.arange(12).reshape(2, 1, 3, 2) / 8)
    moving = state["online_state"]["res_net50/~/initial_batchnorm/~/mean_ema"]
    # This one was pickled in Fortran's order.
    assert np.array_equal(moving["average"].values, np.arange(6).reshape(2, 3).T)
    assert moving["counter"].values.shape == ()
    assert state["opt_state"][0].as_dict()["mu"].keys() == state["online_params"].keys()
    assert state["opt_state"][1] == ()


def test_the_golden_pickle_names_what_only_dill_names() -> None:
    named = {argument for _, argument, _ in pickletools.genops(GOLDEN.read_bytes()) if isinstance(argument, str)}
    assert {"dill._dill _create_namedtuple", "dill._dill _get_attr", "numpy.core._multiarray_umath"} <= named


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL))
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i4", "|u1", "|b1"])
def test_arrays(protocol: int, dtype: str, tmp_path: Path) -> None:
    arrays = [np.arange(6).astype(dtype).reshape(2, 3), np.arange(6).astype(dtype).reshape(3, 2).T, np.ones((), dtype)]
    got = load(pickle.dumps([*arrays, arrays[0][1, 2]], protocol=protocol), tmp_path)
    for array, expected in zip(got[:3], arrays, strict=True):
        assert array.values.dtype == expected.dtype
        assert np.array_equal(array.values, expected)
    assert got[3] == arrays[0][1, 2]


def module(name: str, **content: Any) -> types.ModuleType:
    built = types.ModuleType(name)
    for key, value in content.items():
        if isinstance(value, type):
            value.__module__ = name
            value.__qualname__ = key
            value.__name__ = key
        setattr(built, key, value)
    return built


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, types.ModuleType]]:
    """Throw-away modules with the classes a pickle names."""

    class FlatMapping(dict):  # type: ignore[type-arg]
        def __reduce__(self) -> Any:
            return FlatMapping, (dict(self),)

    fakes = {
        "haiku": module("haiku"),
        "haiku._src": module("haiku._src"),
        "haiku._src.data_structures": module("haiku._src.data_structures", FlatMapping=FlatMapping),
        "some": module("some"),
        "some.module": module(
            "some.module",
            State=collections.namedtuple("State", "first second"),
            Other=collections.namedtuple("Other", "first second"),
        ),
        "optax": module("optax", ScaleState=collections.namedtuple("ScaleState", "")),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    yield fakes


def test_classes_by_their_names(fakes: Any, tmp_path: Path) -> None:
    FlatMapping = fakes["haiku._src.data_structures"].FlatMapping
    state = fakes["some.module"].State(FlatMapping(a=FlatMapping(w=np.ones(2))), fakes["optax"].ScaleState())
    ordered = collections.OrderedDict(z=1, a=2)
    got = load(pickle.dumps({"state": state, "ordered": ordered}, protocol=2), tmp_path)
    assert got["state"].as_dict()["first"]["a"]["w"].values.tolist() == [1, 1]
    assert got["state"].as_dict()["second"] == ()
    assert got["ordered"] == ordered


def test_a_class_that_was_not_declared_is_refused(fakes: Any, tmp_path: Path) -> None:
    with pytest.raises(RefusedGlobalError, match=r"the pickle names some\.module\.Other"):
        load(pickle.dumps(fakes["some.module"].Other(1, 2), protocol=2), tmp_path)


class Call:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def attack(mark: Path) -> dict[str, Any]:
    return {"experiment_state": {}, "step": Call(os.system, f"echo ran > {mark}")}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_by_name_and_does_not_run(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps(attack(tmp_path / "mark"), protocol=protocol)
    with pytest.raises(RefusedGlobalError, match=rf"p\.pkl: the pickle names {os.system.__module__}\.system"):
        load(content, tmp_path)
    assert not (tmp_path / "mark").exists()
    # It is a real attack: pickle runs it.
    pickle.loads(content)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "name", ["eval", "exec", "getattr", "setattr", "__import__", "open", "compile", "type", "object", "print"]
)
def test_builtins_that_could_do_harm_are_refused(name: str, tmp_path: Path) -> None:
    for where in ("builtins", "__builtin__"):
        with pytest.raises(RefusedGlobalError, match=rf"the pickle names {where}\.{name},"):
            load(f"c{where}\n{name}\n.".encode(), tmp_path)


HOSTILE_BYTES = {
    # dill's own way to a function of a module.
    "by dill": b"cdill._dill\n_get_attr\n(cdill._dill\n_import_module\n(Vos\ntRVsystem\ntR(Vtouch MARK\ntR.",
    "of numpy": b"cnumpy.core.multiarray\nfromfile\n(VMARK\ntR.",
    "beside numpy's": b"cdill._dill\n_get_attr\n(cdill._dill\n_import_module\n(Vnumpy.core\ntRVload\ntR.",
    "a dotted name": b"\x80\x04\x8c\x11numpy.core.numeric\x8c\x0dndarray.dump\x93.",
    "of the loader itself": b"csslbench.backbones.checkpoints.safe_pickle\nload_pickle\n.",
    "of the operating system": b"cposix\nsystem\n(Vtouch MARK\ntR.",
    "of subprocess": b"csubprocess\nPopen\n(VMARK\ntR.",
    "a partial": b"cfunctools\npartial\n.",
}


@pytest.mark.parametrize("kind", HOSTILE_BYTES)
def test_other_ways_to_a_function_are_refused(kind: str, tmp_path: Path) -> None:
    content = HOSTILE_BYTES[kind].replace(b"MARK", str(tmp_path / "mark").encode())
    with pytest.raises(BackboneError, match=r"the pickle names|can be read"):
        load(content, tmp_path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # _create_array calls what it is given.
        (b"cdill._dill\n_create_array\n(cbuiltins\nlist\n)(K\x01ttR.", "ValueError|TypeError"),
        # An array of objects, whose bytes would be taken for pointers.
        (b"cnumpy\ndtype\n(VO8\nI00\nI01\ntR.", "'O8'"),
        (b"c_codecs\nencode\n(Vabc\nVzip\ntR.", "'zip'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nlist\n(K\x00tVb\ntR.", "another class"),
        (b"cdill._dill\n_get_attr\n(Vos\nVsystem\ntR.", "no module"),
        (b"cdill._dill\n_load_type\n(VCodeType\ntR.", "builtins.CodeType"),
    ],
)
def test_stand_ins_take_no_other_arguments(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=message):
        load(content, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "numpy.core.multiarray\n_reconstruct", "numpy\ndtype", "numpy\nndarray", "dill._dill\n_import_module",
        "haiku._src.data_structures\nFlatMapping", "collections\nOrderedDict", "some.module\nState", "builtins\ndict",
    ],
)  # fmt: skip
def test_a_pickle_cannot_change_what_the_next_one_meets(name: str, tmp_path: Path) -> None:
    def attributes() -> dict[str, Any]:
        classes = (
            safe_pickle.Record,
            safe_pickle.Array,
            safe_pickle._Dtype,
            safe_pickle._Module,
            safe_pickle._StandIns,
        )
        return {f"{cls.__name__}.{key}": value for cls in classes for key, value in vars(cls).items()}

    before = attributes()
    # BUILD with (None, slots) calls setattr on the object that a global gave.
    for key in ("__init__", "__setstate__", "fields", "values", "reconstruct", "__code__"):
        content = f"c{name}\n(N(dV{key}\nVchanged\nstb.".encode()
        try:
            load(content, tmp_path)
        except BackboneError:
            continue
    assert attributes() == before


def test_a_pickle_cut_short_anywhere(tmp_path: Path) -> None:
    content = GOLDEN.read_bytes()
    for length in range(0, len(content), 13):
        with pytest.raises(BackboneError, match=r"p\.pkl: not a pickle of arrays that can be read"):
            load(content[:length], tmp_path)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"PK\x03\x04....", b"\x80\x02}q", bytes(range(256))])
def test_what_is_no_pickle(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="not a pickle of arrays"):
        load(content, tmp_path)


def test_an_array_without_content(tmp_path: Path) -> None:
    got = load(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tVb\ntR.", tmp_path)
    assert isinstance(got, Array)
    assert got.values.size == 0
