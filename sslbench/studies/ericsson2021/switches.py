"""Choices on which paper, official code and good practice differ; each has one default, which the record names."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.studies.study import Switch

SWITCHES: Mapping[str, Switch] = {
    "linear-solver": Switch(
        ("path", "sklearn"),
        "the linear probe solved to a certified optimum at every C, or by scikit-learn's L-BFGS with at most 100 "
        "iterations, warm-started along the path, as the study did it",
        protocols=("linear",),
        scope="all",
        published=("path", "sklearn"),
    ),
    "linear-selection": Switch(
        ("best", "one-stderr"),
        "the linear probe's C that is best on validation, as the study chose it, or the smallest within one standard error of it",
        protocols=("linear",),
        scope="all",
    ),
    "finetune-weight-decay": Switch(
        ("over-rate", "plain"),
        "fine-tuning's weight decay divided by the learning rate before SGD gets it, as in the official code, so that weights "
        "shrink by the same part at every rate, or as it is",
        protocols=("finetune",),
        scope="all",
    ),
    "finetune-decayed": Switch(
        ("all", "weights"),
        "weight decay in fine-tuning on all parameters, as in the official code, or not on biases, norms and other vectors",
        protocols=("finetune",),
        scope="all",
    ),
    "finetune-last-batch": Switch(
        ("keep", "drop"),
        "in fine-tuning, the short batch at the end of a pass over the pictures trained on, as in the official code, or left out",
        protocols=("finetune",),
        scope="all",
    ),
    "normals-padding": Switch(
        ("ignore", "class-0"),
        "labels of the rows and columns that fill pictures up in the training of normals: left out of the loss, or the first "
        "codeword, as in the official code",
        protocols=("normals",),
        scope="all",
        published=("ignore", "class-0"),
    ),
    "occlusion-fill": Switch(
        ("mean", "black", "picture-mean"),
        "what occlusion covers a window with: the mean colour of the network's statistics, which is 0 after normalisation, or "
        "black, or the picture's own mean; the study does not say",
        protocols=("occlusion",),
        scope="all",
    ),
    "occlusion-distance": Switch(
        ("plain", "centred"),
        "occlusion's distance divided by the length of the features, as in the code nearest to the study, or by that of the "
        "features less their mean, as in a root relative squared error",
        protocols=("occlusion",),
        scope="all",
    ),
    "inversion-output": Switch(
        ("normalised", "sigmoid"),
        "what the deep image prior paints: the normalised picture without bounds, as in the code of Zhao et al. that the study "
        "refers to, or red, green and blue behind a sigmoid, as in the prior's own",
        protocols=("inversion",),
        scope="all",
        published=("normalised", "sigmoid"),
    ),
    "inversion-resize": Switch(
        ("224", "256"),
        "the shorter side of a picture to be inverted before the crop to 224: 224, as for recognition, or 256, as Zhao et al.; "
        "in proportion for recipes of other sizes",
        protocols=("inversion",),
        scope="all",
        published=("224", "256"),
    ),
    "inversion-steps": Switch(
        ("3000", "3001"),
        "steps of an inversion as the paper counts them, or one more, as the loop of Zhao et al. has it",
        protocols=("inversion",),
        scope="all",
        published=("3000", "3001"),
    ),
    "inversion-levels": Switch(
        ("8-bit", "float"),
        "reconstructions rounded to the levels of a picture file before they are scored, as who saves them first, or not",
        protocols=("inversion",),
        scope="all",
        published=("8-bit", "float"),
    ),
    "caltech101-list": Switch(
        ("2021", "unique"),
        "train.txt of 2021 with 3,060 rows, some of them twice, or its 2,416 unique rows (official file since 2023)",
    ),
    "caltech101-background": Switch(
        ("keep", "drop"),
        "BACKGROUND_Google as a class of its own, as in the official code, or left out",
    ),
    "fewshot-geometry": Switch(
        ("official", "own"),
        "few-shot pictures stretched to 257x257 (bilinear) and cropped to 224, as in the official code, or prepared as "
        "for the linear probe",
        protocols=("fewshot",),
        scope="study",
    ),
    "fewshot-pool": Switch(
        ("with-val", "without-val"),
        "few-shot episodes from train, val and test, or without val, as the official code did before May 2021",
        protocols=("fewshot",),
    ),
    "voc2007-difficult": Switch(
        ("negative", "ignored"),
        "pictures that show only difficult objects of a class are negatives of it, or left out",
    ),
    "voc2007-penalty": Switch(
        ("binary-softmax", "binary"),
        "C of a forced two-row softmax, as in the official code (equal to binary logistic regression at 2C), or of plain "
        "binary logistic regression",
        protocols=("linear",),
    ),
}
