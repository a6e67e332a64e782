"""What a published dataset holds, and how the files at hand differ from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sslbench.datasets.published.layout import Found
from sslbench.datasets.published.rows import Rows
from sslbench.datasets.targets import Boxes, Labels, LabelSets, Targets
from sslbench.names import encoded


@dataclass(frozen=True)
class Expected:
    """Facts about the official splits (before a validation split is drawn), as far as they are published.

    classes: how many. images: rows of each split, or the alternatives where publications disagree. per_class: rows of
    each class, in class order, positives where multi-label; one number where all classes have as many. rows: sha256 of
    a split's lines `ID LABEL`, each ended by a newline. md5: of files, by part of the layout.
    """

    classes: int
    images: Mapping[str, int | tuple[int, ...]]
    per_class: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    md5: Mapping[str, str] = field(default_factory=dict)

    def differences(self, classes: tuple[str, ...], splits: Mapping[str, Rows], found: Found) -> list[str]:
        """What is not as published, in words; empty where all is."""
        said = []
        if len(classes) != self.classes:
            said.append(f"expected {self.classes} classes, found {len(classes)}")
        for name, images in self.images.items():
            alternatives = (images,) if isinstance(images, int) else images
            if len(splits[name].targets) not in alternatives:
                wanted = " or ".join(map(str, alternatives))
                said.append(f"{name}: expected {wanted} images, found {len(splits[name].targets)}")
        said += [
            f"{name}: {difference}"
            for name, per_class in self.per_class.items()
            for difference in _uneven(per_class, classes, histogram(splits[name].targets, len(classes)))
        ]
        # The digest only adds something where the count of its split agrees.
        said += [
            f"{name}: the list of images and labels is not the published one"
            for name, digest in self.rows.items()
            if not any(text.startswith(f"{name}:") for text in said) and rows_digest(splits[name]) != digest
        ]
        said += [
            f"{found.layout.parts[part]}: expected md5 {md5}, found {actual}"
            for part, md5 in self.md5.items()
            if (actual := file_md5(found, part)) != md5
        ]
        return said


def statement(rows: Rows, classes: int) -> dict[str, Any]:
    """What identifies a split in a record: number of images, digests of its label histogram and of its rows."""
    counts = ",".join(map(str, histogram(rows.targets, classes)))
    return {
        "images": len(rows.targets),
        "histogram": hashlib.sha256(counts.encode()).hexdigest()[:16],
        "rows": rows_digest(rows)[:16],
    }


def histogram(targets: Targets, classes: int) -> list[int]:
    """Rows of each class, positives of each class where a picture has several, or objects where it has boxes."""
    if isinstance(targets, LabelSets):
        return [int(count) for count in (targets.values == 1).sum(axis=0)]
    if isinstance(targets, Labels):
        return [int(count) for count in np.bincount(targets.values, minlength=classes)]
    if isinstance(targets, Boxes):
        labels = np.concatenate([np.empty(0, np.int64), *(objects.labels for objects in targets.objects)])
        return [int(count) for count in np.bincount(labels, minlength=classes)]
    return []


def rows_digest(rows: Rows) -> str:
    """sha256 of the lines `ID LABEL` in row order; a multi-label LABEL is its numbers, joined by commas.

    Of other targets, of the ids and the targets' own digest.
    """
    digest = hashlib.sha256()
    if not isinstance(rows.targets, Labels | LabelSets):
        digest.update(encoded("\n".join(rows.ids)) + rows.targets.digest.encode())
        return digest.hexdigest()
    for name, target in zip(rows.ids, rows.targets.values.tolist(), strict=True):
        label = target if isinstance(target, int) else ",".join(map(str, target))
        digest.update(encoded(f"{name} {label}\n"))
    return digest.hexdigest()


def file_md5(found: Found, part: str) -> str:
    """md5 of one file of a layout."""
    with found.path(part).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _uneven(expected: int | tuple[int, ...], classes: tuple[str, ...], counts: list[int]) -> list[str]:
    wanted = (expected,) * len(counts) if isinstance(expected, int) else expected
    if len(wanted) != len(counts):
        return []
    odd = [
        f"{name!r} {count} instead of {number}"
        for name, count, number in zip(classes, counts, wanted, strict=True)
        if count != number
    ]
    more = f" and {len(odd) - 3} more classes" if len(odd) > 3 else ""
    return [f"images of {', '.join(odd[:3])}{more}"] if odd else []
