"""Regular expressions of administrators: RE2's, which take linear time whatever they are held against.

A pattern for Python's own ``re`` can take years for a value of thirty letters; values come from outside.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

#: longest pattern
LONGEST = 500
#: what a compiled pattern may take; what does not fit is refused when it is compiled
_MEMORY_BYTES = 1 << 20


def check(pattern: str) -> None:
    """Raise `ValueError` where `pattern` is none, or too large."""
    if not pattern or len(pattern) > LONGEST:
        raise ValueError(f"expected a regular expression of 1 to {LONGEST} characters")
    try:
        _compiled(pattern)
    except (re2.error, UnicodeError) as error:
        said = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(
            f"is no regular expression of RE2 (no look-ahead, no back-references): {text}"
        ) from error


def found_in(pattern: str, value: str) -> bool:
    """Whether `pattern` is found anywhere in `value`; upper and lower case are the same."""
    return _compiled(pattern).search(value) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    return re2.compile(pattern, options)
