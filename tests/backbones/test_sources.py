"""Sources of backbones: one file each, found by themselves, and no numerics before something is loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sslbench.backbones import expand_backbones, list_backbones, load_backbone, register_backbone, sources
from sslbench.backbones.source import SOURCES, in_order, owner
from sslbench.errors import BackboneError, UnknownNameError
from tests.conftest import Registries

ONE_FILE = """
from sslbench.backbones.source import BackboneSource, Request
from sslbench.names import unknown

NAMES = ("toy:mean", "toy:sum")


def check(bare):
    if bare not in NAMES:
        raise unknown("toy", bare, NAMES)


def load(request: Request):
    import torch

    from sslbench.backbones.python_source import wrap

    class Net(torch.nn.Module):
        input_size = 8

        def forward(self, images):
            return getattr(images, request.rest)(dim=(2, 3))

    return wrap(request.name, Net(), request.options, recipe=request.bare)


SOURCE = BackboneSource("toy", load, names=lambda: NAMES, check=check)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: Registries) -> Iterator[None]:
    """A source that is one file more in the package."""
    (tmp_path / "toy.py").write_text(ONE_FILE, encoding="utf-8")
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    sources.discover()
    yield
    sys.modules.pop("sslbench.backbones.sources.toy")


@pytest.mark.usefixtures("toy")
def test_one_file_is_enough() -> None:
    assert list_backbones("toy:*") == ["toy:mean", "toy:sum"]
    assert expand_backbones(["toy:*", "toy:sum?size=16", "pixels"]) == [
        "toy:mean", "toy:sum", "toy:sum?size=16", "pixels",
    ]  # fmt: skip
    backbone = load_backbone("toy:sum?size=16")
    assert backbone.name == "toy:sum?size=16"
    assert backbone.embed(torch.ones(1, 3, 16, 16)).tolist() == [[256.0] * 3]


@pytest.mark.usefixtures("toy")
def test_its_names_are_checked_kept_and_suggested() -> None:
    for act in (load_backbone, lambda name: expand_backbones([name])):
        with pytest.raises(UnknownNameError, match="unknown toy 'toy:maen'; nearest: toy:mean"):
            act("toy:maen")
    with pytest.raises(BackboneError, match="unknown option nonsense"):
        load_backbone("toy:mean?nonsense=1")
    with pytest.raises(BackboneError, match="'toy:mean' is already registered"):
        register_backbone("toy:mean", lambda: None)
    with pytest.raises(UnknownNameError, match=r"nearest: .*toy:mean"):
        expand_backbones(["ttoy:mean"])


def test_every_module_of_the_package_is_a_source_and_timm_comes_last() -> None:
    files = {path.stem for path in Path(sources.__file__).parent.glob("*.py")} - {"__init__"}
    assert len(files) == len(SOURCES)
    assert [source.name for source in in_order() if source.any_name] == ["timm"] == [in_order()[-1].name]
    for name, expected in (
        ("zoo:mae", "zoo"), ("random-init", "random-init"), ("random-init:resnet18", "random-init"),
        ("swav", "checkpoints"), ("file:x*", "file"), ("hub:a/b:c", "hub"), ("hf-hub:a/b", "hf-hub"),
        ("python:a:b", "python"), ("resnet50.a1_in1k", "timm"), ("zoo", "timm"), ("random-init*", "timm"),
    ):  # fmt: skip
        assert owner(name).name == expected, name


def test_names_of_every_source_but_timm_expand_without_a_network_library() -> None:
    names = ["zoo:*", "swav", "pixels", "file:x.pth?arch=y", "hub:a/b:c", "python:a:b", "hf-hub:a/b", "random-init:x"]
    code = (
        f"import sys, sslbench.backbones as b; b.expand_backbones({names!r}); "
        "print({'torch', 'timm', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
