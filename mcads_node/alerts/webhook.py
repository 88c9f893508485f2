"""Alerts as JSON to an HTTP server."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import IO, Any

from mcads_node import __version__
from mcads_node.alerts.message import Message
from mcads_node.alerts.secrets import secret_in
from mcads_node.config import WebhookSection
from mcads_node.errors import TransientError


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Follow none: a POST would be followed by a GET, and the alert be lost in silence."""


class WebhookChannel:
    """One POST for all that is to be told; any status from 200 to 299 means that it was taken.

    Parameters
    ----------
    config
        As the administrator wrote it.
    """

    name = "webhook"

    def __init__(self, config: WebhookSection) -> None:
        self._config = config

    def send(self, message: Message) -> None:
        """POST it.

        Raises
        ------
        TransientError
            No answer, or one that is not 2xx.
        """
        config = self._config
        headers = {"Content-Type": "application/json", "User-Agent": f"mcads-node/{__version__}"}
        if config.token_file is not None:
            headers["Authorization"] = f"Bearer {secret_in(config.token_file)}"
        content = json.dumps(message.as_json(), ensure_ascii=False).encode()
        # the scheme is http or https: see WebhookSection
        request = urllib.request.Request(config.url, content, headers, method="POST")  # noqa: S310
        try:
            with self._opener().open(request, timeout=config.timeout_seconds) as answer:
                _discard(answer)
        except urllib.error.HTTPError as error:
            error.close()
            raise TransientError(f"the webhook answered {error.code}") from error
        except urllib.error.URLError as error:
            raise TransientError(f"the webhook cannot be reached: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"the webhook cannot be reached: {type(error).__name__}") from error

    def _opener(self) -> urllib.request.OpenerDirector:
        try:
            context = ssl.create_default_context(cafile=self._config.ca)
        except OSError as error:
            raise TransientError(f"{self._config.ca} (alerts.webhook.ca): {error}") from error
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)


def _discard(answer: IO[bytes]) -> None:
    # what it says is of no interest; a little is read, so that a server is not cut off while it answers
    answer.read(4096)
