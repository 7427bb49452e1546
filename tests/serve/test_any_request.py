"""Whatever comes: requests made from the OpenAPI description, right and wrong ones, and any bytes as a body.

`EBBTIDE_TEST_CASES` says how many cases an address (a few in CI; thousands by hand).
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case
from schemathesis.generation import GenerationMode
from tests.serve.conftest import Site

from ebbtide.serve.problems import TITLES

CASES = int(os.environ.get("EBBTIDE_TEST_CASES", "15"))
HOW = settings(
    max_examples=CASES,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
    database=None,
)


def check(answer: Any) -> None:
    """No defect, and every refusal is a problem of the closed list."""
    assert answer.status_code < 500 or answer.status_code == 503, answer.text[:300]
    if answer.status_code >= 400:
        told = answer.json()
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert TITLES[told["code"]][0] == answer.status_code


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_of_the_description_breaks_the_service(site: Site, mode: GenerationMode) -> None:
    site.service.gate._burst = 10**9
    schema = schemathesis.openapi.from_dict(site.client.get("/v1/openapi.json").json())
    headers = {"Authorization": f"Bearer {site.key('admin')}"}
    seen = 0
    for found in schema.get_all_operations():
        operation, before = found.ok(), seen

        @HOW
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Case) -> None:
            nonlocal seen
            seen += 1
            told = case.as_transport_kwargs(base_url="http://testserver", headers=headers)
            told = {
                k: v for k, v in told.items() if k in ("method", "url", "params", "json", "data", "headers", "cookies")
            }
            content = told.pop("data", None)
            if isinstance(content, bytes | str):
                told["content"] = content
            try:
                request = site.client.build_request(**told)
            except (ValueError, TypeError, UnicodeError):
                return  # a client cannot send this
            check(site.client.send(request))

        with suppress(Unsatisfiable):  # nothing can be wrong about a call without parameters
            ask()
        assert seen >= before + CASES or not operation.definition.raw.get("requestBody"), operation.label
    assert seen > CASES


def test_the_description_leads_nowhere_that_is_not_there(site: Site) -> None:
    told = site.client.get("/v1/openapi.json").json()
    for target in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(told)):
        part = told
        for name in target.split("/"):
            assert name in part, target
            part = part[name]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def test_no_body_breaks_the_intake_and_no_garbage_is_accepted(site: Site) -> None:
    site.service.gate._burst = 10**9
    secret = site.key("events:write")
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    @settings(HOW, max_examples=20 * CASES)
    @given(st.binary(max_size=200) | _JSON | st.builds(lambda events: {"events": events}, st.lists(_JSON, max_size=4)))
    def send(body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = site.client.post("/v1/events", content=content, headers=headers)
        check(answer)
        if answer.status_code == 202:
            assert answer.json()["accepted"] == 0  # none of these has a user, a moment and a type at once

    send()
    assert site.service.shops["shop"].inbox.newest("shop") == 0
