"""TLS of associations, in either direction: contexts, and the files that they are made of.

The profile is that of PS3.15 B.12, BCP 195 (RFC 8996, RFC 9325): TLS 1.2 and 1.3, ephemeral keys, AEAD.
Certificates are held against the CA of the configuration alone, never against those of the system.

The only home of cryptography, which reads what ssl does not tell: when a certificate ends, and which of the
files is the wrong one.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from mcads_node.errors import ConfigError, Problem

#: RFC 9325 section 4.2, for TLS 1.2; TLS 1.3 has suites of its own. Level 2: RSA of 2048 bits or more
CIPHERS = "ECDHE+AESGCM:@SECLEVEL=2"
#: an administrator is told of a certificate that expires within
EXPIRES_SOON = timedelta(days=30)

#: X509_V_ERR_…: no issuer, another's signature, self-signed, self-signed in the chain, no issuer here,
#: signature not verified
_UNKNOWN_CA = (2, 7, 18, 19, 20, 21)
_ALERT = "_ALERT_"
#: what OpenSSL calls it, and what that is to an administrator
_FAILURES = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it presented no certificate",
    "WRONG_VERSION_NUMBER": "what it sent is no TLS",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS 1.2 or later",
    "NO_SHARED_CIPHER": "it offers no cipher suite that is allowed here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it takes no TLS 1.2 or later",
}


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Where the material lies, all of it PEM."""

    #: the node's certificate, then those of CAs between it and the root
    certificate: Path
    #: its private key, without a password
    key: Path
    #: certificates of CAs whose peers are trusted
    ca: Path
    #: whether peers that call us must present a certificate
    require_client_certificate: bool = True


@dataclass(frozen=True, kw_only=True)
class _Material:
    """What was made of the files at one time."""

    #: of associations that peers ask for
    acceptor: ssl.SSLContext
    #: of those that we ask for; the second one does not look at the host's name
    requestor: ssl.SSLContext
    requestor_of_any_host: ssl.SSLContext
    own: x509.Certificate
    authorities: tuple[x509.Certificate, ...]


class Tls:
    """The node's certificate and CAs. Safe to share between threads.

    Parameters
    ----------
    files
        Read now, and again by `reload`.

    Raises
    ------
    ConfigError
        With all that is wrong with the files.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._material = _read(files)

    def reload(self) -> None:
        """Read the files again; associations that are asked for from now on use what they hold.

        Raises
        ------
        ConfigError
            Some file is wrong; what was used goes on being used.
        """
        self._material = _read(self._files)

    @property
    def acceptor(self) -> ssl.SSLContext:
        """The context of associations that peers ask for."""
        return self._material.acceptor

    def requestor(self, *, verify_host: bool) -> ssl.SSLContext:
        """Give the context of associations that we ask for."""
        material = self._material
        return material.requestor if verify_host else material.requestor_of_any_host

    @property
    def expires_at(self) -> datetime:
        """When the node's certificate ends, UTC."""
        return self._material.own.not_valid_after_utc

    def certificates(self) -> Mapping[str, datetime]:
        """When certificates end, UTC, by what they are for; of several CAs the last one."""
        authorities = max(each.not_valid_after_utc for each in self._material.authorities)
        return {"node": self.expires_at, "CA": authorities}

    def faults(self, now: datetime) -> list[str]:
        """Say why peers will refuse the node's certificate today, one clause each."""
        own, found = self._material.own, []
        if now >= own.not_valid_after_utc:
            found.append(f"it expired on {_day(own.not_valid_after_utc)}")
        if now < own.not_valid_before_utc:
            found.append(f"it is not valid before {_day(own.not_valid_before_utc)}")
        return found

    def cautions(self, now: datetime) -> list[str]:
        """Say what an administrator should know of, though it works, one sentence each."""
        own, found = self._material.own, []
        left = own.not_valid_after_utc - now
        if timedelta() < left < EXPIRES_SOON:
            found.append(f"the certificate expires on {_day(own.not_valid_after_utc)}, in {left.days} days")
        found += [f"the certificate is not for {lacking}" for lacking in _lacking_usages(own)]
        for each in self._material.authorities:
            if each.not_valid_after_utc <= now:
                found.append(f"a certificate in ca expired on {_day(each.not_valid_after_utc)}")
        if _is_readable_by_all(self._files.key):
            found.append(f"everybody on this machine may read {self._files.key}")
        if not self._files.require_client_certificate:
            found.append("peers need no certificate (require_client_certificate: false)")
        return found


