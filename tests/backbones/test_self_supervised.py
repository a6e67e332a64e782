"""The list of self-supervised backbones against timm's own listing."""

from __future__ import annotations

import pytest
import timm

from sslbench.backbones.self_supervised import FAMILIES, SelfSupervised, family, list_self_supervised


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("vit_small_patch16_224.dino", "DINO"),
        ("resmlp_12_224.fb_dino", "DINO"),
        ("vit_base_patch14_reg4_dinov2.lvd142m", "DINOv2"),
        ("vit_large_patch16_dinov3.sat493m", "DINOv3"),
        ("vit_base_patch16_dinov3_qkvb.lvd1689m", "DINOv3"),
        ("convnext_tiny.dinov3_lvd1689m", "DINOv3"),
        ("vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m", "EUPE"),
        ("vit_huge_patch14_224.mae", "MAE"),
        ("hiera_base_plus_224.mae", "MAE"),
        ("convnextv2_atto.fcmae", "FCMAE"),
        ("vit_giant_patch16_gap_224.in22k_ijepa", "I-JEPA"),
        ("eva02_large_patch14_224.mim_m38m", "EVA-02 (MIM)"),
        ("regnety_1280.seer", "SEER"),
        ("aimv2_large_patch14_224.apple_pt_dist", "AIMv2"),
        ("beit3_large_patch16_224.indomain_pt", "BEiT-3"),
        # Fine-tuned with labels afterwards, or never without.
        ("convnextv2_atto.fcmae_ft_in1k", ""),
        ("hiera_base_224.mae_in1k_ft_in1k", ""),
        ("eva02_base_patch14_448.mim_in22k_ft_in1k", ""),
        ("beit3_base_patch16_224.in22k_ft_in1k", ""),
        ("regnety_320.seer_ft_in1k", ""),
        ("resnet50.fb_ssl_yfcc100m_ft_in1k", ""),
        ("resnet50.tv_in1k", ""),
    ],
)
def test_families(name: str, known: str) -> None:
    assert timm.is_model(name.partition(".")[0])
    assert family(name) == known


def test_every_family_is_there_with_licence_and_size() -> None:
    rows = list_self_supervised()
    assert {row.family for row in rows} == {"ResNet-50", *FAMILIES}
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.licence not in ("", "unknown") and row.size >= 224 for row in rows)
    by_name = {row.name: row for row in rows}
    assert by_name["vit_small_patch14_dinov2.lvd142m"] == SelfSupervised(
        "vit_small_patch14_dinov2.lvd142m", "DINOv2", "apache-2.0", 518
    )
    assert by_name["vit_base_patch16_dinov3.lvd1689m"].licence == "dinov3-license"
    assert by_name["swav"] == SelfSupervised("swav", "ResNet-50", "CC-BY-NC-4.0", 224)
    assert "supervised" not in by_name
    # None of them has a classifier of its own.
    assert all(
        timm.get_pretrained_cfg(row.name).num_classes == 0 for row in rows if row.family not in ("ResNet-50", "DINO")
    )


def test_a_glob() -> None:
    assert [row.name for row in list_self_supervised("moco*")] == ["moco-v1", "moco-v2", "moco-v3"]
    assert list_self_supervised("nothing*") == []


def test_nothing_that_says_so_in_its_tag_is_forgotten() -> None:
    tags = (".dino", "dinov2", "dinov3", ".mae", ".fcmae", "ijepa", ".seer", "apple_pt", ".mim_")
    listed = {row.name for row in list_self_supervised()}
    for name in timm.list_models(pretrained=True):
        if any(tag in name for tag in tags) and "_ft_" not in name:
            assert name in listed, name
