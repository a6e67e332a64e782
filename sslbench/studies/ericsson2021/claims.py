"""What the study says of its results, each sentence as a test that any set of scores can be put to.

Sections are the paper's; where it shows correlations in a figure, the score is that figure's (appendix A.7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sslbench.studies.claim import UNKNOWN, Claim, Evidence, Finding, Measured
from sslbench.studies.claim_rules import (
    Selection,
    best_beats_supervised,
    different_winners,
    falling,
    first_among,
    goes,
    main,
    most_better,
    none,
    none_dominates,
    scores,
    strong,
    weaker_than,
)
from sslbench.studies.ericsson2021.names import CROSS_DOMAIN

LINEAR, FINETUNE, SHOTS = "linear/*", "finetune/*", "fewshot/*/20shot"
FROZEN, DETECTORS = "detection/*/frozen*", "detection/*/finetune*"
_DOUBTFUL = (
    "the printed overlaps are probably those of encoders that were never loaded (docs/references.md), so that they carry no "
    "claim"
)


def _familiar(evidence: Evidence) -> list[Measured]:
    return [item for item in evidence.items(SHOTS) if item.dataset not in CROSS_DOMAIN]


def _cross_domain(evidence: Evidence) -> list[Measured]:
    return [item for item in evidence.items(SHOTS) if item.dataset in CROSS_DOMAIN]


def _isic(evidence: Evidence) -> list[Measured]:
    return [item for item in evidence.items(SHOTS) if item.dataset == "isic"]


def _doubtful(test: Callable[[Evidence], Finding]) -> Callable[[Evidence], Finding]:
    """The test, but on the study's own tables nothing can be told, whatever the figures are."""

    def guarded(evidence: Evidence) -> Finding:
        found = test(evidence)
        if not evidence.published:
            return found
        return Finding(UNKNOWN, f"{found.told}; but {_DOUBTFUL}", found.numbers, found.test)

    return guarded


