"""Fuzzing: wrong associations against the port, many at once, some slow, some never ended."""

from __future__ import annotations

import contextlib
import math
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from mcads_node.deliver.send import Caller, DestinationAddress, echo
from tests.attack.accounting import damage, open_work, reading
from tests.attack.destination import Destination
from tests.attack.killing import SETTLE_SECONDS, Tell, attacked
from tests.attack.mutations import Pdus, case, split
from tests.attack.processes import Footprint, resting_footprint
from tests.attack.radiographs import MODALITY, association_with, radiographs, wait_until
from tests.peers import command_elements, free_port

_BATCH = 100
_AT_ONCE = 8
#: after a batch, and after all: what is open then has to be closed by the node's own timeouts (5 s)
_ECHO_SECONDS = 20.0
_REST_SECONDS = 8.0


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What the fuzzing came to."""

    cases: int
    #: the node answered a C-ECHO after every batch, and at the end, and ended when it was told to
    alive: bool
    #: of the main process, after a tenth of the cases and at the end, all connections being closed
    before: Footprint
    after: Footprint
    #: how the associations ended: A-ASSOCIATE-RJ, A-ABORT, nothing …
    answers: Counter[str]
    #: SOP Instance UIDs of objects that were answered 0x0000 in spite of all
    acknowledged: int
    #: those of them that are not on record, or are not dealt with
    lost: list[str]
    damage: list[str]


class Fuzzer:
    """Sends cases to a port, and collects what is answered."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._seed = seed
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.answers: Counter[str] = Counter()
        self.acknowledged: set[str] = set()

    def send(self, pdus: Pdus, number: int) -> None:
        """Send one case: politely or all at once, fast or slowly, to the end or not."""
        chance = random.Random(f"{self._seed}/{number}/manner")
        answers: Counter[str] = Counter({"none": 1})
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=2)
            answers = self._talk(connection, pdus, chance)
        with self._lock:
            self.answers.update(answers)

    def _talk(self, connection: socket.socket, pdus: Pdus, chance: random.Random) -> Counter[str]:
        """Talk, and end the connection in one of four ways."""
        connection.settimeout(0.4)
        heard = b""
        with contextlib.suppress(OSError):
            if chance.random() < 0.7 and pdus:
                connection.sendall(pdus[0])
                pdus = pdus[1:]
                heard = connection.recv(65536)
            self._write(connection, b"".join(pdus), slow=chance.random() < 0.04)
            while part := connection.recv(65536):
                heard += part
        ending = chance.random()
        if ending < 0.04:
            # never ended: the node has to
            with self._lock:
                self._open.append(connection)
        elif ending < 0.4:
            # a reset instead of an orderly end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            connection.close()
        return self._understand(heard)

    @staticmethod
    def _write(connection: socket.socket, data: bytes, *, slow: bool) -> None:
        if not slow:
            connection.sendall(data)
            return
        for at in range(0, min(len(data), 40)):
            connection.sendall(data[at : at + 1])
            time.sleep(0.05)
        connection.sendall(data[40:])

    def _understand(self, heard: bytes) -> Counter[str]:
        names = {2: "A-ASSOCIATE-AC", 3: "A-ASSOCIATE-RJ", 4: "P-DATA-TF", 6: "A-RELEASE-RP", 7: "A-ABORT"}
        found: Counter[str] = Counter()
        for each in split_safely(heard):
            found[names.get(each[0], "another")] += 1
            if each[0] == 4:
                command = command_elements(each[12:])
                if command.get(0x0100) == b"\x01\x80" and command.get(0x0900) == b"\x00\x00":
                    with self._lock:
                        self.acknowledged.add(command.get(0x1000, b"").rstrip(b"\0").decode("ascii"))
        return found or Counter({"nothing": 1})

    def close(self) -> None:
        """Close what was left open."""
        for each in self._open:
            each.close()


def split_safely(heard: bytes) -> Pdus:
    """Split what the node sent; the last PDU may not be whole, and is left out."""
    at = 0
    while at + 6 <= len(heard):
        (length,) = struct.unpack_from(">I", heard, at + 2)
        if at + 6 + length > len(heard):
            break
        at += 6 + length
    return split(heard[:at])


