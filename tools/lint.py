"""Style, types and the import rule, all of them even when one fails."""

import subprocess
import sys

COMMANDS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports", "--no-cache"),
)

if __name__ == "__main__":
    sys.exit(max(subprocess.run(command).returncode for command in COMMANDS))
