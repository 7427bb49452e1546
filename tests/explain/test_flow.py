"""The flow counts every user of the later moment once."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.explain.flow import UNKNOWN, flow_between
from ebbtide.explain.stages import STAGES

STAGE = st.sampled_from(list(STAGES))


@given(then=st.dictionaries(st.integers(0, 30), STAGE), later=st.dictionaries(st.integers(0, 30), STAGE, min_size=1))
def test_rows_and_columns_add_up(as_of, then, later):
    now = then | later  # who is known stays known
    frames = [pl.DataFrame({"user_id": list(d), "stage": list(d.values())}, schema={"user_id": pl.Int64, "stage": pl.String}) for d in (then, now)]  # fmt: skip
    flow = flow_between(*frames, STAGES, as_of, as_of)
    for code in STAGES:
        assert sum(flow.users[code].values()) == list(then.values()).count(code)
        assert sum(row[code] for row in flow.users.values()) == list(now.values()).count(code)
    assert sum(flow.users[UNKNOWN].values()) == len(now) - len(then)
