"""Tests on clusters and servers of this machine, by several processes: `tox -e engines` runs them, with the extras they want."""

from importlib.util import find_spec

# Elsewhere they are not collected, rather than skipped one by one.
collect_ignore_glob = [] if all(map(find_spec, ("ray", "submitit", "moto", "s3fs"))) else ["test_*.py"]
