"""Decoding text by Specific Character Set (0008,0005), also where it is absent, unknown or not kept to.

pydicom decodes by what is declared. Three things it does not know: an escape sequence of a set that was not
declared names its set all the same; Python's decoder of ISO 2022 IR 58 leaves the escape sequences;
bytes that nothing explains are more often UTF-8 than anything else.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydicom.charset import (
    CODES_TO_ENCODINGS,
    STAND_ALONE_ENCODINGS,
    convert_encodings,
    decode_bytes,
    default_encoding,
    python_encoding,
)
from pydicom.valuerep import TEXT_VR_DELIMS

_ESCAPE: Final = b"\x1b"
#: ISO/IEC 2022: escape, intermediate bytes, final byte
_DESIGNATOR: Final = re.compile(r"\x1b[ -/]+[0-~]")
#: Python's names of the sets that a header may only declare alone
_ALONE: Final = frozenset(python_encoding[term] for term in STAND_ALONE_ENCODINGS)
#: where the first set is in force again (PS3.5 6.1.2.5.3)
_DELIMITERS: Final = frozenset({*TEXT_VR_DELIMS, ord("\\")})
_NAME_DELIMITERS: Final = _DELIMITERS | {ord("^"), ord("=")}


@dataclass(frozen=True, kw_only=True)
class Characters:
    """How the text of one data set is encoded."""

    #: Python's name of the set in force at the start of a value; pydicom's default where none is declared
    first: str = default_encoding

    def decode(self, value: bytes, *, is_name: bool = False) -> str:
        """Decode a value, which may hold several with backslashes between.

        Parameters
        ----------
        value: bytes
            As it was received.
        is_name: bool
            Whether it is of VR PN, in which a caret ends an escape sequence's reach.
        """
        if self.first in _ALONE or _ESCAPE not in value:
            try:
                return _DESIGNATOR.sub("", self._strictly(value))
            except (UnicodeError, LookupError):
                pass
        if _ESCAPE in value:
            first = default_encoding if self.first in _ALONE else self.first
            delimiters = set(_NAME_DELIMITERS if is_name else _DELIMITERS)
            text = decode_bytes(value, [first, *CODES_TO_ENCODINGS.values()], delimiters)
            return _DESIGNATOR.sub("", text)
        # declared as UTF-8 and not so, it may be anything; another set with a few bad bytes is still that set
        unexplained = self.first in (default_encoding, python_encoding["ISO_IR 192"])
        return _unexplained(value) if unexplained else decode_bytes(value, [self.first], set())

    def restore(self, text: str, *, is_name: bool = False) -> str:
        """Decode again what pydicom decoded by the first set for want of a declared one that it knows."""
        if self.first == default_encoding or "\x1b" in text:
            try:
                return self.decode(text.encode(self.first), is_name=is_name)
            except (UnicodeError, LookupError):
                pass
        return _DESIGNATOR.sub("", text)

    def _strictly(self, value: bytes) -> str:
        if self.first == default_encoding:
            return value.decode("ascii")
        return value.decode(self.first)


def characters(declared: Iterable[object]) -> Characters:
    """Tell how text is encoded from the values of Specific Character Set; terms that are unknown are none."""
    terms = [str(term).strip(" \0") for term in declared]
    try:
        return Characters(first=convert_encodings(terms[:1])[0])
    except LookupError:
        return Characters()


def _unexplained(value: bytes) -> str:
    """Read bytes beyond ASCII that no character set explains: UTF-8 if they are that, else ISO 8859-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        # cut to a number of bytes by its writer, UTF-8 may end within a letter
        whole = _up_to_a_cut_letter(value)
    return value.decode("latin-1") if whole is None or whole.isascii() else whole


def _up_to_a_cut_letter(value: bytes) -> str | None:
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(value, final=False)
    except UnicodeDecodeError:
        return None
