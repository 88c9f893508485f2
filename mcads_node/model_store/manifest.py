"""What a model's folder says of it: ``models/<name>/manifest.yaml``."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mcads_node.errors import ConfigError, Problem
from mcads_node.yamlfile import read_document

#: names of models: they become folder names, so nothing that could leave the folder
NAME_PATTERN = r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$"
NAME_LENGTH = 64

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Download(_Part):
    """Weights that ``models fetch`` downloads as a pickle and converts."""

    kind: Literal["download"]
    #: what torchxrayvision calls them: of a classifier, in ``torchxrayvision.models.model_urls``
    torchxrayvision: str
    #: https; http only on this machine, or where a digest is pinned
    url: str
    #: SHA-256 of the downloaded file, null where it is not known
    digest: Sha256 | None = None


class Shipped(_Part):
    """Weights that lie beside the manifest: nothing is fetched, and their digest is pinned."""

    kind: Literal["shipped"]


class Output(_Part):
    """One output of the network, in the network's order."""

    #: empty where the network has an output that means nothing
    label: str
    #: sigmoid output that becomes the score 0.5; null where the output is not to be used
    operating_point: Annotated[float, Field(gt=0, lt=1)] | None
    #: score at or above which the finding is present, unless a route says otherwise
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


class Input(_Part):
    """What the network wants to see: one channel, a square."""

    #: side in pixels
    size: Annotated[int, Field(ge=32, le=4096)]
    #: values of the darkest and the brightest possible pixel
    low: float
    high: float


class Weights(_Part):
    """What is known of the weights file."""

    #: SHA-256 of ``weights.safetensors``; null: recorded at the first fetch, and verified from then on
    digest: Sha256 | None


class ModelManifest(_Part):
    """All that the node knows of a model of any kind besides its weights."""

    #: equal to the folder's name
    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
    #: what the model is for; each kind has a class of its own
    kind: str
    #: raised with every change of this file that changes results
    version: Annotated[int, Field(ge=1)]
    #: one of `mcads_node.architectures`
    architecture: str
    source: Annotated[Download | Shipped, Field(discriminator="kind")]
    weights: Weights
    input: Input
    #: what every object made with it must say; empty for a model that may serve
    caution: str = ""
    #: true: serves only where the configuration allows demonstration models
    demonstration: bool
    #: of the weights
    licence: Annotated[str, Field(min_length=1)]
    intended_use: Annotated[str, Field(min_length=1)]
    citation: str = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.demonstration and not self.caution:
            raise ValueError("a demonstration model needs a caution, such as NOT FOR CLINICAL USE")
        if not self.input.low < self.input.high:
            raise ValueError(f"input: expected low < high, found {self.input.low} and {self.input.high}")
        if isinstance(self.source, Download):
            self._check_url(self.source)
        elif self.weights.digest is None:
            raise ValueError("weights.digest: expected the SHA-256 of what is shipped, found null")
        return self

    def _check_url(self, source: Download) -> None:
        parts = urlsplit(source.url)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        pinned = source.digest is not None or self.weights.digest is not None
        if parts.scheme == "https" or (parts.scheme == "http" and (local or pinned)):
            return
        raise ValueError(
            f"source.url: expected https (http only where a digest is pinned), found {source.url!r}"
        )

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """What the model tells of an image, in the network's order."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of the network's outputs, of each pixel where it has some for each."""


class Manifest(ModelManifest):
    """Of a classifier: a score for each label."""

    kind: Literal["classifier"] = "classifier"
    architecture: Literal["densenet121", "efficientnet-lite0", "resnet50"]
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=1000)]

    @field_validator("outputs")
    @classmethod
    def _labels_are_unique(cls, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        named = [output.label for output in outputs if output.label]
        twice = sorted({label for label in named if named.count(label) > 1})
        if twice:
            raise ValueError(f"expected each label once; {', '.join(twice)} is there more than once")
        if any(not output.label and output.operating_point is not None for output in outputs):
            raise ValueError("an output without a label must have the operating point null")
        if not any(output.operating_point is not None for output in outputs):
            raise ValueError("expected at least one output with an operating point")
        return outputs

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are reported, in the network's order."""
        return tuple(output.label for output in self.outputs if output.operating_point is not None)

    @property
    def width(self) -> int:
        """Number of the network's outputs, used or not."""
        return len(self.outputs)

    @property
    def operating_points(self) -> tuple[float, ...]:
        """One per output of the network, NaN where the output is not to be used."""
        points = (output.operating_point for output in self.outputs)
        return tuple(math.nan if point is None else point for point in points)

    @property
    def thresholds(self) -> dict[str, float]:
        """Default threshold of each reported label."""
        return {o.label: o.threshold for o in self.outputs if o.operating_point is not None}

    def threshold_faults(self, thresholds: Mapping[str, float]) -> dict[str, str]:
        """Say what is wrong with thresholds a route sets: label → complaint; empty where all is well."""
        faults = {}
        for label, value in thresholds.items():
            if label not in self.labels:
                faults[label] = f"model {self.name} has no such label; it has {', '.join(self.labels)}"
            elif not 0.0 <= value <= 1.0:
                faults[label] = f"expected a threshold in 0…1, found {value}"
        return faults


class SegmentationManifest(ModelManifest):
    """Of a segmentation model: for each structure the pixels that belong to it."""

    kind: Literal["segmentation"]
    architecture: Literal["pspnet"]
    #: in the network's order; names of `mcads_node.structure`
    structures: Annotated[tuple[str, ...], Field(min_length=1, max_length=255)]
    #: sigmoid output from which on a pixel belongs to a structure
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @field_validator("structures")
    @classmethod
    def _structures_are_unique(cls, structures: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in structures if structures.count(name) > 1})
        if twice:
            raise ValueError(f"expected each structure once; {', '.join(twice)} is there more than once")
        return structures

    @property
    def labels(self) -> tuple[str, ...]:
        """The structures."""
        return self.structures

    @property
    def width(self) -> int:
        """Number of structures."""
        return len(self.structures)


class AutoencoderManifest(ModelManifest):
    """Of an autoencoder: the image anew, as far as it is like those that the model knows."""

    kind: Literal["autoencoder"]
    architecture: Literal["resnet-ae101"]

    @property
    def labels(self) -> tuple[str, ...]:
        """None: it says nothing of an image but how well it could be made anew."""
        return ()

    @property
    def width(self) -> int:
        """One channel."""
        return 1


#: by what a manifest says it is; one that says nothing is a classifier's
KINDS: Final[Mapping[str, type[ModelManifest]]] = MappingProxyType(
    {"classifier": Manifest, "segmentation": SegmentationManifest, "autoencoder": AutoencoderManifest}
)


def read_manifest(path: Path) -> ModelManifest:
    """Read the manifest at `path` as what it says it is; raises ConfigError with every problem found."""
    document = read_document(path)
    kind = document.plain.get("kind", "classifier") if isinstance(document.plain, dict) else "classifier"
    if not isinstance(kind, str) or kind not in KINDS:
        message = f"expected one of {', '.join(KINDS)}; found {kind!r}"
        raise ConfigError(
            [Problem(file=str(path), line=document.lines.get(("kind",)), key="kind", message=message)]
        )
    return document.fit(KINDS[kind])
