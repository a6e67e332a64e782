"""What the names of sub-folders and of `folder:PATH?metric=NAME` say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from sslbench.datasets.family import parse_name
from sslbench.metrics import metrics_for
from sslbench.names import unknown

SPLITS = ("train", "val", "test")
OPTIONS = ("metric",)

_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "development", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout"), "test"),
}
# `Training_Set`, `test-images`, `val2017`.
_TAIL = re.compile(r"(\d+|set|split|data|dataset|images?|imgs?|pictures|photos|samples|folder|dir)$")
_WORD = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+")
# Tools keep thumbnails and metadata in these, in every folder of pictures that they have seen.
_OF_TOOLS = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"})


def is_hidden(name: str) -> bool:
    """Whether a file or folder belongs to a tool and not to the dataset: it starts with a dot, or is known."""
    return name.startswith(".") or name in _OF_TOOLS


@lru_cache(maxsize=4096)
def split_of(name: str) -> str:
    """The split that a folder's name is a spelling of (`Training`, `valid`, `test_images`), or an empty text."""
    word = re.sub(r"[\s_.-]+", "", name).lower()
    while word not in _WORDS:
        shorter = _TAIL.sub("", word)
        if shorter == word:
            return ""
        word = shorter
    return _WORDS[word]


def looks_like_split(name: str) -> str:
    """The split that a part of the name means (`images_train`, `fold3` for `fold`), or an empty text."""
    words = [word.lower() for word in _WORD.findall(name)]
    found = [_WORDS[word] for word in words if word in _WORDS]
    return split_of(name) or next(iter(found), "fold" if "fold" in words else "")


def parse_folder(name: str, places: Iterable[Path] = (Path(),)) -> tuple[str, str]:
    """The path and the metric of `folder:PATH?metric=NAME`, as `parse_name` finds them; without the option it is top1.

    Raises UnknownNameError for a metric that no folder can have, and DataError for one that is given twice.
    """
    path, options = parse_name(name, OPTIONS, places)
    metric = options.get("metric", "top1")
    known = metrics_for(several_labels=False)
    if metric not in known:
        raise unknown("metric of a folder", metric, known, f"It was asked for by {name!r}")
    return path, metric
