"""The registry: every model by its name."""

from __future__ import annotations

import pytest

from ebbtide.core.errors import InputError
from ebbtide.models.registry import AUTO, AUTO_DEEP, MODELS, Setting, candidates, table_candidates


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_name_gives_the_one_model_of_that_name(name):
    assert list(candidates(name)) == [name]
    entry = MODELS[name]
    assert entry.make(Setting(30.0)).name == name or (entry.makers and not entry.alone), "trees on more columns"


def test_auto_chooses_from_the_models_with_a_prior():
    entries = candidates(AUTO)
    assert list(entries) == ["bgnbd", "logistic", "forest", "lightgbm"]
    assert sum(e.prior for e in entries.values()) == pytest.approx(1.0)
    assert all(MODELS[n].prior is None for n in set(MODELS) - set(entries))


def test_auto_deep_weighs_trees_with_the_state_of_the_event_model_too():
    entries = candidates(AUTO_DEEP)
    assert list(entries) == [*candidates(AUTO), "event_boost"]
    assert entries["lightgbm"].prior == entries["event_boost"].prior
    assert sum(e.prior for e in entries.values()) == pytest.approx(1.0)
    assert MODELS["event_boost"].prior is None, "auto does without it"


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("lightgmb", "lightgbm"), ("logistics", "logistic"), ("Auto", "auto"), ("bgnb", "bgnbd")]
)
def test_a_misspelt_name_is_answered_with_the_nearest(wrong, nearest):
    with pytest.raises(
        InputError, match=rf"no model `{wrong}` \(`{nearest}`\?\); the models are auto, auto_deep, recency"
    ):
        candidates(wrong)


def test_a_name_like_no_other_is_answered_with_all_names():
    with pytest.raises(InputError) as fault:
        candidates("zzz")
    assert fault.value.text.en == f"no model `zzz`; the models are {', '.join([AUTO, AUTO_DEEP, *MODELS])}"
    assert "没有模型 `zzz`" in fault.value.text.zh


def test_a_table_is_offered_only_models_that_need_no_events():
    assert {"logistic", "lightgbm"} <= set(table_candidates(AUTO))
    assert not any(e.needs_events for e in table_candidates(AUTO).values())
    assert list(table_candidates("logistic")) == ["logistic"]


@pytest.mark.parametrize("name", ["bgnbd", "recency", "frequency", "auto_deep"])
def test_a_model_of_events_is_refused_for_a_table_with_the_reason(name):
    with pytest.raises(InputError, match=f"`{name}` learns from a customer's events, and a ready-made table has none"):
        table_candidates(name)
