"""`sslbench claims`: what a run says of the studies' findings."""

from __future__ import annotations

import argparse

from sslbench.cli.command import Commands, results_option


def add(commands: Commands) -> None:
    """Declare the command."""
    claims = commands.add_parser("claims", help="put the studies' claims to a run, a baseline or a study's own tables")
    claims.add_argument(
        "run",
        nargs="?",
        help="run directory, URL or name, record or baseline file, or a study for its published tables; default: the latest run",
    )
    claims.add_argument("--markdown", action="store_true", help="as a Markdown table")
    results_option(claims)
    claims.set_defaults(command=_claims)


def _claims(arguments: argparse.Namespace) -> int:
    from sslbench.analyses.claim_tables import claims_lines, claims_markdown
    from sslbench.analyses.evidence import judge, sheet_of
    from sslbench.results.runs import latest_run

    name = arguments.run or str(latest_run(arguments.results).directory)
    judgements = judge(sheet_of(name, arguments.results))
    print(claims_markdown({"verdict": judgements}) if arguments.markdown else "\n".join(claims_lines(judgements)))
    return 0
