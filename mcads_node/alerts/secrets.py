"""Secrets lie in files of their own, read when they are needed: a new one needs no restart."""

from __future__ import annotations

from pathlib import Path

from mcads_node.errors import TransientError


def secret_in(path: Path) -> str:
    """Give the first line of a file.

    Raises
    ------
    TransientError
        It cannot be read, is empty, or holds what cannot be sent.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise TransientError(f"{path} cannot be read: {reason}") from error
    if not lines or not lines[0].strip():
        raise TransientError(f"{path}: expected a secret in its first line")
    secret = lines[0].strip()
    if not (secret.isascii() and secret.isprintable()):
        # typically a dash or a quotation mark that a word processor had put in its place
        raise TransientError(f"{path}: expected a secret of printable ASCII characters in its first line")
    return secret
