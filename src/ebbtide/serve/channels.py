"""The channels of a config, made into senders; what is too small for a file of its own: the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import SecretStr

from ebbtide.core.alert_settings import ChannelConfig
from ebbtide.core.config import Config
from ebbtide.pipeline.alert_message import AlertMessage
from ebbtide.serve.broker import BrokerSender
from ebbtide.serve.sending import ARRIVED, Outcome, Sender
from ebbtide.serve.smtp import EmailSender
from ebbtide.serve.webhook import WebhookSender
from ebbtide.store.outbox import Message

LOG = logging.getLogger("ebbtide.alerts")


class LogSender:
    """Alerts as lines of the log, with nothing of a person in them."""

    async def send(self, message: Message) -> Outcome:
        """Always arrives."""
        told = AlertMessage.read(message.body).data
        LOG.info("alert %s of rule %s was opened", told["alert_id"], told["rule"])
        return ARRIVED

    async def close(self) -> None:
        """Nothing to close."""


def secret_names(config: Config) -> list[str]:
    """The environment variables that the channels need, for `read_secrets`."""
    return [name for c in config.channel for name in (*c.secret_env, *([c.password_env] if c.password_env else []))]


def make_senders(config: Config, secrets: Mapping[str, SecretStr]) -> dict[str, Sender]:
    """A sender for each channel, by name. Raises ConfigError for a signing secret that is none."""
    return {channel.name: _sender(config, channel, secrets) for channel in config.channel}


def _sender(config: Config, channel: ChannelConfig, secrets: Mapping[str, SecretStr]) -> Sender:
    if channel.kind == "webhook":
        return WebhookSender(channel, [secrets[name] for name in channel.secret_env])
    if channel.kind == "email":
        return EmailSender(channel, secrets.get(channel.password_env), config.shop.language)
    if channel.kind == "broker":
        return BrokerSender(channel)
    return LogSender()
