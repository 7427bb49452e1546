"""The exam of column makers: every one of the registry is found and put through the same laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.core.errors import DataError
from ebbtide.core.settings import DeepConfig
from ebbtide.features.families import FAMILIES
from ebbtide.models.auto import MadeColumns
from ebbtide.models.base import Rows
from ebbtide.models.makers import MAKERS, load_makers, save_makers
from ebbtide.models.registry import MODELS, Setting
from ebbtide.models.stack import read
from ebbtide.sequences.event_log import EventLog, Sequences

DAY_US = 86_400_000_000
NAMES = sorted(MAKERS)
READERS = sorted(name for name, entry in MODELS.items() if entry.makers)
SETTING = Setting(30.0, deep=DeepConfig(epochs=4, hidden=16, max_len=16, learning_rate=0.01, batch=64))


def add_events(rows: Rows, seed: int = 0) -> Rows:
    """Every row's user gets views before the moment: churners leave with a search after each view, others with an order."""
    rng = np.random.default_rng(seed)
    count = rng.integers(2, 9, len(rows))
    start = np.concatenate([[0], np.cumsum(count)])
    owner = np.repeat(np.arange(len(rows)), count)
    place = np.arange(start[-1]) - start[owner]
    time = rows.as_of_us[owner] - (count[owner] - place) * DAY_US
    told = np.where(rows.y[owner] == 1, 2, 12) + (place % 2)
    log = EventLog(
        start=start,
        time=time,
        known=time.copy(),
        type=np.where(rng.random(start[-1]) < 0.8, told, 4).astype(np.uint8),
        item=rng.integers(0, 20, start[-1]).astype(np.uint64),
        category=rng.integers(0, 3, start[-1]).astype(np.uint64),
        channel=np.zeros(start[-1], np.uint64),
        price=rng.gamma(2, 20, start[-1]).astype(np.float32),
        quantity=np.ones(start[-1], np.float32),
        rating=np.full(start[-1], np.nan, np.float32),
    )
    return replace(rows, sequences=Sequences(log, np.arange(len(rows)), rows.as_of_us))


@pytest.fixture(scope="module")
def rows(make_rows) -> Rows:
    return add_events(make_rows(400))


@pytest.fixture(scope="module")
def unseen(make_rows) -> Rows:
    return add_events(make_rows(120, seed=9), seed=9)


@pytest.fixture(scope="module")
def fitted(rows):
    return {name: MAKERS[name].make(SETTING).fit(rows, seed=7) for name in NAMES}


def made(maker, rows):
    return maker.columns(rows.X, rows.sequences)


def test_every_maker_sits_the_exam():
    assert NAMES == [
        "cnn", "cnn_rnn", "event_model", "event_state", "factors", "lstm", "pca", "rnn", "segments", "transformer", "vae_code",
    ]  # fmt: skip
    assert READERS == [
        "cnn",
        "cnn_rnn",
        "event_boost",
        "event_line",
        "event_model",
        "lstm",
        "rnn",
        "transformer",
        "vae",
    ]
    assert all(MAKERS[n].make(SETTING).name == n for n in NAMES)


