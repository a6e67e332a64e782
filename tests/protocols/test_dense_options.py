"""What segmentation and normals can be asked for, and the study's numbers."""

from __future__ import annotations

import pytest

from sslbench.errors import UnknownNameError
from sslbench.protocols import protocol_spec
from sslbench.protocols._dense_options import NORMALS, SEGMENTATION, Options
from sslbench.tasks import expand_tasks, parse_task


def test_the_studys_recipes() -> None:
    seg, normals = SEGMENTATION.study, NORMALS.study
    for recipe in (seg, normals):
        assert (recipe.optimiser, recipe.rate, recipe.decay, recipe.power, recipe.warmup) == ("sgd", 0.02, 1e-4, 0.9, 0)
        assert (recipe.short, recipe.tested, recipe.longest, recipe.width) == (
            (300, 375, 450, 525, 600),
            450,
            1000,
            512,
        )
    assert [(recipe.steps, recipe.batch, recipe.lag) for recipe in (seg, normals)] == [(150_000, 4, 0), (13_500, 2, 1)]
    assert (SEGMENTATION.encoder, NORMALS.encoder) == ("finetune", "frozen")
    # A mirrored picture has other normals.
    assert (SEGMENTATION.flips, NORMALS.flips) == (True, False)
    assert (SEGMENTATION.pyramid, NORMALS.pyramid) == (True, False)


def test_another_size_takes_the_others_along() -> None:
    half = SEGMENTATION.study.sized(225)
    assert (half.short, half.tested, half.longest) == ((150, 188, 225, 262, 300), 225, 500)
    assert SEGMENTATION.study.sized(None) is SEGMENTATION.study


@pytest.mark.parametrize("name", ["segmentation", "normals"])
def test_a_variant_has_one_spelling(name: str) -> None:
    spec = protocol_spec(name)
    assert spec.variant("") == ""
    assert spec.variant("batch=2+recipe=small+steps=30") == "recipe=small+steps=30+batch=2"
    # What is the default is no other task.
    default = {"segmentation": "finetune", "normals": "frozen"}[name]
    other = {"segmentation": "frozen", "normals": "finetune"}[name]
    assert spec.variant(f"encoder={default}") == "" and spec.variant(f"encoder={other}") == f"encoder={other}"
    # Variants of other kinds are none of these.
    assert spec.variant("20shot") is None


def test_scales_are_of_segmentation_alone() -> None:
    assert SEGMENTATION.canonical("scales=multi") == "" and SEGMENTATION.canonical("scales=single") == "scales=single"
    assert SEGMENTATION.options("size=300+precision=bfloat16") == Options(size=300, precision="bfloat16")
    with pytest.raises(UnknownNameError, match=r"'scales=single' of the variant .* is no option of normals"):
        NORMALS.options("scales=single")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("stps=3", "'stps=3' of the variant 'stps=3' is no option of segmentation; nothing is the study's setting"),
        ("recipe=small+fast", "'fast' of the variant"),
        ("recipe=smal", "recipe=smal: expected study or adamw or small, or nothing"),
        ("encoder=last", "expected frozen or finetune"),
        ("steps=0", "steps=0: expected a whole number from 1"),
        ("batch=1", "batch=1: expected a whole number from 2"),
        ("size=8", "size=8: expected a whole number from 16"),
        ("steps=3+steps=4", "has steps twice"),
        ("frozen", "unknown variant of segmentation .frozen.; known: knn, linear. nothing is the study"),
    ],
)
def test_what_is_no_variant_is_told(wrong: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        parse_task(f"segmentation/world-masks/{wrong}")


def test_tasks_are_named() -> None:
    assert parse_task("segmentation/world-masks").variant == ""
    assert parse_task("normals/world-normals/steps=5+recipe=small").variant == "recipe=small+steps=5"
    for wrong, told in {
        "segmentation/world-normals": "takes masks, but world-normals has surface normals",
        "normals/world-masks": "takes surface normals, but world-masks has masks",
    }.items():
        with pytest.raises(UnknownNameError, match=told):
            parse_task(wrong)
    # They take hours elsewhere.
    with pytest.raises(UnknownNameError, match=r"\* does not stand for .*segmentation"):
        expand_tasks(["*/masks:pictures*"], "embedded")
    assert [task.id for task in expand_tasks(["segmentation/masks:pictures"], "embedded")] == [
        "segmentation/masks:pictures"
    ]
