"""Protocols: how a backbone's features are adapted and scored. The registry imports no numerics."""

from sslbench.protocols.registry import ProtocolSpec, list_protocols, protocol_spec, register_protocol

__all__ = ["ProtocolSpec", "list_protocols", "protocol_spec", "register_protocol"]
