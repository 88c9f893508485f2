"""Certificates, keys and CAs: what a node takes, what it says of wrong ones, and when it reads them again."""

from __future__ import annotations

import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from mcads_node.config import load_configuration
from mcads_node.errors import ConfigError
from mcads_node.tls import Tls, TlsFiles
from tests import documents
from tests.certificates import YEAR, Authority, Issued

ROUTES = "routes: [{name: none, when: {}, decline: nothing}]\n"
TLS = "tls: {certificate: /t/node.crt, key: /t/node.key, ca: /t/ca.crt}"
PACS = "{ae_title: PACS, host: h, port: 1, "


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def node(ca: Authority) -> Issued:
    return ca.issue("node", "127.0.0.1")


def problems(files: TlsFiles) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Tls(files)
    return [str(problem) for problem in caught.value.problems]


def config_problems(folder: Path, text: str) -> list[str]:
    (folder / "routes.yaml").write_text(ROUTES)
    (folder / "node.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_configuration(folder / "node.yaml", {"densenet121-res224-all": ()})
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_destinations_with_tls_take_a_node_with_tls(tmp_path: Path) -> None:
    destinations = f"  a: {PACS}tls: true}}\n  b: {PACS}tls: true}}\n  c: {PACS}x: 1}}\n"
    text = f"node: {{ae_title: M}}\ndestinations:\n{destinations}"
    assert config_problems(tmp_path, text) == [
        "node.yaml:3: destinations.a.tls: needs node.tls: the node's certificate, its key, and the CA",
        "node.yaml:4: destinations.b.tls: needs node.tls: the node's certificate, its key, and the CA",
        "node.yaml:5: destinations.c.x: is not a key this node knows",
    ]


def test_a_right_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    text = f"node: {{{TLS}}}\ndestinations:\n  a: {PACS}tls: true, certificate_name: pacs.example}}\n"
    (tmp_path / "node.yaml").write_text(text)
    config = load_configuration(tmp_path / "node.yaml", {"densenet121-res224-all": ()}).node
    assert config.node.tls is not None
    assert config.node.tls.require_client_certificate
    assert (config.destinations["a"].verify_host, config.destinations["a"].certificate_name) == (
        True,
        "pacs.example",
    )


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("verify_host: false", "destinations.a: verify_host and certificate_name are for tls: true"),
        ("certificate_name: x", "destinations.a: verify_host and certificate_name are for tls: true"),
        (
            "tls: true, verify_host: false, certificate_name: x",
            "destinations.a: certificate_name is not looked at where verify_host is false",
        ),
    ],
)
def test_keys_of_destinations_that_mean_nothing_are_errors(tmp_path: Path, keys: str, complaint: str) -> None:
    text = f"node: {{{TLS}}}\ndestinations:\n  a: {PACS}{keys}}}\n"
    assert config_problems(tmp_path, text) == [f"node.yaml:3: {complaint}"]


def test_a_relative_path_and_a_missing_one_are_told(tmp_path: Path) -> None:
    found = config_problems(tmp_path, "node:\n  tls:\n    certificate: node.crt\n    ca: /t/ca.crt\n")
    assert found == [
        "node.yaml:3: node.tls.certificate: expected an absolute path, such as "
        "/etc/mcads-node/tls/node.crt; found 'node.crt'",
        "node.yaml:2: node.tls.key: is required and not there",
    ]


def test_all_files_that_are_missing_are_told_at_once(tmp_path: Path) -> None:
    files = TlsFiles(certificate=tmp_path / "a", key=tmp_path / "b", ca=tmp_path / "c")
    assert problems(files) == [
        f"{tmp_path}/a: node.tls.certificate: cannot be read: No such file or directory",
        f"{tmp_path}/b: node.tls.key: cannot be read: No such file or directory",
        f"{tmp_path}/c: node.tls.ca: cannot be read: No such file or directory",
    ]


def test_files_of_another_kind_are_told(tmp_path: Path, ca: Authority, node: Issued) -> None:
    files = TlsFiles(certificate=node.key, key=node.certificate, ca=node.key)
    assert [text.partition(": ")[2] for text in problems(files)] == [
        "node.tls.certificate: holds no certificate in PEM, or a damaged one",
        "node.tls.key: holds no private key in PEM, or a damaged one",
        "node.tls.ca: holds no certificate in PEM, or a damaged one",
    ]


def test_a_key_of_another_certificate_is_told(ca: Authority, node: Issued) -> None:
    other = ca.issue("other")
    files = TlsFiles(certificate=node.certificate, key=other.key, ca=ca.certificate)
    expected = (
        f"{other.key}: node.tls.key: is not the private key of the first certificate in {node.certificate}"
    )
    assert problems(files) == [expected]


