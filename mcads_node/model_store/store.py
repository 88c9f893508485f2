"""The models' folders: what models there are, and their weights, verified.

A model is ``models_dir/<name>/manifest.yaml``, shipped and read-only. Its weights are
``weights_dir/<name>/weights.safetensors``, in the node's data, or lie beside the manifest; those of a model
that is shipped with its weights lie there and nowhere else. Their SHA-256 is pinned by the manifest, or
recorded in ``weights.lock`` at the first fetch, and compared on every load.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from mcads_node.errors import ModelUnusable, TransientError
from mcads_node.model_store.download import Progress, download
from mcads_node.model_store.manifest import (
    KINDS,
    NAME_LENGTH,
    NAME_PATTERN,
    AutoencoderManifest,
    Download,
    Manifest,
    ModelManifest,
    SegmentationManifest,
    Shipped,
    read_manifest,
)
from mcads_node.model_store.weights_files import alone, convert, digest_of, write_durably

_MANIFEST = "manifest.yaml"
_WEIGHTS = "weights.safetensors"
_LOCK = "weights.lock"
_DOWNLOAD = "download.pt"

_Kind = TypeVar("_Kind", bound=ModelManifest)


class ModelStatus(StrEnum):
    """Whether a model's weights are there and the right ones."""

    READY = "ready"
    ABSENT = "weights absent"
    MISMATCH = "digest mismatch"


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifiedWeights:
    """The bytes of a weights file whose digest is the expected one."""

    #: safetensors
    data: bytes
    #: SHA-256 of `data`, hex
    digest: str


