"""`doctor` tells beforehand what `ebbtide serve` would refuse, or do without."""

from __future__ import annotations

import base64

import pytest
from tests.serve.test_tokens import provider

from ebbtide.core.config import Config
from ebbtide.pipeline.diagnosis import diagnosis_of
from ebbtide.serve.parts_check import part_checks

__all__ = ["provider"]
CHANNEL = {"name": "crm", "kind": "webhook", "url": "https://crm.example.org/x", "secret_env": ["EBBTIDE_TEST_HOOK"]}


def told(**parts: object) -> dict[str, tuple[str, str]]:
    found = diagnosis_of(part_checks(Config.model_validate(parts))).findings
    return {finding.check: (finding.state, finding.found.en) for finding in found}


def test_nothing_is_told_of_what_is_not_used() -> None:
    assert told() == {}


def test_a_signing_secret_that_is_none_is_found_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBTIDE_TEST_HOOK", "whsec_geheim")
    state, found = told(channel=[CHANNEL])["channels"]
    assert (state, "whsec_" in found, "geheim" in found) == ("failed", True, False)
    monkeypatch.setenv("EBBTIDE_TEST_HOOK", "whsec_" + base64.b64encode(b"n" * 32).decode())
    assert told(channel=[CHANNEL])["channels"][0] == "ok"


def test_a_provider_of_tokens_is_asked_for_its_keys(provider: str) -> None:
    assert told(serve={"oidc_issuer": provider, "oidc_audience": "a"})["tokens"] == (
        "ok",
        "the provider publishes keys: 1",
    )
    assert told(serve={"oidc_issuer": provider})["tokens"][0] == "failed"
    assert told(serve={"oidc_issuer": "http://127.0.0.1:1", "oidc_audience": "a"})["tokens"][0] == "failed"


def test_a_cache_that_is_away_is_a_warning() -> None:
    state, found = told(serve={"redis": "redis://:geheim@127.0.0.1:1"})["cache"]
    assert (state, found) == ("warning", "Redis does not answer (ConnectionError)")
