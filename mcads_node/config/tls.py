"""``node.tls``: the node's own certificate, and whose certificates it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcads_node.config.vocabulary import AbsoluteFile, Section

#: key of the context of validation: whether the document has ``node.tls``
NODE_HAS_TLS = "node_has_tls"


class TlsSection(Section):
    """Files of PEM; with this section the node's port speaks TLS and nothing else."""

    certificate: AbsoluteFile
    key: AbsoluteFile
    ca: AbsoluteFile
    require_client_certificate: bool = True


def validation_context(plain: Any) -> Mapping[str, bool]:
    """Say what destinations have to know of the rest of the document."""
    node = plain.get("node") if isinstance(plain, dict) else None
    return {NODE_HAS_TLS: isinstance(node, dict) and node.get("tls") is not None}