_STEPS: Mapping[str, Selection] = {
    "many-shot": main(LINEAR),
    "few-shot": _familiar,
    "detection": scores(FROZEN, "AP50"),
    "normals": scores("normals/*", "within_11.25"),
}
_LPIPS = scores("inversion/*", "lpips_alexnet", "lpips_vgg", "lpips_squeezenet")
_COLOUR = scores("inversion/*", "mse_red", "mse_green", "mse_blue")
_ATTENTION = scores("occlusion/*", "attentive_diffusion")
_INVERT, _OCCLUDE = "inversion tasks", "occlusion tasks"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "best-beat-supervised",
        "abstract",
        "The best self-supervised networks beat supervision on most tasks.",
        "wins",
        # Without segmentation, whose figures carry no claim.
        best_beats_supervised(main(LINEAR, FINETUNE, SHOTS, FROZEN, DETECTORS, "normals/*"), "the tasks of the suite"),
    ),
    Claim(
        "linear-beats-supervised",
        "abstract, 4.1",
        "The best self-supervised networks beat supervision on most many-shot sets with a linear classifier.",
        "wins",
        best_beats_supervised(main(LINEAR), LINEAR),
    ),
    Claim(
        "finetune-beats-supervised",
        "abstract, 4.1",
        "The best self-supervised networks beat supervision on most many-shot sets when fine-tuned.",
        "wins",
        best_beats_supervised(main(FINETUNE), FINETUNE),
    ),
    Claim(
        "fewshot-beats-supervised",
        "abstract, 4.2",
        "The best self-supervised networks beat supervision on most few-shot sets at 20 shots.",
        "wins",
        best_beats_supervised(main(SHOTS), SHOTS),
    ),
    Claim(
        "cross-domain-beats-supervised",
        "4.2",
        "The best self-supervised networks beat supervision on most few-shot sets far from ImageNet.",
        "wins",
        best_beats_supervised(_cross_domain, "fewshot/cropdiseases/20shot and the other cross-domain sets"),
    ),
    Claim(
        "detection-beats-supervised",
        "abstract, 4.3",
        "The best self-supervised networks beat supervision in detection, frozen and fine-tuned.",
        "wins",
        best_beats_supervised(main(FROZEN, DETECTORS), "detection/*"),
    ),
    Claim(
        "normals-beats-supervised",
        "4.4",
        "The best self-supervised networks beat supervision in surface normals.",
        "wins",
        best_beats_supervised(main("normals/*"), "normals/*"),
    ),
    Claim(
        "segmentation-beats-supervised",
        "4.4",
        "The best self-supervised networks beat supervision in segmentation.",
        "wins",
        _doubtful(best_beats_supervised(main("segmentation/*"), "segmentation/*")),
    ),
    Claim(
        "linear-correlates",
        "abstract",
        "ImageNet accuracy correlates strongly with many-shot accuracy of a linear classifier.",
        "correlation",
        strong(main(LINEAR), LINEAR),
    ),
    Claim(
        "finetune-correlates",
        "abstract",
        "ImageNet accuracy correlates strongly with many-shot accuracy after fine-tuning.",
        "correlation",
        strong(main(FINETUNE), FINETUNE),
    ),
    Claim(
        "fewshot-correlates-less",
        "abstract",
        "ImageNet accuracy correlates less with few-shot accuracy on the many-shot sets.",
        "correlation",
        weaker_than(LINEAR, _familiar, SHOTS),
    ),
    Claim(
        "cross-domain-correlates-less",
        "abstract",
        "ImageNet accuracy correlates less with few-shot accuracy far from ImageNet.",
        "correlation",
        weaker_than(LINEAR, _cross_domain, "fewshot/cropdiseases/20shot and the other cross-domain sets"),
    ),
    Claim(
        "isic-uncorrelated",
        "4.2",
        "ImageNet accuracy does not correlate with few-shot accuracy on ISIC.",
        "correlation",
        none(_isic, "fewshot/isic/20shot"),
    ),
    Claim(
        "detection-correlates-less",
        "abstract",
        "ImageNet accuracy correlates less with detection by frozen backbones (AP50).",
        "correlation",
        weaker_than(LINEAR, scores(FROZEN, "AP50"), "detection/*/frozen"),
    ),
    Claim(
        "detection-ap-correlates-less",
        "abstract",
        "ImageNet accuracy correlates less with detection by frozen backbones (AP).",
        "correlation",
        weaker_than(LINEAR, scores(FROZEN, "AP"), "detection/*/frozen"),
    ),
    Claim(
        "detection-finetune-correlates-less",
        "abstract",
        "ImageNet accuracy correlates less with detection after fine-tuning (AP50).",
        "correlation",
        weaker_than(LINEAR, scores(DETECTORS, "AP50"), "detection/*/finetune"),
    ),
    Claim(
        "normals-correlates-less",
        "abstract",
        "ImageNet accuracy correlates less with surface normals (within 11.25 degrees).",
        "correlation",
        weaker_than(LINEAR, scores("normals/*", "within_11.25"), "normals/*"),
    ),
    Claim(
        "segmentation-uncorrelated",
        "abstract",
        "ImageNet accuracy does not correlate with segmentation.",
        "correlation",
        _doubtful(none(main("segmentation/*"), "segmentation/*")),
    ),
    Claim(
        "increasingly-less",
        "abstract",
        "The correlation falls from many-shot to few-shot to detection to dense prediction.",
        "correlation",
        falling(_STEPS, "linear, fewshot, detection and normals tasks"),
    ),
    Claim(
        "no-method-dominates",
        "abstract",
        "No single self-supervised method is best on every task.",
        "wins",
        none_dominates(LINEAR, FINETUNE, SHOTS, "detection/*", "normals/*"),
    ),
    Claim(
        "winners-differ",
        "4.1-4.4",
        "Which self-supervised network is best depends on the setting.",
        "ranks",
        different_winners(LINEAR, FINETUNE, SHOTS, FROZEN, DETECTORS, "normals/*"),
    ),
    Claim(
        "recognition-winners",
        "4.1",
        "DeepCluster-v2 and SwAV are the best self-supervised networks on many-shot sets with a linear classifier.",
        "wins",
        first_among("deepcluster-v2", "swav", select=main(LINEAR), run=LINEAR),
    ),
    Claim(
        "frozen-detection-winner",
        "4.3",
        "SimCLR-v2 is the best self-supervised network in detection by frozen backbones.",
        "wins",
        first_among("simclr-v2", select=scores(FROZEN, "AP", "AP50", "AP75"), run="detection/*/frozen"),
    ),
    Claim(
        "finetuned-detection-winner",
        "4.3",
        "BYOL is the best self-supervised network in detection after fine-tuning.",
        "wins",
        first_among("byol", select=scores(DETECTORS, "AP", "AP50", "AP75"), run="detection/*/finetune"),
    ),
    Claim(
        "normals-winner",
        "4.4",
        "SimCLR-v2 is the best self-supervised network in surface normals.",
        "wins",
        first_among("simclr-v2", select=main("normals/*"), run="normals/*"),
    ),
    Claim(
        "calibration-linear",
        "abstract, 4.7",
        "Top self-supervised networks are better calibrated than supervised ones, with a linear classifier.",
        "wins",
        most_better(scores(LINEAR, "ece"), LINEAR, "calibration error", lower=True, top=True),
    ),
    Claim(
        "calibration-linear-scaled",
        "4.7",
        "The same after temperature scaling.",
        "wins",
        most_better(scores(LINEAR, "ece_scaled"), LINEAR, "scaled calibration error", lower=True, top=True),
    ),
    Claim(
        "calibration-finetune",
        "abstract, 4.7",
        "Top self-supervised networks are better calibrated than supervised ones, after fine-tuning.",
        "wins",
        most_better(scores(FINETUNE, "ece"), FINETUNE, "calibration error", lower=True, top=True),
    ),
    Claim(
        "calibration-correlates",
        "4.7",
        "The better the ImageNet accuracy, the smaller the calibration error after fine-tuning.",
        "correlation",
        goes(scores(FINETUNE, "ece"), FINETUNE, sign=-1),
    ),
    Claim(
        "calibration-linear-correlates",
        "4.7",
        "The better the ImageNet accuracy, the smaller the calibration error of a linear classifier.",
        "correlation",
        goes(scores(LINEAR, "ece"), LINEAR, sign=-1),
    ),
    Claim(
        "reconstruction-worse",
        "4.8",
        "Pictures are reconstructed worse from self-supervised features (LPIPS).",
        "wins",
        most_better(_LPIPS, _INVERT, "LPIPS", lower=False),
    ),
    Claim(
        "colour-lost",
        "abstract, 4.8",
        "Top self-supervised networks keep colour less well than supervised ones.",
        "wins",
        most_better(_COLOUR, _INVERT, "the error of reconstructed colours", lower=False, top=True),
    ),
    Claim(
        "reconstruction-correlates",
        "4.8",
        "The better the ImageNet accuracy, the better the reconstruction (LPIPS, AlexNet).",
        "correlation",
        goes(scores("inversion/*", "lpips_alexnet"), _INVERT, sign=-1),
    ),
    Claim(
        "attention-wider",
        "abstract, 4.9",
        "The supervised network attends to a smaller area than most self-supervised ones.",
        "wins",
        most_better(_ATTENTION, _OCCLUDE, "attentive diffusion", lower=False),
    ),
    Claim(
        "attention-uncorrelated",
        "4.9",
        "The attended area does not go with ImageNet accuracy.",
        "correlation",
        none(_ATTENTION, _OCCLUDE),
    ),
)
"""In the order of the abstract and of section 4."""
