"""The study's published tables: which task and score each column is of, and what a figure is allowed to differ by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sslbench.studies.ericsson2021.names import CROSS_DOMAIN, FIFTY_SHOT, LOOKED_INTO, MANY_SHOT
from sslbench.studies.study import Allowance, Column, Table, Upstream

_FOLDER = Path(__file__).parent / "tables"
_MANY = (*MANY_SHOT, "voc2007")

# Judgements, not measurements: no published figure has been reproduced yet on the real files.
_LINEAR = Allowance(
    1.0, "the study's solver stopped early at weak regularisation; decoders and resizing have changed since"
)
_FEWSHOT = Allowance(0.5, "decoders and resizing have changed since")
# Tables of which nothing has been run on the real files, or whose protocols are not in this package yet: they judge nothing.
_NOT_YET = "nothing of this kind has been run here, so that nobody can say how far an honest run may be off"


def _csv(stem: str) -> Path:
    return _FOLDER / f"{stem}.csv"


def _recognition(
    stem: str, title: str, task: str, datasets: Iterable[str], allowance: Allowance | None, beside: Iterable[str] = ()
) -> Table:
    """A table with a column a dataset. task: with `{}` for the dataset."""
    columns = {name: Column(task.format(name)) for name in datasets}
    chosen = {name: _csv(f"{stem}_best_{name}") for name in beside}
    no_verdict = _NOT_YET if allowance is None else ""
    return Table(_csv(stem), title, columns, allowance, no_verdict, average=True, beside=chosen)


def _few_shot(shots: int, many_shot: Iterable[str] = MANY_SHOT) -> tuple[Table, ...]:
    return tuple(
        _recognition(
            f"few_shot_{stem}_{shots}shot",
            f"few-shot recognition, {sets} sets, {shots} shots",
            f"fewshot/{{}}/{shots}shot",
            datasets,
            _FEWSHOT,
        )
        for stem, sets, datasets in (("kornblith", "many-shot", many_shot), ("cdfsl", "cross-domain", CROSS_DOMAIN))
    )


def _mean_error(protocol: str, score: str) -> Column:
    tasks = tuple(f"{protocol}/{name}" for name in MANY_SHOT)
    return Column("", score, higher_is_better=False, mean_of=tasks)


def _looked_into(protocol: str, score: str, unit: str) -> Column:
    tasks = tuple(f"{protocol}/{name}" for name in LOOKED_INTO)
    return Column("", score, unit, higher_is_better=False, mean_of=tasks)


def _falling(score: str, *, main: bool = False) -> Column:
    return Column("normals/nyuv2", score, "degrees", higher_is_better=False, main=main)


TABLES: tuple[Table, ...] = (
    _recognition("many_shot_linear", "many-shot recognition, linear", "linear/{}", _MANY, _LINEAR, beside=["C"]),
    _recognition("many_shot_finetune", "many-shot recognition, fine-tuned", "finetune/{}", _MANY, None),
    *_few_shot(20),
    *_few_shot(5),
    *_few_shot(50, FIFTY_SHOT),
    Table(
        _csv("detection_voc"),
        "object detection on VOC",
        {
            f"{way}_{column}": Column(f"detection/voc/{way}", score, main=score == "AP")
            for way in ("frozen", "finetune")
            for column, score in (("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75"))
        },
        None,
        _NOT_YET,
    ),
    Table(
        _csv("dense_prediction"),
        "surface normals on NYUv2",
        {
            "normals_mean_deg": _falling("mean_angle", main=True),
            "normals_median_deg": _falling("median_angle"),
            **{
                f"normals_within_{degrees}": Column("normals/nyuv2", f"within_{degrees}")
                for degrees in ("11.25", "22.5", "30")
            },
        },
        None,
        _NOT_YET,
    ),
    Table(
        _csv("dense_prediction"),
        "segmentation of ADE20K",
        {
            # Printed as a fraction.
            "ade20k_mean_iou": Column("segmentation/ade20k", "mean_iou", factor=100.0, main=True),
            "ade20k_pixel_accuracy": Column("segmentation/ade20k", "pixel_accuracy"),
        },
        None,
        "these are probably the figures of encoders that were never loaded (docs/references.md), so that no honest run can be "
        "held against them",
    ),
    Table(
        _csv("feature_analysis"),
        "expected calibration error, mean of ten many-shot sets",
        {
            "ece_linear": _mean_error("linear", "ece"),
            "ece_linear_scaled": _mean_error("linear", "ece_scaled"),
            "ece_finetune": _mean_error("finetune", "ece"),
            "ece_finetune_scaled": _mean_error("finetune", "ece_scaled"),
        },
        None,
        "a mean over data sets belongs to no case, and nobody can say how far an honest run may be off: the error depends on the "
        "chosen C and on where the study's solver stopped",
    ),
    Table(
        _csv("feature_analysis"),
        "feature inversion, mean of one picture of each of 15 sets",
        {
            **{
                f"lpips_{name}": _looked_into("inversion", f"lpips_{name}", "LPIPS")
                for name in ("alexnet", "vgg", "squeezenet")
            },
            **{f"mse_{name}": _looked_into("inversion", f"mse_{name}", "levels²") for name in ("red", "green", "blue")},
        },
        None,
        "a mean over data sets belongs to no case, the study does not say which picture of each set it took, and no code was "
        "published",
    ),
    Table(
        _csv("feature_analysis"),
        "attentive diffusion, mean of one picture of each of 15 sets",
        {"attentive_diffusion": _looked_into("occlusion", "attentive_diffusion", "%")},
        None,
        "a mean over data sets belongs to no case, the study names neither the pictures nor what covered the windows, and "
        "neither direction is the better one",
    ),
)
"""The tables that a task of this package has or will have a figure in, in the order of the paper's sections."""

UPSTREAM = Upstream("ImageNet top-1", _csv("many_shot_linear"), "imagenet")
"""Table 1's first column: of a linear classifier on ImageNet for the self-supervised networks, as their authors published it."""
