"""Alerts by e-mail, through a server that takes messages for others."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from mcads_node.alerts.message import Message
from mcads_node.alerts.secrets import secret_in
from mcads_node.config import EmailSection
from mcads_node.errors import TransientError


class EmailChannel:
    """One message for all that is to be told.

    Parameters
    ----------
    config
        As the administrator wrote it.
    """

    name = "email"

    def __init__(self, config: EmailSection) -> None:
        self._config = config

    def send(self, message: Message) -> None:
        """Hand it to the server.

        Raises
        ------
        TransientError
            The server cannot be reached, or took it for none of the addressees.
        """
        config = self._config
        try:
            with smtplib.SMTP(config.host, config.port, timeout=config.timeout_seconds) as server:
                if config.starttls:
                    server.starttls(context=ssl.create_default_context(cafile=config.ca))
                if config.user is not None and config.password_file is not None:
                    server.login(config.user, secret_in(config.password_file))
                server.send_message(self._letter(message))
        except smtplib.SMTPResponseException as error:
            raise TransientError(f"the mail server answered {error.smtp_code}") from error
        except (smtplib.SMTPException, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise TransientError(f"the mail server cannot be used: {reason}") from error

    def _letter(self, message: Message) -> EmailMessage:
        config = self._config
        letter = EmailMessage()
        letter["Subject"] = message.subject
        letter["From"] = config.sender
        letter["To"] = ", ".join(config.to)
        letter["Date"] = format_datetime(message.at)
        letter["Message-ID"] = make_msgid(domain=config.sender.rpartition("@")[2])
        # no machine is to answer it (RFC 3834)
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(message.text)
        return letter
