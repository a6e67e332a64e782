"""Names of protocols."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from sslbench.datasets import Boxes, Labels, Targets, load_dataset
from sslbench.errors import DataError, SslbenchError, UnknownNameError
from sslbench.protocols import ProtocolSpec, list_protocols, protocol_spec, register_protocol
from sslbench.protocols.fewshot import FewShot
from sslbench.protocols.linear import Linear
from tests.conftest import Registries


def test_specs_build_what_they_declare() -> None:
    assert isinstance(protocol_spec("linear").build(""), Linear)
    built = protocol_spec("fewshot").build("20shot")
    assert isinstance(built, FewShot)
    assert built.shot == 20


def test_every_variant_of_every_protocol_builds() -> None:
    for name in list_protocols():
        spec = protocol_spec(name)
        assert spec.version >= 1
        for variant in spec.variants:
            assert spec.build(variant) is not None


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'liner'; nearest: linear"):
        protocol_spec("liner")


def test_a_taken_name_is_refused_and_the_same_declaration_is_not(registries: Registries) -> None:
    mine = register_protocol(ProtocolSpec("mine", 1, "m:f", "x", takes=(Boxes,)))
    assert register_protocol(mine) is mine
    # Those that take anything aside.
    own = [name for name in list_protocols(Boxes) if Targets not in protocol_spec(name).takes]
    assert own == ["detection", "mine"]
    assert "mine" not in list_protocols(Labels)
    with pytest.raises(SslbenchError, match="'linear' is already registered"):
        register_protocol(ProtocolSpec("linear", 2, "m:f", "x"))


def test_listing_imports_no_numerics() -> None:
    code = "import sys, sslbench.protocols as p; p.list_protocols(); print({'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"takes": Labels}, r"takes is a tuple of types of targets, such as \(Labels,\)"),
        ({"takes": ()}, "takes is a tuple"),
        ({"learns": "train"}, r"learns is a tuple, such as \('train',\)"),
        ({"held_out": "val"}, "held_out is 'test', 'pool' or 'test-or-pool', got 'val'"),
        ({"marker": "skip"}, "'skip' cannot be the marker"),
        ({"marker": "my marker"}, "'my marker' cannot be the marker"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SslbenchError, match=told):
        ProtocolSpec("mine", 1, "m:f", "x", **changes)  # type: ignore[arg-type]


def test_nothing_is_scored_on_what_it_learned_from() -> None:
    for changes in ({"learns": ("train", "test")}, {"held_out": "pool"}):
        spec = ProtocolSpec("mine", 1, "m:f", "x", **changes)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="scored on what it learned from: "):
            spec.check(load_dataset("digits"))


def test_a_switch_that_no_study_has_is_told_when_the_protocol_is_built() -> None:
    spec = ProtocolSpec("mine", 1, "m:f", "x", switches=("linear-solvr",))
    with pytest.raises(UnknownNameError, match="unknown compat switch 'linear-solvr'; nearest: linear-solver"):
        replace(spec, factory=Linear).build("")


def test_all_targets_may_be_taken() -> None:
    assert ProtocolSpec("mine", 1, "m:f", "x", takes=(Targets,)).fits(Boxes)
    assert not ProtocolSpec("mine", 1, "m:f", "x").fits(Boxes)
