"""``node.tls``: the node's own certificate, and whose certificates it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from mcads_node.config.vocabulary import Section

#: key of the context of validation: whether the document has ``node.tls``
NODE_HAS_TLS = "node_has_tls"


def _absolute(value: Path) -> Path:
    # a service has no folder of its own that a relative one could be looked for in
    if not value.is_absolute():
        raise ValueError(f"expected an absolute path, such as /etc/mcads-node/tls/node.crt; found '{value}'")
    return value


_File = Annotated[Path, AfterValidator(_absolute)]


class TlsSection(Section):
    """Files of PEM; with this section the node's port speaks TLS and nothing else."""

    certificate: _File
    key: _File
    ca: _File
    require_client_certificate: bool = True


def validation_context(plain: Any) -> Mapping[str, bool]:
    """Say what destinations have to know of the rest of the document."""
    node = plain.get("node") if isinstance(plain, dict) else None
    return {NODE_HAS_TLS: isinstance(node, dict) and node.get("tls") is not None}