def test_a_key_with_a_password_is_told_and_never_asked_for(
    tmp_path: Path, ca: Authority, node: Issued
) -> None:
    key = load_pem_private_key(node.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    (told,) = problems(TlsFiles(certificate=node.certificate, key=locked, ca=ca.certificate))
    assert f"{locked}: node.tls.key: is locked with a password" in told


def test_a_key_that_is_too_short_is_told(tmp_path: Path) -> None:
    short = Authority(tmp_path)
    key = rsa.generate_private_key(65537, 1024)
    issued = short.issue("short", key=key)
    issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    (told,) = problems(short.files(issued))
    assert told == f"{issued.certificate}: node.tls.certificate: cannot be used: ee key too small"


def test_the_contexts_are_of_the_profile(ca: Authority, node: Issued) -> None:
    tls = Tls(ca.files(node))
    for context in (tls.acceptor, tls.requestor(verify_host=True), tls.requestor(verify_host=False)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert {cipher["name"] for cipher in context.get_ciphers()} == {
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
        }
        # the CA of the configuration, and none of the system's
        assert context.cert_store_stats()["x509"] == 1
    assert tls.requestor(verify_host=True).check_hostname
    assert not tls.requestor(verify_host=False).check_hostname


def test_the_conformance_statement_lists_the_cipher_suites(ca: Authority, node: Issued) -> None:
    rows = {
        row[0]: row[1] for rows in documents.tables(documents.CONFORMANCE) for row in rows if len(row) == 2
    }
    there = [cipher["name"] for cipher in Tls(ca.files(node)).acceptor.get_ciphers()]
    older = [name.replace("AES", "AES-").split("-") for name in there if name.startswith("ECDHE")]
    named = [f"TLS_{exchange}_{key}_WITH_{'_'.join(rest)}" for exchange, key, *rest in older]
    assert rows["Cipher suites, TLS 1.2"].split(", ") == named
    newer = [name for name in there if name.startswith("TLS_")]
    assert rows["Cipher suites, TLS 1.3"].split(", ") == newer


def test_new_files_are_used_and_broken_ones_are_not(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    issued = ca.issue("node", ends=timedelta(days=100))
    tls = Tls(ca.files(issued))
    before, old = tls.acceptor, tls.expires_at
    kept = issued.key.read_bytes()
    issued.key.write_text("-----BEGIN PRIVATE KEY-----\nbroken")
    with pytest.raises(ConfigError, match=r"node\.key: node\.tls\.key: holds no private key"):
        tls.reload()
    assert (tls.acceptor, tls.expires_at) == (before, old)
    issued.key.write_bytes(kept)
    ca.issue("node", ends=timedelta(days=300))
    tls.reload()
    assert tls.acceptor is not before
    assert tls.expires_at - old > timedelta(days=199)
    assert set(tls.certificates()) == {"node", "CA"}


@pytest.mark.parametrize(
    ("begins", "ends", "faults", "cautions"),
    [
        (timedelta(days=-1), YEAR, [], []),
        (timedelta(days=-1), timedelta(days=31), [], []),
        (
            timedelta(days=-1),
            timedelta(days=29, hours=1),
            [],
            ["the certificate expires on {end}, in 29 days"],
        ),
        (timedelta(days=-9), timedelta(days=-1), ["it expired on {end}"], []),
        (timedelta(days=2), YEAR, ["it is not valid before {begin}"], []),
    ],
)
def test_the_end_of_a_certificate_is_told(
    ca: Authority, begins: timedelta, ends: timedelta, faults: list[str], cautions: list[str]
) -> None:
    now = datetime.now(UTC)
    tls = Tls(ca.files(ca.issue("ending", begins=begins, ends=ends)))
    days = {"begin": f"{now + begins:%Y-%m-%d}", "end": f"{now + ends:%Y-%m-%d}"}
    assert tls.faults(now) == [text.format(**days) for text in faults]
    assert tls.cautions(now) == [text.format(**days) for text in cautions]


def test_what_is_doubtful_is_told(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    issued = ca.issue("node", usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
    issued.key.chmod(0o644)
    old = Authority(tmp_path / "old", ends=timedelta(days=-1))
    with ca.certificate.open("ab") as bundle:
        bundle.write(old.certificate.read_bytes())
    tls = Tls(ca.files(issued, require_client_certificate=False))
    usage, expired, readable, anonymous = tls.cautions(datetime.now(UTC))
    assert "calls to destinations (it lacks clientAuth)" in usage
    assert "a certificate in ca expired" in expired
    assert readable == f"everybody on this machine may read {issued.key}"
    assert "peers need no certificate" in anonymous
    # of several CAs the last one counts: the others' peers are gone
    assert tls.certificates()["CA"] > datetime.now(UTC)


def test_a_key_that_is_gone_later_does_not_stop_the_telling(tmp_path: Path) -> None:
    ca = Authority(tmp_path / "ca")
    tls = Tls(ca.files(ca.issue("node")))
    shutil.rmtree(tmp_path / "ca")
    assert tls.cautions(datetime.now(UTC)) == []
