"""The declarations: complete, in order, light to import, and the same as the page that documents them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from sslbench.backbones import CONTROLS, expand_backbones, list_backbones, register_backbone
from sslbench.backbones.checkpoints import CHECKPOINTS, CheckpointSpec, checkpoint_spec
from sslbench.backbones.preprocessing import presets
from sslbench.backbones.zoo import zoo_names
from sslbench.errors import BackboneError, UnknownNameError
from sslbench.studies.ericsson2021 import STUDY

PAGE = (Path(__file__).parents[3] / "docs" / "checkpoints.md").read_text(encoding="utf-8")

STUDY_NAMES = (
    "insdis moco-v1 pcl-v1 pirl pcl-v2 simclr-v1 moco-v2 simclr-v2 sela-v2 infomin byol deepcluster-v2 swav supervised"
)


def test_the_study_in_the_order_of_its_tables() -> None:
    assert list(STUDY.networks) == STUDY_NAMES.split()
    assert list(CHECKPOINTS) == [*STUDY_NAMES.split(), "vicreg", "barlowtwins", "dino-resnet50", "moco-v3"]
    # Pretraining lengths of the study's table of checkpoints, batch sizes aside.
    epochs = [200, 200, 200, 200, 200, 1000, 800, 800, 400, 800, 1000, 800, 800, 120]
    assert [CHECKPOINTS[name].epochs for name in STUDY.networks] == epochs


def test_names_are_listed_after_the_controls_and_the_zoo_and_shadow_nothing() -> None:
    names = list_backbones()
    start = len(CONTROLS) + len(zoo_names())
    assert names[start : start + len(CHECKPOINTS)] == list(CHECKPOINTS)
    assert not [name for name in CHECKPOINTS if timm.is_model(name)]
    with pytest.raises(BackboneError, match="'swav' is already registered"):
        register_backbone("swav", lambda: None)


def test_names_options_and_globs() -> None:
    assert expand_backbones(["byol?padding=same", "moco-v[12]", "swav"]) == [
        "byol?padding=same", "moco-v1", "moco-v2", "swav"
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'swaw'; nearest: .*swav"):
        expand_backbones(["swaw"])
    with pytest.raises(UnknownNameError, match=r"unknown checkpoint 'swaw'; nearest: .*swav"):
        checkpoint_spec("swaw")


@pytest.mark.parametrize("spec", CHECKPOINTS.values(), ids=lambda spec: spec.name)
def test_a_declaration_is_complete(spec: CheckpointSpec) -> None:
    assert spec.sources
    assert all(url.startswith("https://") for source in spec.sources for url in (*source.urls, spec.page))
    assert all(source.urls for source in (*spec.sources, *spec.alternatives))
    assert all(re.fullmatch(r"[0-9a-f]{8}", digest) for s in spec.sources for digest in (s.md5, s.sha256) if digest)
    assert spec.preprocessing in presets()
    assert (spec.preprocessing == "paper-nonorm") == spec.name.startswith("simclr")
    assert re.fullmatch(r"\S.* \d{4}, arXiv \d{4}\.\d{5}", spec.citation)
    assert spec.same_padding == {"byol": "all", "simclr-v1": "pool", "simclr-v2": "pool"}.get(spec.name, "")


def test_files_do_not_overwrite_each_other() -> None:
    names = [s.filename for spec in CHECKPOINTS.values() for s in (*spec.sources, *spec.alternatives)]
    assert len(set(names)) == len(names)


def test_declarations_load_no_network_library() -> None:
    code = (
        "import sys, sslbench.backbones.checkpoints as c; assert len(c.CHECKPOINTS) == 18;"
        "print({'torch', 'timm', 'google_crc32c', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("spec", CHECKPOINTS.values(), ids=lambda spec: spec.name)
def test_the_page_says_the_same(spec: CheckpointSpec) -> None:
    (row,) = re.findall(rf"^\| `{re.escape(spec.name)}` \|.*$", PAGE, flags=re.MULTILINE)
    assert f"| {spec.licence} |" in row
    assert f"| {spec.epochs} |" in row
    assert f"| {spec.preprocessing} |" in row
    for source in spec.sources:
        digest = source.sha256 or source.md5
        assert digest in row
        assert f"({source.urls[0]})" in row