def record(port: int, images: list[Dataset]) -> Pdus:
    """Record what a real requestor sends: an association with these objects, or with a C-ECHO alone."""
    taken = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        relay = threading.Thread(target=_relay, args=(listening, port, taken), daemon=True)
        relay.start()
        proxy = int(listening.getsockname()[1])
        if not images:
            answered = echo(_address(proxy), Caller(ae_title=MODALITY))
            assert answered.succeeded, answered.reason
        else:
            with association_with(proxy, images) as association:
                assert association is not None
                statuses = [association.send_c_store(image).Status for image in images]
                assert statuses == [0x0000] * len(images), statuses
        relay.join(10)
    return split(bytes(taken))


def _relay(listening: socket.socket, port: int, taken: bytearray) -> None:
    requestor, _ = listening.accept()
    node = socket.create_connection(("127.0.0.1", port))

    def back() -> None:
        with contextlib.suppress(OSError):
            while part := node.recv(65536):
                requestor.sendall(part)
            requestor.shutdown(socket.SHUT_WR)

    backwards = threading.Thread(target=back, daemon=True)
    backwards.start()
    with contextlib.suppress(OSError):
        while part := requestor.recv(65536):
            taken.extend(part)
            node.sendall(part)
        node.shutdown(socket.SHUT_WR)
    backwards.join(10)
    node.close()
    requestor.close()


def _address(port: int) -> DestinationAddress:
    return DestinationAddress(ae_title="MCADS", host="127.0.0.1", port=port)


def answers_echo(port: int) -> bool:
    """Whether the node answers a C-ECHO; its last connections may still have to time out."""
    caller = Caller(ae_title=MODALITY)
    return wait_until(lambda: echo(_address(port), caller).succeeded, _ECHO_SECONDS)


def fuzz(folder: Path, cases: int, seed: int, tell: Tell, most_seconds: float = math.inf) -> Fuzzed:
    """Fuzz the port of a node; where it does not answer after a batch, no other batch is sent.

    Parameters
    ----------
    folder
        An empty one.
    cases, most_seconds
        How many; no further batch begins after so many seconds.
    seed
        Of the cases.
    tell
        Told how far it is.
    """
    destination, data = Destination(free_port()), folder / "data"
    with destination, attacked(folder, destination) as node:
        assert node.process is not None
        recordings, uids = _recordings(node.port)
        fuzzer = Fuzzer(node.port, seed)
        sent, before, alive = 0, None, True
        for batch in _batches(cases, most_seconds):
            tell("fuzz cases", sent, cases)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                made = (case(recordings, seed, number, uids) for number in batch)
                list(pool.map(fuzzer.send, made, batch))
            sent += len(batch)
            alive = answers_echo(node.port)
            if not alive:
                break
            if before is None and sent >= cases / 10:
                before = resting_footprint(node.process.pid, _REST_SECONDS)
        tell("fuzz cases", sent, cases)
        alive = alive and wait_until(lambda: not open_work(data), SETTLE_SECONDS)
        after = resting_footprint(node.process.pid, _REST_SECONDS)
        fuzzer.close()
        alive = alive and answers_echo(node.port) and node.stop() == 0
        return Fuzzed(
            cases=sent,
            alive=alive,
            before=before or after,
            after=after,
            answers=fuzzer.answers,
            acknowledged=len(fuzzer.acknowledged),
            lost=_lost(data, fuzzer.acknowledged),
            damage=damage(data),
        )


def _batches(cases: int, most_seconds: float) -> Iterator[range]:
    deadline = time.monotonic() + most_seconds
    for first in range(0, cases, _BATCH):
        if time.monotonic() > deadline:
            return
        yield range(first, min(first + _BATCH, cases))


def _recordings(port: int) -> tuple[list[Pdus], list[bytes]]:
    """Record a C-ECHO, one object, and three over one association; gives also their UIDs."""
    images = [image for image, _ in zip(radiographs(), range(4), strict=False)]
    recorded = [record(port, []), record(port, images[:1]), record(port, images[1:])]
    uids = [uid.encode() for each in images for uid in (each.SOPInstanceUID, each.StudyInstanceUID)]
    return recorded, uids


def _lost(data: Path, acknowledged: set[str]) -> list[str]:
    """Acknowledged objects that are not on record, or not dealt with."""
    with reading(data) as connection:
        rows = connection.execute("SELECT sop_instance_uid, state FROM instances").fetchall()
    ended = {row[0] for row in rows if row[1] != "RECEIVED"}
    return sorted(acknowledged - ended)
