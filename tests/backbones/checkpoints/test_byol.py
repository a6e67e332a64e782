"""BYOL's pickle, by the recipe of its trainer: Haiku's parameters, its moving averages, and all that lies beside them."""

from __future__ import annotations

import collections
import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from sslbench.backbones.checkpoints import checkpoint_spec
from sslbench.errors import BackboneError

State = dict[str, Tensor]
Same = Callable[[State, State], None]
Tree = dict[str, dict[str, np.ndarray]]

FIELDS = ("online_params", "target_params", "online_state", "target_state", "opt_state")


def haiku_name(name: str) -> str:
    """Haiku's module for a module of torchvision's, by the table of the format."""
    parts = name.split(".")
    if len(parts) == 1:
        return f"res_net50/~/initial_{'conv' if name == 'conv1' else 'batchnorm'}"
    block = f"res_net50/~/block_group_{int(parts[0][-1]) - 1}/~/block_{parts[1]}/~/"
    if parts[2] == "downsample":
        return block + ("shortcut_conv" if parts[3] == "0" else "shortcut_batchnorm")
    return block + f"{'conv' if parts[2].startswith('conv') else 'batchnorm'}_{int(parts[2][-1]) - 1}"


def trees(state: State, offset: float = 0) -> tuple[Tree, Tree]:
    """Parameters and state as Haiku would hold them."""
    params: Tree = {}
    moving: Tree = {}
    for name, tensor in state.items():
        module, _, what = name.rpartition(".")
        values = tensor.numpy() + np.float32(offset) if tensor.is_floating_point() else tensor.numpy()
        home = haiku_name(module)
        if what == "weight" and values.ndim == 4:
            params[home] = {"w": np.ascontiguousarray(np.moveaxis(values, [2, 3, 1, 0], [0, 1, 2, 3]))}
        elif what in ("weight", "bias"):
            params.setdefault(home, {})["scale" if what == "weight" else "offset"] = values.reshape(1, 1, 1, -1)
        elif what.startswith("running"):
            average = values.reshape(1, 1, 1, -1)
            # `hidden` differs here, though not in the published file: the wrong one must not pass.
            moving[f"{home}/~/{what.removeprefix('running_')}_ema"] = {
                "average": average, "hidden": average + 0.5, "counter": np.array(7, np.int32),
            }  # fmt: skip
    one = np.ones((2, 2), np.float32)
    for head in ("projector", "predictor"):
        params |= {
            f"{head}/linear": {"w": one, "b": one[0]}, f"{head}/linear_1": {"w": one},
            f"{head}/batch_norm": {"scale": one, "offset": one},
        }  # fmt: skip
        moving[f"{head}/batch_norm/~/mean_ema"] = {"average": one, "hidden": one, "counter": np.array(7, np.int32)}
    params["classifier"] = {"w": one, "b": one[0]}
    return params, moving


def content(state: State, experiment: type) -> dict[str, Any]:
    params, moving = trees(state)
    # The target network is as near to the online one as can be.
    target_params, target_state = trees(state, 0.25)
    opt_state = ({"mu": params}, (), np.float32(0.1))
    return {
        "experiment_state": experiment(params, target_params, moving, target_state, opt_state),
        "step": 1000, "rng": np.array([0, 7], np.uint32),
    }  # fmt: skip


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> type:
    """The class of BYOL's code, in a throw-away module of its name."""
    cls: Any = collections.namedtuple("_ByolExperimentState", FIELDS)
    cls.__module__ = "byol.byol_experiment"
    for name in ("byol", "byol.byol_experiment"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["byol.byol_experiment"]._ByolExperimentState = cls  # type: ignore[attr-defined]
    return cls  # type: ignore[no-any-return]


def test_every_tensor_of_the_online_network(
    state: State, same: Same, counters: Any, experiment: type, tmp_path: Path
) -> None:
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(content(state, experiment), protocol=2))
    weights = checkpoint_spec("byol").read(tmp_path / "f.pkl")
    same(weights.tensors, counters[1](state))
    heads = {key for key in weights.dropped if not key.endswith(("_ema/hidden", "_ema/counter"))}
    assert heads
    assert all(key.split("/")[1] in ("projector", "predictor", "classifier") for key in heads)
    assert len([key for key in weights.dropped if key.endswith("res_net50/~/initial_batchnorm/~/mean_ema/hidden")]) == 1