@dataclass(frozen=True, kw_only=True)
class PeerTls:
    """How a peer that we call proves who it is."""

    tls: Tls = field(repr=False)
    #: whether its certificate must be made out to its host
    verify_host: bool = True
    #: the name in its certificate, where that is not the host's
    name: str | None = None

    def for_host(self, host: str) -> tuple[ssl.SSLContext, str]:
        """Give the context of one association, and the name that the certificate must be made out to."""
        return self.tls.requestor(verify_host=self.verify_host), self.name or host


def failure_of(error: OSError) -> str:
    """Say in one clause why TLS with a peer did not come about; nothing of what is in its certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_CA:
            return f"its certificate is of no CA in node.tls.ca ({error.verify_message})"
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, TimeoutError):
        return "the TLS handshake was not finished in time"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError | BrokenPipeError):
        return "it closed the connection during the TLS handshake"
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    reason = error.reason or "no reason given"
    if reason in _FAILURES:
        return _FAILURES[reason]
    if _ALERT in reason:
        return f"it ended TLS with the alert {_plain(reason.partition(_ALERT)[2])}"
    return f"TLS failed: {_plain(reason)}"


def _plain(words: str) -> str:
    return words.lower().replace("_", " ")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _read(files: TlsFiles) -> _Material:
    problems: list[Problem] = []
    chain = _certificates(files.certificate, "certificate", problems)
    key = _private_key(files.key, problems)
    authorities = _certificates(files.ca, "ca", problems)
    if chain and key is not None and chain[0].public_key() != key.public_key():
        message = f"is not the private key of the first certificate in {files.certificate}"
        problems.append(_problem(files.key, "key", message))
    if problems:
        raise ConfigError(problems)
    try:
        return _Material(
            acceptor=_acceptor(files),
            requestor=_requestor(files, verify_host=True),
            requestor_of_any_host=_requestor(files, verify_host=False),
            own=chain[0],
            authorities=authorities,
        )
    except OSError as error:
        # such as a key that is too short: what OpenSSL refuses, though it is a key and a certificate
        reason = _plain(error.reason or "") if isinstance(error, ssl.SSLError) else error.strerror
        message = f"cannot be used: {reason or error}"
        raise ConfigError([_problem(files.certificate, "certificate", message)]) from error


def _context(files: TlsFiles, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # before the certificate: its key is held against the level
    context.set_ciphers(CIPHERS)
    # no resumption: each association proves anew who it is, against the CAs of today
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(files.certificate, files.key, password="")
    context.load_verify_locations(files.ca)
    return context


def _acceptor(files: TlsFiles) -> ssl.SSLContext:
    context = _context(files, ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if files.require_client_certificate else ssl.CERT_NONE
    return context


def _requestor(files: TlsFiles, *, verify_host: bool) -> ssl.SSLContext:
    context = _context(files, ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify_host
    # RFC 9525: names are those of the subject alternative name alone
    context.hostname_checks_common_name = False
    return context


def _certificates(path: Path, key: str, problems: list[Problem]) -> tuple[x509.Certificate, ...]:
    data = _bytes(path, key, problems)
    if data is None:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        problems.append(_problem(path, key, "holds no certificate in PEM, or a damaged one"))
        return ()


def _private_key(path: Path, problems: list[Problem]) -> PrivateKeyTypes | None:
    data = _bytes(path, "key", problems)
    if data is None:
        return None
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:
        message = "is locked with a password; the node starts unattended, and takes a key without one"
    except (ValueError, UnsupportedAlgorithm):
        message = "holds no private key in PEM, or a damaged one"
    problems.append(_problem(path, "key", message))
    return None


def _bytes(path: Path, key: str, problems: list[Problem]) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        problems.append(_problem(path, key, f"cannot be read: {error.strerror}"))
        return None


def _problem(path: Path, key: str, message: str) -> Problem:
    return Problem(file=str(path), line=None, key=f"node.tls.{key}", message=message)


def _lacking_usages(certificate: x509.Certificate) -> Iterator[str]:
    """Say what the certificate may not be used for; one without the extension may be used for everything."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    for usage, words in (
        (ExtendedKeyUsageOID.SERVER_AUTH, "peers that call the node (it lacks serverAuth)"),
        (ExtendedKeyUsageOID.CLIENT_AUTH, "calls to destinations (it lacks clientAuth)"),
    ):
        if usage not in usages and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usages:
            yield words


def _is_readable_by_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        # gone since it was read: the next reading tells
        return False


def now() -> datetime:
    """Give the time that certificates are held against."""
    return datetime.now(UTC)
