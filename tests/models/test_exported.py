"""Exported nets: the graph says what the trained net says, to any number of rows and events, and needs no company."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tests.models.test_makers_exam import add_events

from ebbtide.core.errors import DefectError, MissingExtraError
from ebbtide.core.settings import DeepConfig
from ebbtide.models.makers import MAKERS, load_makers, save_makers
from ebbtide.models.registry import Setting
from ebbtide.sequences.items.ready import ReadyEncoder
from ebbtide.sequences.items.vectors import ALWAYS, ItemVectors

torch = pytest.importorskip("torch", reason="the extra `deep` is not installed")

from ebbtide.models.basis import Basis  # noqa: E402  after torch is known to be there
from ebbtide.models.neural.export import Scaler, export  # noqa: E402
from ebbtide.models.neural.exported import ExportedColumn  # noqa: E402

NETS = sorted(name for name, maker in MAKERS.items() if maker.exports)
SETTING = Setting(30.0, deep=DeepConfig(epochs=2, hidden=16, max_len=16, learning_rate=0.01, batch=64))
ALIKE = 1e-4
"""In log-odds: what single precision may cost."""


@pytest.fixture(scope="module")
def rows(make_rows):
    return add_events(make_rows(300))


@pytest.fixture(scope="module")
def unseen(make_rows):
    return add_events(make_rows(120, seed=9), seed=9)


@pytest.fixture(scope="module")
def forms(rows, tmp_path_factory):
    """Of each net: as trained, as a graph, and as a graph in 8 bits."""
    found = {}
    for name in NETS:
        net = MAKERS[name].make(SETTING).fit(rows, seed=7)
        folder = tmp_path_factory.mktemp(name)
        export(net, folder / "onnx")
        export(net, folder / "int8", int8=True)
        found[name] = net, ExportedColumn.load(folder / "onnx"), ExportedColumn.load(folder / "int8")
    return found


def asked(column, rows):
    return column.columns(rows.X, rows.sequences)


def test_every_neural_column_can_be_exported():
    assert NETS == ["cnn", "cnn_rnn", "event_model", "event_state", "lstm", "rnn", "transformer"]
    assert all(hasattr(MAKERS[name].make(SETTING), "parts") for name in NETS)


@pytest.mark.parametrize("name", NETS)
def test_the_graph_says_what_the_trained_net_says(name, forms, unseen):
    net, graph, _ = forms[name]
    odd = replace(unseen, X=np.where(np.random.default_rng(0).random(unseen.X.shape) < 0.3, np.nan, unseen.X))
    for rows in (unseen, odd):
        np.testing.assert_allclose(asked(graph, rows), asked(net, rows), rtol=0, atol=ALIKE)
    assert graph.declarations() == net.declarations()


@pytest.mark.parametrize("name", NETS)
def test_eight_bits_rank_as_the_net_does(name, forms, unseen):
    net, _, small = forms[name]
    one, other = asked(net, unseen), asked(small, unseen)
    assert all(np.corrcoef(a, b)[0, 1] > 0.98 for a, b in zip(one.T, other.T, strict=True))
    assert one.tobytes() != other.tobytes(), "nothing was rounded"


@pytest.mark.parametrize("name", NETS)
def test_one_graph_takes_any_number_of_rows_and_events(name, forms, unseen):
    """Rows together, padded, get what each gets alone, to what single precision allows."""
    _, graph, _ = forms[name]
    rng, kinds = np.random.default_rng(0), graph.vocabulary.sizes
    for count, events in ((1, 1), (5, 3), (2, 40)):
        inputs = {
            "codes": np.stack([rng.integers(0, k, (count, events)) for k in kinds], axis=-1),
            "numbers": rng.random((count, events, 2), np.float32),
            "length": np.arange(count) % events + 1,
        }
        if graph.about["reads_base"]:
            inputs["base"] = unseen.X[:count]
        together = graph.session.run(None, inputs)[0]
        assert together.reshape(count, -1).shape == (count, len(graph.declarations()))
        for i, length in enumerate(inputs["length"]):
            own = {k: v[i : i + 1] for k, v in inputs.items()}
            own |= {k: own[k][:, :length] for k in ("codes", "numbers")}
            np.testing.assert_allclose(graph.session.run(None, own)[0], together[i : i + 1], rtol=0, atol=ALIKE)


@pytest.mark.parametrize("name", NETS)
def test_company_and_order_do_not_change_a_bit(name, forms, unseen):
    order = np.random.default_rng(0).permutation(len(unseen))
    for column in forms[name][1:]:
        together = asked(column, unseen)
        assert asked(column, unseen.take(order)).tobytes() == together[order].tobytes()
        alone = [asked(column, unseen.take(np.array([i]))) for i in range(20)]
        assert np.concatenate(alone).tobytes() == together[:20].tobytes()


def test_a_saved_graph_answers_bit_for_bit_and_takes_the_place_of_its_net(forms, unseen, tmp_path):
    graphs = [small for _, _, small in forms.values()]
    save_makers(tmp_path / "makers", graphs)
    again = load_makers(tmp_path / "makers")
    assert [(g.name, g.form) for g in again] == [(g.name, "int8") for g in graphs]
    for one, other in zip(graphs, again, strict=True):
        assert asked(one, unseen).tobytes() == asked(other, unseen).tobytes()
    assert {f.suffix for f in (tmp_path / "makers").rglob("*") if f.is_file()} == {".json", ".onnx"}


def test_item_vectors_are_in_the_graph_each_from_its_moment_on(rows, unseen, tmp_path):
    """Some items have a second version from the middle of the log on."""
    rng, hashes = np.random.default_rng(0), np.unique(unseen.sequences.log.item)[1:]
    turn_us = int(np.median(unseen.as_of_us))
    item, since = np.r_[hashes, hashes[::2]], np.r_[np.full(len(hashes), ALWAYS), np.full(len(hashes[::2]), turn_us)]
    order = np.lexsort((since, item))
    vector = rng.normal(size=(len(item), 6)).astype(np.float32)
    items = ItemVectors(ReadyEncoder(), 1.0, item[order], since[order], vector, Counter())
    net = MAKERS["cnn_rnn"].make(replace(SETTING, item_vectors=items)).fit(rows, seed=3)
    export(net, tmp_path / "net")
    ExportedColumn.load(tmp_path / "net").save(tmp_path / "copy")
    graph = ExportedColumn.load(tmp_path / "copy")
    np.testing.assert_allclose(asked(graph, unseen), asked(net, unseen), rtol=0, atol=ALIKE)
    earlier = replace(graph, items=(graph.items[0], np.where(graph.items[1] == turn_us, 2**62, graph.items[1])))
    changed = np.abs(asked(earlier, unseen) - asked(graph, unseen))[:, 0] > 1e-6
    assert changed[unseen.as_of_us >= turn_us].any()
    assert not changed[unseen.as_of_us < turn_us].any()


def test_an_event_model_with_attention_is_exported_too(rows, unseen, tmp_path):
    deep = SETTING.deep.model_copy(update={"encoder": "transformer", "epochs": 1})
    net = MAKERS["event_state"].make(replace(SETTING, deep=deep)).fit(rows, seed=7)
    export(net, tmp_path)
    np.testing.assert_allclose(asked(ExportedColumn.load(tmp_path), unseen), asked(net, unseen), rtol=0, atol=ALIKE)


def test_nobody_gets_no_columns(forms, unseen):
    assert asked(forms["rnn"][1], unseen.take(np.zeros(0, np.int64))).shape == (0, 1)


def test_eight_bits_take_less_room(make_rows, tmp_path):
    wide = replace(SETTING, deep=SETTING.deep.model_copy(update={"hidden": 64, "epochs": 1}))
    net = MAKERS["lstm"].make(wide).fit(add_events(make_rows(200)), seed=1)
    export(net, tmp_path / "onnx")
    export(net, tmp_path / "int8", int8=True)
    full, small = ((tmp_path / form / "net.onnx").stat().st_size for form in ("onnx", "int8"))
    assert small < full / 2


def test_the_scaler_in_the_graph_is_the_basis(make_rows):
    """Also beyond the range of training, at infinity, and where a value is missing."""
    X = make_rows(500).X
    basis = Basis.fit(X)
    odd = np.vstack([X, 1e6 * X, np.full_like(X[:1], np.nan), np.full_like(X[:1], -1e30)])
    made = Scaler(basis)(torch.from_numpy(odd)).numpy()
    np.testing.assert_allclose(made, basis.design(odd), rtol=0, atol=1e-4)


def test_what_was_exported_is_not_trained_again(forms, rows):
    with pytest.raises(DefectError, match="cannot be trained"):
        forms["rnn"][1].fit(rows, seed=0)


def test_an_unfitted_net_is_not_exported(tmp_path):
    with pytest.raises(DefectError, match="before it is fitted"):
        export(MAKERS["rnn"].make(SETTING), tmp_path)


def test_without_onnx_runtime_the_extra_is_named(forms, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("ebbtide.models.neural.exported.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"ebbtide\[deep\]"):
        ExportedColumn.load(forms["rnn"][1].folder)
