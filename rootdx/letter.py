"""An e-mail over the mail server of the plant."""

from email.message import EmailMessage
from typing import Final

import aiosmtplib

from pipeline.settings import Smtp, read_secret

SEND_S: Final = 15.0
"""Longest wait for the mail server."""


async def send(smtp: Smtp, message: EmailMessage) -> None:
    """Hands a message to the mail server; its sender is that of the settings.

    Raises:
        OSError, TimeoutError, aiosmtplib.SMTPException: it was not taken.
        ConfigError: the secret cannot be read.
    """
    message["From"] = smtp.sender
    await aiosmtplib.send(
        message,
        hostname=smtp.host,
        port=smtp.port,
        username=smtp.user,
        password=None if smtp.password_file is None else read_secret(smtp.password_file),
        start_tls=smtp.security == "starttls",
        use_tls=smtp.security == "tls",
        timeout=SEND_S,
    )
