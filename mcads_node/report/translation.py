"""Languages of what the node writes: gettext catalogues in ``locale/``, read with the standard library.

A language is a folder ``locale/<language>/LC_MESSAGES`` with ``mcads.po``, which people edit, and
``mcads.mo``, which ``scripts/translations compile`` makes of it. English needs neither: the texts in the code
are English.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final

from mcads_node.errors import ReportImpossible

LOCALE: Final = Path(__file__).with_name("locale")
DOMAIN: Final = "mcads"


def N_(text: str) -> str:  # noqa: N802 - gettext's name for it, which every tool knows
    """Mark a text for translation that is translated where it is used."""
    return text


@dataclass(frozen=True, kw_only=True, eq=False)
class Translator:
    """Texts in one language."""

    #: RFC 5646, such as ``en`` or ``lt``
    language: str
    catalogue: NullTranslations

    def __call__(self, text: str, **fields: object) -> str:
        """Translate a text, and fill in its ``{fields}``; what the catalogue does not have stays as it is."""
        said = self.catalogue.gettext(text) if text else ""
        return said.format(**fields) if fields else said

    def plural(self, one: str, many: str, count: int) -> str:
        """Translate a text about `count` things, with ``{count}`` in it."""
        return self.catalogue.ngettext(one, many, count).format(count=count)

    def number(self, value: float, digits: int = 2) -> str:
        """Write a number from 0 to 1 with so many digits after the language's decimal mark."""
        return f"{value:.{digits}f}".replace(".", self.catalogue.pgettext("decimal mark", "."))


ENGLISH: Final = Translator(language="en", catalogue=NullTranslations())


def languages() -> tuple[str, ...]:
    """Languages that there is a catalogue of, and English."""
    found = (path.parts[-3] for path in LOCALE.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))
    return tuple(sorted({"en", *found}))


@cache
def translator(language: str) -> Translator:
    """Give the texts of a language.

    Raises
    ------
    ReportImpossible
        There is no catalogue of the language.
    """
    if language == ENGLISH.language:
        return ENGLISH
    if language not in languages():
        # the value comes from a configuration: shown in the error, but not whatever it may be
        shown = language if re.fullmatch(r"[\w-]{1,20}", language) else "no language"
        raise ReportImpossible(f"report.language: expected one of {', '.join(languages())}, found {shown}")
    with (LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.mo").open("rb") as file:
        return Translator(language=language, catalogue=GNUTranslations(file))
