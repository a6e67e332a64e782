"""Files with the same bytes in several places of a dataset: pictures that were trained on and are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_WORDS = {
    "test_also_in_train_or_val": "of test are in train or val too",
    "val_also_in_train": "of val are in train too",
    "repeated_in_a_split": "repeat another of their split",
    "in_several_classes": "are in several classes",
}


def identical_pictures(pictures: Mapping[str, Sequence[tuple[bytes, int, str]]]) -> tuple[dict[str, int], str]:
    """Counts for the record and the same in words; both empty where all files differ.

    pictures: for each split the digest of each file, its class number and its name. Counted are test pictures that train or val
    has too, val pictures that train has, pictures that an earlier one of their split repeats, and pictures of which another
    class has a copy.
    """
    groups: dict[bytes, dict[str, list[tuple[int, str]]]] = {}
    for split, files in pictures.items():
        for digest, label, name in files:
            groups.setdefault(digest, {}).setdefault(split, []).append((label, name))
    counts = dict.fromkeys(_WORDS, 0)
    examples: dict[str, str] = {}

    def count(what: str, number: int, one: str, other: str) -> None:
        counts[what] += number
        examples.setdefault(what, f"{one} and {other}")

    for group in groups.values():
        train, val, test = (group.get(split, []) for split in ("train", "val", "test"))
        if test and (train or val):
            count("test_also_in_train_or_val", len(test), test[0][1], (train or val)[0][1])
        if val and train:
            count("val_also_in_train", len(val), val[0][1], train[0][1])
        for copies in (train, val, test):
            if len(copies) > 1:
                count("repeated_in_a_split", len(copies) - 1, copies[1][1], copies[0][1])
        everywhere = [*train, *val, *test]
        if other := next((name for label, name in everywhere if label != everywhere[0][0]), None):
            count("in_several_classes", len(everywhere), everywhere[0][1], other)
    found = {what: number for what, number in counts.items() if number}
    told = [f"{number} {_WORDS[what]} (such as {examples[what]})" for what, number in found.items()]
    return found, "; ".join(told)