class _CreateNamedtuple:
    """Pickles as dill writes an instance: the class is made by a call."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values

    def __reduce__(self) -> Any:
        return _New(), self.values


class _New:
    def __call__(self, *values: Any) -> None:
        raise AssertionError("pickle only asks whether it could be called")

    def __reduce__(self) -> Any:
        return sys.modules["dill._dill"]._create_namedtuple, ("_ByolExperimentState", FIELDS, "byol.byol_experiment")


def test_the_class_made_by_dill(
    state: State, same: Same, counters: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def _create_namedtuple(name: str, fields: Any, module: str) -> type:
        raise AssertionError("only its name is pickled")

    _create_namedtuple.__module__, _create_namedtuple.__qualname__ = "dill._dill", "_create_namedtuple"
    for name in ("dill", "dill._dill"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["dill._dill"]._create_namedtuple = _create_namedtuple  # type: ignore[attr-defined]
    (tmp_path / "f.pkl").write_bytes(
        pickle.dumps(content(state, lambda *values: _CreateNamedtuple(values)), protocol=2)  # type: ignore[arg-type]
    )
    assert b"_create_namedtuple" in (tmp_path / "f.pkl").read_bytes()
    same(checkpoint_spec("byol").read(tmp_path / "f.pkl").tensors, counters[1](state))


def test_a_second_stem_by_name(state: State, same: Same, counters: Any, experiment: type, tmp_path: Path) -> None:
    written = content(state, experiment)
    for tree in written["experiment_state"]:
        for key in [key for key in tree if "initial_" in str(key)] if isinstance(tree, dict) else []:
            tree[key.replace("initial_conv", "initial_conv_1").replace("batchnorm", "batchnorm_1")] = tree.pop(key)
    assert "res_net50/~/initial_batchnorm_1" in written["experiment_state"].online_params
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(written, protocol=2))
    same(checkpoint_spec("byol").read(tmp_path / "f.pkl").tensors, counters[1](state))


def test_what_is_missing_or_left_over_is_named(state: State, experiment: type, tmp_path: Path) -> None:
    written = content(state, experiment)
    params = written["experiment_state"].online_params
    del params["res_net50/~/block_group_1/~/block_0/~/shortcut_batchnorm"]["scale"]
    params["res_net50/~/block_group_9/~/block_0/~/conv_0"] = {"w": np.ones((1, 1, 2, 2), np.float32)}
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(written, protocol=2))
    message = r"1 left over: params/res_net50/~/block_group_9/~/block_0/~/conv_0/w; 1 missing: layer2\.0\.downsample\.1\.weight"
    with pytest.raises(BackboneError, match=message):
        checkpoint_spec("byol").read(tmp_path / "f.pkl")


@pytest.mark.parametrize("written", [[], {"step": 3}, {"experiment_state": {"online_params": {}}}])
def test_another_pickle(written: Any, tmp_path: Path) -> None:
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(written))
    with pytest.raises(BackboneError, match=r"byol: .*expected experiment_state with online_params and online_state"):
        checkpoint_spec("byol").read(tmp_path / "f.pkl")


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"echo ran > {self.mark}",)


def test_a_hostile_file_is_refused_by_the_name_of_its_global(state: State, experiment: type, tmp_path: Path) -> None:
    written = {"first": Evil(tmp_path / "mark"), **content(state, experiment)}
    (tmp_path / "f.pkl").write_bytes(pickle.dumps(written, protocol=2))
    with pytest.raises(BackboneError, match=rf"names {os.system.__module__}\.system, which is not among"):
        checkpoint_spec("byol").read(tmp_path / "f.pkl")
    assert not (tmp_path / "mark").exists()
