"""Judges that nobody here wrote: dicom3tools, PixelMed, DCMTK. Absent, they skip at home and fail in CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest

#: Debian's libpixelmed-java, and libsaxonhe-java
PIXELMED = Path("/usr/share/java/pixelmed.jar")
SAXON = Path("/usr/share/java/Saxon-HE.jar")

#: what dciodvfy may warn of: our own coding scheme, and an attribute younger than its dictionary
ALLOWED_WARNINGS = (
    re.compile(r"Unrecognized defined term <99MCADS> for value 1 of attribute <Coding Scheme Designator>"),
    re.compile(r"Attribute is not present in standard DICOM IOD - \(0x0018,0x1002\) UI Device UID"),
    # the sum of the line before
    re.compile(
        r"Dicom dataset contains attributes not present in standard DICOM IOD - this is a Standard Extended"
    ),
    # a name without carets is the source's own; a caret added would make it another name than the PACS has
    re.compile(r"PN \[1\] = <[^^]+> - Retired Person Name form"),
    # says what the source does not: a result has no more identity than its source
    re.compile(r"Missing attribute or value that would be needed to build DICOMDIR - (Patient ID|Study \w+)"),
)

# One JVM for all reports: compiling its rules takes it most of the time. By Saxon, for the processor of the
# JDK reads the context groups anew for each code, which takes five times as long for the same verdicts. Saxon
# in its turn keeps what it has read: the second pass asks for what the first found in the report, always by
# one name.
_PIXELMED_BATCH = """
public class Batch {
    public static void main(String[] files) throws Exception {
        var validator = new com.pixelmed.validate.DicomSRValidator();
        var second = validator.getClass().getDeclaredField("transformerPass2");
        second.setAccessible(true);
        var kept = (net.sf.saxon.jaxp.TransformerImpl) second.get(validator);
        for (String file : files) {
            System.out.println("FILE " + file);
            System.out.print(validator.validate(file));
            kept.getUnderlyingController().clearDocumentPool();
        }
    }
}
"""


def _absent(what: str) -> NoReturn:
    message = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def require_program(name: str) -> str:
    """Path of a program; where it is missing, skip the test at home and fail it in CI."""
    return shutil.which(name) or _absent(name)


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What a referee said of one object."""

    errors: tuple[str, ...]
    #: those that are not allowed
    warnings: tuple[str, ...]
    #: those of `ALLOWED_WARNINGS`
    allowed: tuple[str, ...] = ()


def _lines(text: str, prefix: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.lstrip().startswith(prefix))


def _verdicts(text: str) -> Verdicts:
    warnings = _lines(text, "Warning")
    unexpected = [line for line in warnings if not any(rule.search(line) for rule in ALLOWED_WARNINGS)]
    allowed = [line for line in warnings if line not in unexpected]
    return Verdicts(errors=_lines(text, "Error"), warnings=tuple(unexpected), allowed=tuple(allowed))


def _written(folder: str, objects: Sequence[bytes]) -> list[str]:
    paths = [Path(folder) / f"{number}.dcm" for number in range(len(objects))]
    for path, data in zip(paths, objects, strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


def _run(*command: str, seconds: int = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: PLW1510 - dciodvfy exits with 1 on a mere warning
        command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=seconds
    )


def dciodvfy(data: bytes) -> Verdicts:
    """Errors, and warnings that are not allowed, of dicom3tools' dciodvfy on one object."""
    program = require_program("dciodvfy")
    with TemporaryDirectory() as folder:
        done = _run(program, *_written(folder, [data]))
    said = done.stdout + done.stderr
    assert said.strip(), "dciodvfy said nothing: not even the name of the IOD"
    return _verdicts(said)


def dcentvfy(objects: Sequence[bytes]) -> Verdicts:
    """Errors and warnings of dicom3tools' dcentvfy: whether the objects of a study agree with one another."""
    program = require_program("dcentvfy")
    with TemporaryDirectory() as folder:
        done = _run(program, *_written(folder, objects))
    return _verdicts(done.stdout + done.stderr)


def pixelmed(objects: Sequence[bytes]) -> list[Verdicts]:
    """Errors and warnings of PixelMed's DicomSRValidator on reports; takes 8 s to start."""
    java = require_program("java")
    for jar, package in ((PIXELMED, "libpixelmed-java"), (SAXON, "libsaxonhe-java")):
        if not jar.is_file():
            _absent(package)
    if "jdk.compiler" not in _run(java, "--list-modules").stdout:
        _absent("a Java that compiles (default-jdk-headless)")
    options = (
        "-XX:+UseSerialGC",
        "-Djavax.xml.transform.TransformerFactory=net.sf.saxon.TransformerFactoryImpl",
        "-cp",
        f"{PIXELMED}:{SAXON}",
    )
    with TemporaryDirectory() as folder:
        batch = Path(folder) / "Batch.java"
        batch.write_text(_PIXELMED_BATCH)
        files = _written(folder, objects)
        done = _run(java, *options, str(batch), *files, seconds=580)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("FILE ")[1:]
    assert len(said) == len(objects)
    assert all("Validation Complete" in text and "Found Root Template" in text for text in said), done.stdout
    return [_verdicts(text) for text in said]


def dsrdump(data: bytes) -> str:
    """Text of a report as DCMTK reads it: all codes, UIDs and long values."""
    program = require_program("dsrdump")
    with TemporaryDirectory() as folder:
        done = _run(program, "+Pc", "+Pl", "+Pu", *_written(folder, [data]))
    assert done.returncode == 0, done.stderr
    assert not _lines(done.stderr, "E:"), done.stderr
    return done.stdout
