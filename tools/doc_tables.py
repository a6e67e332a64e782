"""Write the tables of README.md and docs/ from the committed baseline, or check that they are those of the baseline.

python -m pytest benchmarks --sslbench-rerun all --sslbench-save-baseline results/baselines/embedded.json
python tools/doc_tables.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from doc_blocks import claims, first_screen, printed, second_run, zoo
from doc_blocks.pages import PageError, by_hand, filled, names

from sslbench.errors import RecordError
from sslbench.files import write_atomic
from sslbench.results.references import read_records

ROOT = Path(__file__).parents[1]
BASELINE = Path("results/baselines/embedded.json")


def pages(root: Path) -> list[Path]:
    """Every page of the documentation, relative to `root`."""
    return sorted(path.relative_to(root) for path in (root / "README.md", *(root / "docs").glob("*.md")))


def made(root: Path) -> dict[str, str]:
    """Every block by name, from the committed baseline. Raises RecordError where this lacks what a block shows."""
    records = read_records(root / BASELINE)
    makers = (first_screen, printed, zoo, claims, second_run)
    return {name: text for maker in makers for name, text in maker.blocks(records).items()}


def rendered(root: Path, blocks: dict[str, str]) -> dict[Path, str]:
    """Every page with its blocks as they should be; PageError where a page's markers are wrong."""
    return {page: filled((root / page).read_text(encoding="utf-8"), blocks, str(page)) for page in pages(root)}


def problems(root: Path) -> list[str]:
    """What `--check` says: pages that differ from the baseline, tables that nobody shows, scores written by hand."""
    blocks = made(root)
    expected = rendered(root, blocks)
    told = []
    for page, text in expected.items():
        if (root / page).read_text(encoding="utf-8") != text:
            told.append(f"{page} differs from {BASELINE}; run `python tools/doc_tables.py`")
    shown = {name for text in expected.values() for name in names(text)}
    told += [f"no page shows the table {name!r}" for name in sorted(blocks.keys() - shown)]
    backbones = {record.backbone["name"] for record in read_records(root / BASELINE)}
    for page, text in expected.items():
        told += [f"{page} has scores that are not made from the baseline: {line}" for line in by_hand(text, backbones)]
    return told


def main() -> int:
    """Write what differs, or tell of it."""
    parser = argparse.ArgumentParser(description="Write the tables of README.md and docs/ from the committed baseline.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page differs")
    options = parser.parse_args()
    try:
        if options.check:
            told = problems(ROOT)
            print("\n".join(told or ["every table is that of the baseline"]))
            return int(bool(told))
        for page, text in rendered(ROOT, made(ROOT)).items():
            if text != (ROOT / page).read_text(encoding="utf-8"):
                write_atomic(ROOT / page, text.encode())
                print(page)
    except (RecordError, PageError) as error:
        print(f"doc_tables: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