def test_only_readers_read_what_was_learnt_from_labels():
    for name in READERS:
        entry = MODELS[name]
        if any(MAKERS[m].learns_labels for m in entry.makers):
            assert entry.alone, f"{name} would learn from columns that know its labels"


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_declared_in_words_of_both_languages(name, fitted, unseen):
    told = fitted[name].declarations()
    assert made(fitted[name], unseen).shape == (len(unseen), len(told))
    assert len({c.name for c in told}) == len(told)
    assert all(c.description.en and c.description.zh and c.family in FAMILIES for c in told)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_not_changed(name, fitted, make_rows, unseen):
    fresh = add_events(make_rows(120, seed=9), seed=9)
    made(fitted[name], unseen)
    assert unseen.X.tobytes() == fresh.X.tobytes()
    assert unseen.sequences.log.type.tobytes() == fresh.sequences.log.type.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_columns(name, rows, unseen, fitted):
    again = MAKERS[name].make(SETTING).fit(rows, seed=7)
    assert made(again, unseen).tobytes() == made(fitted[name], unseen).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_company_and_order_do_not_matter(name, unseen, fitted):
    together, order = made(fitted[name], unseen), np.random.default_rng(0).permutation(len(unseen))
    np.testing.assert_allclose(made(fitted[name], unseen.take(order)), together[order], rtol=0, atol=1e-9)
    alone = np.concatenate([made(fitted[name], unseen.take(np.array([i]))) for i in range(10)])
    np.testing.assert_allclose(alone, together[:10], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_saved_makers_answer_bit_for_bit(name, unseen, fitted, tmp_path):
    save_makers(tmp_path / "makers", [fitted[name]])
    (again,) = load_makers(tmp_path / "makers")
    assert made(again, unseen).tobytes() == made(fitted[name], unseen).tobytes()
    kinds = {f.suffix for f in (tmp_path / "makers").rglob("*") if f.is_file()}
    assert kinds <= {".json", ".npz", ".safetensors", ".txt"}, "nothing pickled"


@pytest.mark.parametrize("name", NAMES)
def test_nobody_gets_no_columns(name, unseen, fitted):
    assert len(made(fitted[name], unseen.take(np.zeros(0, np.int64)))) == 0


@pytest.mark.parametrize("name", [name for name in NAMES if MAKERS[name].reads_events])
def test_no_event_after_the_moment_changes_a_column(name, unseen, fitted):
    """Events move into the future, or arrive only then: the row is that of a log without them."""
    log = unseen.sequences.log
    late = np.random.default_rng(0).random(len(log.time)) < 0.3
    later = replace(log, known=np.where(late, log.time + 10_000 * DAY_US, log.known))
    keep = np.flatnonzero(~late)
    owner = np.repeat(np.arange(len(log)), np.diff(log.start))
    start = np.concatenate([[0], np.cumsum(np.bincount(owner[keep], minlength=len(log)))])
    columns = {f: getattr(log, f)[keep] for f in vars(log) if f != "start"}
    without = EventLog(start=start, **columns)
    one = fitted[name].columns(unseen.X, replace(unseen.sequences, log=later))
    other = fitted[name].columns(unseen.X, replace(unseen.sequences, log=without))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_finite_whatever_comes(name, unseen, fitted):
    odd = replace(unseen, X=np.where(np.random.default_rng(0).random(unseen.X.shape) < 0.3, np.nan, unseen.X))
    assert np.isfinite(made(fitted[name], odd)).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_class_is_refused_or_borne(name, rows):
    one_class = replace(rows, y=np.ones(len(rows)))
    if MAKERS[name].learns_labels:
        with pytest.raises(DataError, match="both churned and retained"):
            MAKERS[name].make(SETTING).fit(one_class, seed=7)
    else:
        MAKERS[name].make(SETTING).fit(one_class, seed=7)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_ranks_unseen_users_better_than_chance(name, rows, unseen):
    entry = MODELS[name]
    seen = MadeColumns(rows, SETTING, 7)
    model = entry.make(SETTING).fit(seen.rows_for(entry, rows), seed=7)
    margin = model.margin(seen.rows_for(entry, unseen).X)
    order = np.argsort(np.argsort(margin))
    assert order[unseen.y == 1].mean() > order[unseen.y == 0].mean() + 0.15 * len(unseen)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_finds_its_columns_in_a_bundle(name, rows, unseen):
    """Where its columns stand beside those of all makers is where it reads them."""
    entry = MODELS[name]
    seen = MadeColumns(rows, SETTING, 7)
    own = seen.rows_for(entry, unseen).X
    whole = np.column_stack([unseen.X, *(made(m, unseen) for m in seen.makers)])
    assert read(whole, seen.reads_of(entry)).tobytes() == np.ascontiguousarray(own).tobytes()
