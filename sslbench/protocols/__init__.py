"""Protocols: how a backbone's features are adapted and scored.

A module of this package that does not start with an underscore and declares a `SPEC` is one; it needs no entry anywhere else.
None of them imports torch before it runs.
"""

from __future__ import annotations

from sslbench.protocols.registry import (
    ProtocolSpec,
    list_protocols,
    measures_transfer,
    protocol_spec,
    register_package,
    register_protocol,
)

__all__ = [
    "ProtocolSpec",
    "list_protocols",
    "measures_transfer",
    "protocol_spec",
    "register_package",
    "register_protocol",
]

register_package(__name__, __path__)
