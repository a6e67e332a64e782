"""Keep what the scores of the embedded suite were on another processor than that of its references.

python -m pytest benchmarks --sslbench-results elsewhere
python tools/second_run.py elsewhere/embedded
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sslbench.errors import RecordError
from sslbench.files import write_atomic
from sslbench.results.references import embedded_references
from sslbench.results.runs import open_records
from sslbench.results.second_run import FILE, second_run_of

BASELINES = Path(__file__).parents[1] / "results" / "baselines"


def main() -> int:
    """Write the file; `tools/doc_tables.py` then writes its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="directory of the run")
    given = parser.parse_args()
    try:
        found = second_run_of(open_records(given.run, Path("results")), embedded_references())
    except RecordError as error:
        print(f"second_run: {error}", file=sys.stderr)
        return 2
    write_atomic(BASELINES / FILE, f"{json.dumps(found, indent=1)}\n".encode())
    print(f"{len(found['cases'])} of {len(embedded_references())} cases, on {found['cpu']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
