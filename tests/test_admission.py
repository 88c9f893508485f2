"""Who may associate: tables, and the property that nobody comes in who is not listed."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcads_node.instance import Requestor
from mcads_node.receive.admission import Admission, AllowedRequestor, Cause, plain_address
from mcads_node.receive.commitment import CommitmentReports, Reporter

LISTED = (
    AllowedRequestor(ae_title="CR_ROOM1", address="10.20.0.0/16"),
    AllowedRequestor(ae_title="CR_ROOM1", address="192.168.7.9"),
    AllowedRequestor(ae_title="TEST", address="2001:db8::/32", called_ae_titles=("MCADS_TEST",)),
)
ADMISSION = Admission(ae_title="MCADS", requestors=LISTED, max_associations=2)


def who(ae_title: str, address: str, called: str = "MCADS") -> Requestor:
    return Requestor(ae_title=ae_title, address=address, called_ae_title=called)


@pytest.mark.parametrize(
    "requestor",
    [
        who("CR_ROOM1", "10.20.255.1"),
        who("CR_ROOM1", "192.168.7.9"),
        who("CR_ROOM1", "::ffff:10.20.0.1"),
        who("TEST", "2001:db8::17", "MCADS_TEST"),
    ],
)
def test_admitted(requestor: Requestor) -> None:
    assert ADMISSION.decide(requestor, [], congested=False) is None


@pytest.mark.parametrize(
    ("requestor", "open_associations", "congested", "answer"),
    [
        (who("CR_ROOM2", "10.20.0.1"), 0, False, (1, 1, 3)),
        (who("cr_room1", "10.20.0.1"), 0, False, (1, 1, 3)),
        (who("", "10.20.0.1"), 0, False, (1, 1, 3)),
        (who("CR_ROOM1", "10.21.0.1"), 0, False, (1, 1, 3)),
        (who("CR_ROOM1", "::1"), 0, False, (1, 1, 3)),
        (who("CR_ROOM1", "10.20.0.1", "OTHER"), 0, False, (1, 1, 7)),
        (who("CR_ROOM1", "10.20.0.1", "MCADS_TEST"), 0, False, (1, 1, 7)),
        (who("TEST", "2001:db8::17", "MCADS"), 0, False, (1, 1, 7)),
        (who("CR_ROOM1", "10.20.0.1"), 2, False, (2, 3, 2)),
        (who("CR_ROOM1", "10.20.0.1"), 0, True, (2, 3, 1)),
        # a stranger learns nothing of how busy the node is
        (who("CR_ROOM2", "10.20.0.1"), 2, True, (1, 1, 3)),
    ],
)
def test_rejected(
    requestor: Requestor, open_associations: int, congested: bool, answer: tuple[int, int, int]
) -> None:
    rejection = ADMISSION.decide(requestor, ["TEST"] * open_associations, congested)
    assert rejection is not None
    assert (rejection.result, rejection.source, rejection.diagnostic) == answer
    assert rejection.reason


@given(
    st.sampled_from(["CR_ROOM1", "TEST", "OTHER"]) | st.text(max_size=16),
    st.ip_addresses(),
    st.sampled_from(["MCADS", "MCADS_TEST", "X"]),
)
def test_nobody_comes_in_who_is_not_listed(
    ae_title: str, address: ipaddress.IPv4Address, called: str
) -> None:
    requestor = who(ae_title, str(address), called)
    if ADMISSION.decide(requestor, [], congested=False) is None:
        seen = ipaddress.ip_address(plain_address(str(address)))
        assert any(each.ae_title == ae_title and seen in each.network for each in LISTED)


def test_an_empty_list_admits_nobody() -> None:
    nobody = Admission(ae_title="MCADS", requestors=(), max_associations=25)
    assert nobody.decide(who("CR_ROOM1", "10.20.0.1"), [], congested=False) is not None


def test_a_limit_of_one_requestor_is_its_own() -> None:
    admission = Admission(
        ae_title="MCADS", requestors=LISTED, max_associations=9, max_associations_per_requestor=2
    )
    asking = who("CR_ROOM1", "10.20.0.1")
    assert admission.decide(asking, ["TEST"] * 5 + ["CR_ROOM1"], congested=False) is None
    rejection = admission.decide(asking, ["CR_ROOM1", "TEST", "CR_ROOM1"], congested=False)
    assert rejection is not None
    assert rejection.cause is Cause.REQUESTOR_LIMIT


@pytest.mark.parametrize(
    ("address", "is_listed"),
    [
        ("10.20.0.1", True),
        ("::ffff:10.20.0.1", True),
        ("2001:db8::1", True),
        ("10.21.0.1", False),
        ("::1", False),
    ],
)
def test_which_addresses_are_listed_whatever_the_ae_title(address: str, is_listed: bool) -> None:
    assert ADMISSION.lists(address) is is_listed


def test_reporters_are_known_by_their_address_and_by_name_once_they_came() -> None:
    reporters = (Reporter(ae_title="PACS", host="10.9.0.1"), Reporter(ae_title="ARCHIVE", host="localhost"))
    reports = CommitmentReports("MCADS", reporters, lambda *_: None)
    assert reports.knows("10.9.0.1")
    assert not reports.knows("127.0.0.1")
    assert reports.admits(who("ARCHIVE", "127.0.0.1"))
    assert reports.knows("127.0.0.1")
    assert not reports.admits(who("ARCHIVE", "10.9.0.2"))
    assert not reports.knows("10.9.0.2")
