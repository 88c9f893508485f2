"""A connection with TLS to a peer: what Python's own lacks to serve pynetdicom's loop."""

from __future__ import annotations

import select
import ssl
from typing import Any

from mcads_node.tls import failure_of

#: RFC 8446 section 5.1: the most that one record holds
_RECORD = 16_384


class TlsSocket(ssl.SSLSocket):
    """Tells whether there is data, not only whether there are bytes, and remembers why it failed.

    With TLS 1.3 the peer sends tickets after the handshake. pynetdicom takes a readable socket for one with
    a PDU, and would wait for it in `recv`, while the peer waits for our association request.
    """

    failure: OSError | None = None
    _ahead = b""
    _is_ended = False

    def connect(self, addr: Any) -> None:
        """Connect, and shake hands."""
        try:
            super().connect(addr)
        except ssl.SSLError as error:
            self.failure = error
            # pynetdicom would log the whole traceback of an SSLError
            raise ConnectionError(failure_of(error)) from error
        except OSError as error:
            self.failure = error
            raise

    def has_data(self) -> bool:
        """Whether `recv` would give something at once: data, or that the peer has ended.

        Raises
        ------
        OSError
            The connection failed; `failure` says why.
        """
        if self._ahead or self._is_ended:
            return True
        if not self.pending() and not select.select([self], [], [], 0)[0]:
            return False
        timeout = self.gettimeout()
        self.settimeout(0)
        try:
            self._ahead = super().recv(_RECORD)
            self._is_ended = not self._ahead
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self.failure = error
            raise
        finally:
            self.settimeout(timeout)
        return True

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Give what was read ahead, or read."""
        if self._ahead:
            data, self._ahead = self._ahead[:buflen], self._ahead[buflen:]
            return data
        return b"" if self._is_ended else super().recv(buflen, flags)
