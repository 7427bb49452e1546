"""The frozen state as columns: what a model from elsewhere tells more than one that was pretrained here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.models.test_makers_exam import add_events

from ebbtide.core.config import DeepConfig
from ebbtide.core.errors import InputError
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.models.event_model.columns import EventState
from ebbtide.models.event_model.pretrained import Pretrained, new_net
from ebbtide.models.event_model.sizes import EventModelConfig
from ebbtide.models.makers import load_makers, save_makers
from ebbtide.models.registry import Setting

PORTABLE = (25, 2, 2, 2, 18, 8, 7, 25, 8, 4)


@pytest.fixture(scope="module")
def rows(make_rows):
    return add_events(make_rows(80))


def kept(folder: Path, items: int, sizes: tuple[int, ...]) -> str:
    config = EventModelConfig(width=16, heads=2, items=items, max_len=16)
    Pretrained(config, sizes, new_net(config, sizes, "cpu", 0).eval()).save(folder)
    return str(folder)


def test_a_model_from_elsewhere_tells_what_it_expects(rows, tmp_path):
    deep = DeepConfig(pretrained=kept(tmp_path / "model", 0, PORTABLE))
    maker = EventState(Setting(30.0, deep=deep)).fit(rows, seed=0)
    told = [c.name for c in maker.declarations()]
    assert told[16:] == [f"event_next_{kind}" for kind in EVENT_TYPES]
    columns = maker.columns(rows.X, rows.sequences)
    assert columns.shape == (len(rows), len(told))
    assert np.isfinite(columns).all()
    save_makers(tmp_path / "makers", [maker])
    (again,) = load_makers(tmp_path / "makers")
    assert again.columns(rows.X, rows.sequences).tobytes() == columns.tobytes()


def test_a_net_that_saw_the_labels_windows_tells_its_state_alone(rows):
    deep = DeepConfig(epochs=1, max_len=16, learning_rate=0.01)
    maker = EventState(Setting(30.0, deep=deep)).fit(rows, seed=0)
    assert all(c.name.startswith("event_state_") for c in maker.declarations())


def test_a_model_that_knows_names_of_another_shop_is_refused_in_words(rows, tmp_path):
    deep = DeepConfig(pretrained=kept(tmp_path / "model", 50, (25, 40, 9, 5, 18, 8, 7, 25, 8, 4)))
    with pytest.raises(InputError, match="pretrain with `--portable`"):
        EventState(Setting(30.0, deep=deep)).fit(rows, seed=0)
