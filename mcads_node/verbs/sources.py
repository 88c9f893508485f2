"""Whether studies could be fetched from the archives that are configured: a part of the verb ``check``."""

from __future__ import annotations

from collections.abc import Iterator

from mcads_node.config import NodeConfig, SourceSection
from mcads_node.errors import NodeError
from mcads_node.instance import Requestor
from mcads_node.pull.scu import asking
from mcads_node.receive.admission import Rejection
from mcads_node.service.pulling import address_of, source_of
from mcads_node.service.receiver import admission_of
from mcads_node.tls import Tls
from mcads_node.verbs.check_result import CheckResult


def check_sources(config: NodeConfig, tls: Tls | None) -> Iterator[CheckResult]:
    """Ask each archive whether it takes our questions, and look whether it may send here."""
    for name, section in config.sources.items():
        what = f"source {name}"
        if section.tls and tls is None:
            yield CheckResult(name=what, ok=False, text="not asked: it takes TLS, of which files are wrong")
            continue
        source = source_of(config, name, tls)
        try:
            with asking(source):
                yield CheckResult(name=what, ok=True, text=f"{source.address} takes questions (C-FIND)")
        except NodeError as error:
            yield CheckResult(name=what, ok=False, text=str(error))
        if section.method == "move":
            yield from _may_send(what, config, section)


def _may_send(what: str, config: NodeConfig, section: SourceSection) -> Iterator[CheckResult]:
    """Whether the archive would be let in when it sends what it is asked for (C-MOVE)."""
    requestor = Requestor(
        ae_title=section.ae_title, address=address_of(section.host), called_ae_title=config.node.ae_title
    )
    rejection: Rejection | None = admission_of(config).decide(requestor, [], False)
    if rejection is not None:
        text = f"requestors do not let it send here, as C-MOVE has it do: {rejection.reason}"
        yield CheckResult(name=what, ok=False, text=text)
