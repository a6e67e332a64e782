"""Long names are shortened by what they share, and no two of them become equal."""

from __future__ import annotations

import random

import pytest

from sslbench.results.short_names import short_names


def shortened(make_record, names):
    return short_names([make_record(name) for name in names])


@pytest.mark.parametrize(
    ("names", "short", "notes"),
    [
        # Nothing to gain.
        (["a", "zoo:simclr", "python:pkg:net"], ["a", "zoo:simclr", "python:pkg:net"], []),
        (["random-init:zoo:simclr-nocolour", "random-init:zoo:mae"], None, []),
        (["vit_large_patch14_clip_224.openai", "vit_large_patch14_clip_224.laion2b"], None, []),
        (["swav?padding=same&size=96&pooling=avg"], None, []),
        (["file:net.safetensors?arch=test_resnet&prefix=module."], None, []),
        # What is shared, options kept.
        (
            ["file:/data/checkpoints/run1/net.pth?arch=a", "file:/data/checkpoints/run2/net.pth?arch=a"],
            ["…run1/net.pth?arch=a", "…run2/net.pth?arch=a"],
            ["… stands for file:/data/checkpoints/"],
        ),
        (
            ["python:lab.first.models:net", "python:lab.first.other:net"],
            ["…models:net", "…other:net"],
            ["… stands for python:lab.first."],
        ),
        (["hub:somebody/something:main:resnet50"], ["…resnet50"], ["… stands for hub:somebody/something:main:"]),
        # An untrained network is still told from the trained one.
        (
            ["random-init:file:/data/checkpoints/net.pth", "file:/data/checkpoints/net.pth"],
            ["random-init:…net.pth", "…net.pth"],
            ["… stands for file:/data/checkpoints/"],
        ),
        # A short name with the same prefix is shortened with the long one.
        (
            ["python:laboratory:net_with_a_long_name", "python:laboratory:b"],
            ["…net_with_a_long_name", "…b"],
            ["… stands for python:laboratory:"],
        ),
        # Slashes and dots inside of options are no places.
        (
            ["file:weights/net.pth?arch=resnet50&drop=a.b/c:*"],
            ["…net.pth?arch=resnet50&drop=a.b/c:*"],
            ["… stands for file:weights/"],
        ),
        # The same rest of two places.
        (
            ["file:/home/one/checkpoints/net.pth", "file:/scratch/other/checkpoints/net.pth"],
            ["¹…net.pth", "²…net.pth"],
            ["¹… stands for file:/home/one/checkpoints/", "²… stands for file:/scratch/other/checkpoints/"],
        ),
    ],
)
def test_names_of_backbones(make_record, names, short, notes):
    found = shortened(make_record, names)
    assert [found.backbones[name] for name in names] == (names if short is None else short)
    assert list(found.notes) == notes


def test_names_of_tasks_keep_protocol_and_variant(make_record):
    dataset = "folder:/a/very/long/path/im?metric=mean_per_class"
    records = [
        make_record("net", f"fewshot/{dataset}/5shot", protocol="fewshot", dataset=dataset, variant="5shot", version=1),
        make_record("net", f"knn/{dataset}", protocol="knn", dataset=dataset),
        make_record("net", "knn/digits"),
    ]
    found = short_names(records)
    assert list(found.tasks.values()) == [
        "fewshot/…im?metric=mean_per_class/5shot", "knn/…im?metric=mean_per_class", "knn/digits",
    ]  # fmt: skip
    assert found.notes == ("… stands for folder:/a/very/long/path/",)


def test_a_name_that_looks_like_a_short_one_is_not_confused_with_it(make_record):
    names = ["python:laboratory.models:net", "…net"]
    found = shortened(make_record, names)
    assert [found.backbones[name] for name in names] == names
    assert found.notes == ()


def test_random_names_stay_different_and_do_not_depend_on_the_order(make_record):
    rng = random.Random(0)
    parts = [
        "file:",
        "python:",
        "folder:",
        "/data",
        "/a",
        "/long_directory",
        "pkg.",
        "net",
        "net2",
        ":",
        ".pth",
        "?x=1",
    ]
    for _ in range(300):
        names = sorted({"".join(rng.choices(parts, k=rng.randint(1, 7))) for _ in range(6)})
        found = shortened(make_record, names)
        assert len(set(found.backbones.values())) == len(names)
        assert all(len(found.backbones[name]) <= len(name) for name in names)
        assert found == shortened(make_record, rng.sample(names, len(names)))
        # With the notes, the full name can be read again.
        told = dict(note.split(" stands for ") for note in found.notes)
        for name, short in found.backbones.items():
            assert any(short.replace(sign, prefix, 1) == name for sign, prefix in {**told, "": ""}.items())
