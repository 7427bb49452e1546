"""E-mail: one short letter an alert, over SMTP with TLS."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from ebbtide.core.alert_settings import ChannelConfig
from ebbtide.core.language import Language, Text
from ebbtide.core.windows import parse_duration
from ebbtide.pipeline.alert_message import AlertMessage
from ebbtide.serve.sending import ARRIVED, Outcome
from ebbtide.store.outbox import Message

_SUBJECT = Text("Customer alert: {rule}", "顾客提醒：{rule}")
_LINES: dict[str, Text] = {
    "user_id": Text("Customer: {value}", "顾客：{value}"),
    "at": Text("Seen at: {value}", "时间：{value}"),
    "churn_probability": Text("Churn probability: {value:.0%}", "流失概率：{value:.0%}"),
    "before": Text("Before: {value:.0%}", "此前：{value:.0%}"),
    "band": Text("Risk: {value}", "风险等级：{value}"),
    "value_at_risk": Text("Value at risk: {value:,.2f}", "面临流失的价值：{value:,.2f}"),
    "since": Text("Since: {value}", "自：{value}"),
    "alert_id": Text("Alert: {value}", "提醒编号：{value}"),
}


class EmailSender:
    """One list of receivers at one server."""

    def __init__(self, channel: ChannelConfig, password: SecretStr | None, language: Language) -> None:
        self._channel, self._password, self._language = channel, password, language
        self._seconds = parse_duration(channel.timeout).total_seconds()
        self._threads = ThreadPoolExecutor(channel.parallel, thread_name_prefix=f"ebbtide-{channel.name}")

    async def send(self, message: Message) -> Outcome:
        """Hand one letter to the server; it has arrived when the server has taken it for every receiver."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                return await loop.run_in_executor(self._threads, self._send, message)
        except TimeoutError:
            return Outcome("timeout")

    async def close(self) -> None:
        """Let letters that are under way go."""
        self._threads.shutdown(wait=False)

    def _send(self, message: Message) -> Outcome:
        try:
            with self._opened() as server:
                self._greet(server)
                refused = server.send_message(letter(self._channel, message, self._language))
        except smtplib.SMTPAuthenticationError:
            return Outcome("login_refused")
        except smtplib.SMTPNotSupportedError:
            return Outcome("no_tls")
        except smtplib.SMTPResponseException as fault:
            return Outcome(f"smtp_{fault.smtp_code}")
        except smtplib.SMTPException:
            return Outcome("smtp_failed")
        except TimeoutError:
            return Outcome("timeout")
        except OSError:
            return Outcome("unreachable")
        return Outcome("some_refused") if refused else ARRIVED

    def _opened(self) -> smtplib.SMTP:
        place = urlsplit(self._channel.url)
        host = place.hostname or ""
        if place.scheme == "smtps":
            secure = ssl.create_default_context()
            return smtplib.SMTP_SSL(host, place.port or 465, timeout=self._seconds, context=secure)
        return smtplib.SMTP(host, place.port or 587, timeout=self._seconds)

    def _greet(self, server: smtplib.SMTP) -> None:
        if self._channel.starttls and not isinstance(server, smtplib.SMTP_SSL):
            server.starttls(context=ssl.create_default_context())
        if self._channel.user and self._password is not None:
            server.login(self._channel.user, self._password.get_secret_value())


def letter(channel: ChannelConfig, message: Message, language: Language) -> EmailMessage:
    """The letter; sent again it has the same Message-ID, by which mail programs know it."""
    told = AlertMessage.read(message.body).data
    made = EmailMessage()
    made["From"], made["To"] = channel.sender, ", ".join(channel.to)
    made["Subject"] = _SUBJECT.format(rule=told["rule"])[language]
    made["Message-ID"] = f"<{message.message_id}@{channel.sender.rpartition('@')[2].rstrip('>') or 'ebbtide'}>"
    made["Date"] = formatdate(localtime=False)
    made.set_content("\n".join(_body(told, language)) + "\n")
    return made


def _body(told: Mapping[str, Any], language: Language) -> list[str]:
    facts = [text.format(value=told[name])[language] for name, text in _LINES.items() if told.get(name) is not None]
    reasons = [f"- {reason['text']}" for reason in told.get("reasons") or ()]
    return [*facts, *(["", *reasons] if reasons else [])]
