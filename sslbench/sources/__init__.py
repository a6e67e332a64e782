"""Files from elsewhere: where they are, how they are fetched, checked and unpacked."""

from sslbench.sources.source import Source

__all__ = ["Source"]
