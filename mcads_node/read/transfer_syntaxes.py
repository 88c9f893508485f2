"""Transfer syntaxes that can be read; a module of its own, so that the receiver need not load the codecs."""

from __future__ import annotations

NATIVE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
RLE = "1.2.840.10008.1.2.5"
JPEG = tuple(f"1.2.840.10008.1.2.4.{process}" for process in (70, 57, 51, 50))
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{part}" for part in (90, 91, 201, 202, 203))
#: decoded values may overshoot the stored range where the encoder was lossy
LOSSY = frozenset(f"1.2.840.10008.1.2.4.{part}" for part in (50, 51, 81, 91, 203))

#: everything that can be decoded here, so everything a receiver may accept; native and lossless first
TRANSFER_SYNTAXES: tuple[str, ...] = (*NATIVE, RLE, *JPEG[:2], JPEG_LS[0], *JPEG_2000, *JPEG[2:], JPEG_LS[1])
