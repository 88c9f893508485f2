"""What a configuration stands for: its model, its destinations, its worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from mcads_node.association import Timeouts
from mcads_node.calibration import Calibration, read_calibration
from mcads_node.config import Configuration, NodeConfig, Rule, TlsPeerSection, load_configuration
from mcads_node.deliver.send import Caller, DestinationAddress
from mcads_node.disk import DiskGuard
from mcads_node.errors import ModelUnusable
from mcads_node.model_store.manifest import Manifest
from mcads_node.model_store.store import ModelStore
from mcads_node.shipped import shipped_folder
from mcads_node.state import weights_dir
from mcads_node.tls import PeerTls, Tls, TlsFiles


def load(config: Path) -> Configuration:
    """Read the configuration against the models that are installed.

    Raises
    ------
    ConfigError
        With every problem of ``node.yaml`` and ``routes.yaml``.
    """
    return load_configuration(config, labels_of())


def labels_of() -> dict[str, tuple[str, ...]]:
    """Give the labels of each classifier that is installed, by its name."""
    store = ModelStore(models_dir=shipped_folder("models"), weights_dir=Path())
    manifests = map(store.describe, store.list())
    return {each.name: each.labels for each in manifests if isinstance(each, Manifest)}


def models_of(node: NodeConfig, rules: Iterable[Rule]) -> tuple[str, ...]:
    """Name every model that reads: the node's own first, then those of rules."""
    named = (rule.analyse.model for rule in rules if rule.analyse is not None)
    return tuple(dict.fromkeys([node.analysis.model, *(name for name in named if name)]))


def model_store(node: NodeConfig) -> ModelStore:
    """Open the store of models that a node of this configuration uses."""
    folder = weights_dir(node.node.data_dir)
    return ModelStore(models_dir=shipped_folder("models"), weights_dir=folder)


def check_models(node: NodeConfig, rules: Iterable[Rule]) -> dict[str, str]:
    """Make sure of every model that is used, as `check_model` does; give their digests by name.

    Raises
    ------
    ModelUnusable
        Also where a calibration is of no model that reads, or a rule asks for one that is not there.
    ConfigError
        As `calibrations_of`.
    """
    rules = tuple(rules)
    names = (*models_of(node, rules), *companions_of(node))
    digests = {name: check_model(node, name) for name in names}
    faults = calibration_faults(node, rules)
    if faults:
        raise ModelUnusable("; ".join(faults))
    return digests


def companions_of(node: NodeConfig) -> tuple[str, ...]:
    """Name the models that accompany those that read: for anatomy, and for a check of the input."""
    reconstruction = node.analysis.reconstruction
    named = (node.analysis.anatomy, None if reconstruction is None else reconstruction.model)
    return tuple(name for name in named if name is not None)


def check_model(node: NodeConfig, name: str) -> str:
    """Make sure that a model may serve, and its weights are the pinned ones; give their digest.

    Raises
    ------
    ModelUnusable
        With what to do; also where a calibration is for another version of the model.
    ConfigError
        A calibration's file cannot be used.
    """
    with contextlib.suppress(OSError):
        # before weights are written to a folder in it, which would be made for all to read; who locks it
        # tells of what is wrong with it
        node.node.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = model_store(node)
    _check_kind(node, store, name)
    store.require_allowed(name, allow_demonstration=node.analysis.allow_demonstration_models)
    digest = store.verify(name)
    for file, calibration in calibrations_of(node).items():
        of_this = calibration.model.name == name
        refusal = calibration.refusal(store.manifest(name), digest) if of_this else ""
        if refusal:
            raise ModelUnusable(f"{file}: {refusal}")
    return digest


def _check_kind(node: NodeConfig, store: ModelStore, name: str) -> None:
    """Make sure that a model can do what it is named for; raises ModelUnusable."""
    if name == node.analysis.anatomy:
        store.segmentation(name)
    elif node.analysis.reconstruction and name == node.analysis.reconstruction.model:
        store.autoencoder(name)
    else:
        store.manifest(name)


def calibrations_of(node: NodeConfig) -> dict[Path, Calibration]:
    """Read the sites' calibrations, by their files.

    Raises
    ------
    ConfigError
        One cannot be read, or was changed after it was made.
    """
    return {file: read_calibration(file) for file in node.analysis.calibration}


def calibration_faults(node: NodeConfig, rules: Iterable[Rule]) -> list[str]:
    """Say which calibrations nothing reads by, which are there twice, and which a rule asks for in vain.

    Raises
    ------
    ConfigError
        As `calibrations_of`.
    """
    rules = tuple(rules)
    names, faults = models_of(node, rules), []
    there: dict[tuple[str, str], Path] = {}
    for file, each in calibrations_of(node).items():
        key = (each.model.name, each.site)
        if each.model.name not in names:
            faults.append(f"{file}: it is for model {each.model.name}; those that read: {', '.join(names)}")
        if key in there:
            faults.append(f"{file}: {there[key]} is for model {each.model.name} at {each.site} too")
        there.setdefault(key, file)
    for rule in rules:
        analyse = rule.analyse
        if analyse is None or analyse.calibration is None:
            continue
        model = analyse.model or node.analysis.model
        if (model, analyse.calibration) not in there:
            sites = ", ".join(site for name, site in there if name == model) or "none"
            faults.append(
                f"rule {rule.name!r}: analysis.calibration has none of model {model} for site "
                f"{analyse.calibration!r} (there is: {sites})"
            )
    return faults


def tls_of(config: NodeConfig) -> Tls | None:
    """Read the node's certificate and CAs; None where it speaks plain TCP.

    Raises
    ------
    ConfigError
        With all that is wrong with the files.
    """
    section = config.node.tls
    if section is None:
        return None
    return Tls(
        TlsFiles(
            certificate=section.certificate,
            key=section.key,
            ca=section.ca,
            require_client_certificate=section.require_client_certificate,
        )
    )


def destination_address(destination: TlsPeerSection, tls: Tls | None) -> DestinationAddress:
    """Give the network's view of a configured peer; `tls` is what `tls_of` gave."""
    peer = None
    if destination.tls:
        if tls is None:
            raise ValueError("a destination with tls takes a node with tls; the configuration is not checked")
        peer = PeerTls(tls=tls, verify_host=destination.verify_host, name=destination.certificate_name)
    return DestinationAddress(
        ae_title=destination.ae_title, host=destination.host, port=destination.port, tls=peer
    )


def timeouts_of(config: NodeConfig) -> Timeouts:
    """Say how long peers are waited for."""
    network = config.network
    return Timeouts(
        connect=network.connect_seconds,
        acse=network.acse_seconds,
        dimse=network.dimse_seconds,
        network=network.idle_seconds,
    )


def caller_of(config: NodeConfig) -> Caller:
    """Say who the node is to the peers that it calls."""
    return Caller(
        ae_title=config.node.ae_title, timeouts=timeouts_of(config), max_pdu=config.network.max_pdu_bytes
    )


def disk_guard_of(config: NodeConfig) -> DiskGuard:
    """Watch the disk of the data folder, which must exist."""
    disk = config.disk
    return DiskGuard(config.node.data_dir, disk.alert_below_mib << 20, disk.refuse_below_mib << 20)
