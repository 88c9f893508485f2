"""Fetch one large file over HTTP: resumed where it broke, whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import requests

from mcads_node.errors import PeerUnreachable, PermanentError, StorageFull, TransientError

#: called with the bytes there are so far, and the bytes there will be (None where the server does not say)
Progress = Callable[[int, int | None], None]

#: a transfer that breaks is taken up again this often without a single new byte in between
_ATTEMPTS = 4
#: seconds to connect, and between two reads
_TIMEOUT = (10.0, 60.0)
#: what of a block arrived before a transfer breaks is lost, so blocks are small
_BLOCK = 1 << 16
#: more than any model of the node; a server that sends without end must not fill the disk
_LIMIT = 2 << 30


class _Broken(TransientError):
    """The transfer ended early; what came is kept."""


def download(url: str, target: Path, progress: Progress | None = None, pause: float = 1.0) -> None:
    """Fetch `url` into `target`.

    The bytes gather in ``<target>.part``, which outlives a failure and is resumed by the next call, with the
    server's ETag beside it so that two versions of a file are never joined (RFC 9110,
    sections 13.1.5 and 14).

    Parameters
    ----------
    url
        Where the file is.
    target
        Where it shall be; replaced if it exists. Its folder exists.
    progress
        Called after every block.
    pause
        Seconds to wait before the first repetition; doubled for each further one.

    Raises
    ------
    PeerUnreachable
        The server cannot be reached, or the transfer kept breaking: trying again later resumes it.
    PermanentError
        The server does not have the file, or it is larger than any model.
    StorageFull
        The disk is full.
    """
    part = target.with_name(target.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part, progress or _silent)
            break
        except (_Broken, requests.RequestException) as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= _ATTEMPTS:
                raise PeerUnreachable(
                    f"{url}: the transfer broke at {_size(part)} bytes and could not be taken up again "
                    f"({_reason(error)}); run the command again to resume it"
                ) from error
            time.sleep(pause * 2 ** (failures - 1))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(f"{part}: the disk is full; free some space and run it again") from error
            raise PermanentError(f"{part}: cannot be written: {error.strerror}") from error
    part.replace(target)
    _tag_file(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path, progress: Progress) -> None:
    """Make one request, for what is missing; return when the file is whole."""
    have = _size(part)
    # identity: the length announced is then the length of the file
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag := _read_tag(part):
            headers["If-Range"] = tag
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416:
            if have and _complete_length(response) == have:
                return
            part.unlink(missing_ok=True)
            raise _Broken("the server does not have the bytes after those already here; starting over")
        _check_status(url, response)
        start, total = _extent(response, have)
        if start == 0:
            _remember_tag(part, response)
        _append(response, part, start, total, progress)


def _check_status(url: str, response: requests.Response) -> None:
    if response.status_code in (200, 206):
        return
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise _Broken(f"HTTP status {response.status_code}")
    raise PermanentError(f"{url}: expected the file, the server answered HTTP status {response.status_code}")


def _extent(response: requests.Response, have: int) -> tuple[int, int | None]:
    """Where the body belongs in the file, and how long the file is."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match and int(match[1]) == have:
            return have, None if match[2] == "*" else int(match[2])
        raise _Broken("the server answered with another range than the one asked for")
    length = response.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _append(
    response: requests.Response, part: Path, start: int, total: int | None, progress: Progress
) -> None:
    done = start
    with part.open("r+b" if part.exists() else "w+b") as stream:
        stream.seek(start)
        stream.truncate()
        progress(done, total)
        for block in response.iter_content(_BLOCK):
            stream.write(block)
            done += len(block)
            if done > _LIMIT:
                raise PermanentError(f"{response.url}: larger than {_LIMIT} bytes; this is not a model")
            progress(done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if total is not None and done != total:
        if done > total:
            part.unlink()
        raise _Broken(f"expected {total} bytes, got {done}")


def _complete_length(response: requests.Response) -> int | None:
    match = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _read_tag(part: Path) -> str:
    file = _tag_file(part)
    return file.read_text(encoding="latin-1") if file.exists() else ""


def _remember_tag(part: Path, response: requests.Response) -> None:
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):  # a weak tag does not promise equal bytes
        _tag_file(part).write_text(tag, encoding="latin-1")
    else:
        _tag_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _Broken) else type(error).__name__


def _silent(_done: int, _total: int | None) -> None:
    pass