class ModelStore:
    """The models of one node.

    Parameters
    ----------
    models_dir
        Folder with one folder per model; only read.
    weights_dir
        Folder the weights are fetched into; made when needed.
    """

    def __init__(self, models_dir: Path, weights_dir: Path) -> None:
        self._models_dir = models_dir
        self._weights_dir = weights_dir

    @property
    def folders(self) -> tuple[Path, Path]:
        """Folder of the models, and of their weights: what another process opens the same store with."""
        return self._models_dir.absolute(), self._weights_dir.absolute()

    def made_of_weights(self, name: str) -> Path:
        """Folder for what is made of the weights of model `name`, and can be made again."""
        return self._weights_dir / name

    def list(self) -> tuple[str, ...]:
        """Names of all models, sorted."""
        folders = (file.parent.name for file in self._models_dir.glob(f"*/{_MANIFEST}"))
        return tuple(sorted(name for name in folders if _is_name(name)))

    def describe(self, name: str) -> ModelManifest:
        """Read the manifest of model `name`, whatever its kind.

        Raises
        ------
        ModelUnusable
            There is no such model, or its manifest is another model's.
        ConfigError
            The manifest is not as it should be.
        """
        path = self._models_dir / name / _MANIFEST
        if not _is_name(name) or not path.is_file():
            raise ModelUnusable(f"there is no model {name!r}; the models are: {', '.join(self.list())}")
        manifest = read_manifest(path)
        if manifest.name != name:
            raise ModelUnusable(f"{path}: expected name: {name}, as the folder's; found {manifest.name}")
        return manifest

    def manifest(self, name: str) -> Manifest:
        """Read the manifest of a classifier; raises as `describe`, and ModelUnusable where it is none."""
        return self._of_kind(name, Manifest)

    def segmentation(self, name: str) -> SegmentationManifest:
        """Read the manifest of a segmentation model; raises as `describe`, and where it is none."""
        return self._of_kind(name, SegmentationManifest)

    def autoencoder(self, name: str) -> AutoencoderManifest:
        """Read the manifest of an autoencoder; raises as `describe`, and where it is none."""
        return self._of_kind(name, AutoencoderManifest)

    def _of_kind(self, name: str, kind: type[_Kind]) -> _Kind:
        manifest = self.describe(name)
        if not isinstance(manifest, kind):
            expected = next(word for word, each in KINDS.items() if each is kind)
            raise ModelUnusable(f"model {name}: expected kind: {expected}, found {manifest.kind}")
        return manifest

    def status(self, name: str) -> ModelStatus:
        """Whether the weights of model `name` are there and the right ones; changes nothing."""
        manifest = self.describe(name)
        found = self._find(manifest)
        if found is None:
            return ModelStatus.ABSENT
        return ModelStatus.READY if digest_of(found) == _pinned(manifest, found) else ModelStatus.MISMATCH

    def verify(self, name: str) -> str:
        """Compare the weights with their digest.

        Returns
        -------
        str
            The digest, SHA-256, hex.

        Raises
        ------
        ModelUnusable
            The weights are absent, or are not the pinned ones; the text says what to do.
        """
        return self.read(name).digest

    def read(self, name: str) -> VerifiedWeights:
        """Read the weights once, and verify just the bytes that were read.

        Raises
        ------
        ModelUnusable
            The weights are absent, or are not the pinned ones; the text says what to do.
        """
        manifest = self.describe(name)
        path = self._find(manifest)
        if path is None:
            raise ModelUnusable(f"model {name}: its weights are absent; {_remedy(manifest)}")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelUnusable(f"model {name}: {path} cannot be read: {error.strerror}") from error
        found, expected = hashlib.sha256(data).hexdigest(), _pinned(manifest, path)
        if found != expected:
            raise ModelUnusable(_mismatch(path, found, expected, manifest))
        return VerifiedWeights(data=data, digest=found)

    def weights_path(self, name: str) -> Path:
        """Path of the weights of model `name`, verified.

        Raises
        ------
        ModelUnusable
            The weights are absent, or are not the pinned ones; the text says what to do.
        """
        self.read(name)
        path = self._find(self.describe(name))
        if path is None:
            raise ModelUnusable(f"model {name}: its weights were removed while they were read")
        return path

    def require_allowed(self, name: str, *, allow_demonstration: bool) -> None:
        """Refuse a demonstration model unless the configuration allows it.

        Raises
        ------
        ModelUnusable
            It is one, and `allow_demonstration` is false.
        """
        manifest = self.describe(name)
        if manifest.demonstration and not allow_demonstration:
            raise ModelUnusable(
                f"model {name} is for demonstration only ({manifest.caution}); to use it all the same, never "
                f"clinically, set analysis.allow_demonstration_models: true"
            )

    def fetch(self, name: str, progress: Progress | None = None, file: Path | None = None) -> Path:
        """Bring the weights of model `name` here; does nothing where they are here and verified.

        Parameters
        ----------
        name
            Name of the model.
        progress
            Called with the bytes downloaded so far, and in all (None where the server does not say).
        file
            The official file, fetched in another way (a node without internet); null: download it.

        Returns
        -------
        pathlib.Path
            The weights, verified.

        Raises
        ------
        ModelUnusable
            The file is refused, or is not the pinned one.
        TransientError
            The server cannot be reached, or the disk is full; trying again resumes.
        PermanentError
            The server does not have the file.
        """
        manifest = self.describe(name)
        # what is shipped cannot be fetched: where it is not right, weights_path says what to do
        if isinstance(manifest.source, Download) and self.status(name) is not ModelStatus.READY:
            self._fetch(manifest, manifest.source, progress, file)
        return self.weights_path(name)

    def _fetch(
        self, manifest: ModelManifest, source: Download, progress: Progress | None, file: Path | None
    ) -> None:
        with alone(self._weights_dir / manifest.name) as folder:
            pickled = folder / _DOWNLOAD if file is None else file
            if file is None and not pickled.exists():
                download(source.url, pickled, progress)
            try:
                self._adopt(manifest, source, pickled, folder)
            except ModelUnusable:
                # a file that was refused is of no use to the next try; one that met a full disk is
                (folder / _DOWNLOAD).unlink(missing_ok=True)
                raise
            (folder / _DOWNLOAD).unlink(missing_ok=True)

    def _adopt(self, manifest: ModelManifest, source: Download, pickled: Path, folder: Path) -> None:
        digest = digest_of(pickled)
        if source.digest not in (None, digest):
            raise ModelUnusable(
                f"model {manifest.name}: the official file is not the pinned one: expected SHA-256 "
                f"{source.digest}, found {digest}"
            )
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            converted = Path(scratch) / _WEIGHTS
            convert(pickled, converted, manifest.architecture, manifest.width)
            self._install(manifest, converted.read_bytes(), source.url, digest)

    def _install(self, manifest: ModelManifest, data: bytes, origin: str, origin_digest: str) -> None:
        """Compare the digest with the pinned one, or record it; then put the weights in their place."""
        folder = self._weights_dir / manifest.name
        path = folder / _WEIGHTS
        digest, expected = hashlib.sha256(data).hexdigest(), _pinned(manifest, path)
        if expected not in (None, digest):
            raise ModelUnusable(
                f"model {manifest.name}: the weights made from {origin} are not the pinned ones: expected "
                f"SHA-256 {expected}, found {digest}; nothing was changed"
            )
        record = {
            "digest": digest,
            "origin": origin,
            "origin_digest": origin_digest,
            "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # the lock first: weights without a record are not trusted, a record without weights does no harm
            if expected is None:
                write_durably(folder / _LOCK, json.dumps(record, indent=2).encode())
            write_durably(path, data)
        except OSError as error:
            raise TransientError(f"{folder}: cannot be written: {error.strerror}") from error

    def _find(self, manifest: ModelManifest) -> Path | None:
        folders = [self._weights_dir / manifest.name, self._models_dir / manifest.name]
        if isinstance(manifest.source, Shipped):
            del folders[0]
        return next((folder / _WEIGHTS for folder in folders if (folder / _WEIGHTS).is_file()), None)


def _is_name(name: str) -> bool:
    return len(name) <= NAME_LENGTH and re.fullmatch(NAME_PATTERN, name) is not None


def _pinned(manifest: ModelManifest, weights: Path) -> str | None:
    """Digest the weights must have: the manifest's, else the one recorded beside them, else None."""
    if manifest.weights.digest is not None:
        return manifest.weights.digest
    lock = weights.with_name(_LOCK)
    try:
        digest = json.loads(lock.read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnusable(
            f"{lock}: cannot be read; it must hold the digest of the weights. Restore it, or remove it and "
            f"run: mcads-node models fetch {manifest.name}"
        ) from error
    return str(digest)


def _remedy(manifest: ModelManifest) -> str:
    if isinstance(manifest.source, Shipped):
        return "they are shipped beside its manifest: install the node again"
    return f"run: mcads-node models fetch {manifest.name}"


def _mismatch(path: Path, found: str, expected: str | None, manifest: ModelManifest) -> str:
    name, remedy = manifest.name, _remedy(manifest)
    if expected is None:
        return (
            f"model {name}: {path} is not known: neither the manifest nor {_LOCK} beside it has its SHA-256 "
            f"({found}); {remedy}"
        )
    return f"model {name}: {path} is not what it was: expected SHA-256 {expected}, found {found}; {remedy}"
