"""The model card: everything that a reader must know, in both languages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ebbtide.pipeline.card import model_card
from ebbtide.pipeline.verdict import Verdict


@pytest.fixture(scope="module")
def halves(trained):
    card = (trained.shop.shelf.folder / trained.bundle.id / "model_card.md").read_text(encoding="utf-8")
    return card.split("\n---\n")


def test_the_card_is_told_twice_with_the_same_shape(halves):
    en, zh = halves
    assert en.count("## ") == zh.count("## ") == 7
    assert en.count("|") == zh.count("|") > 20
    assert "## Question" in en
    assert "## 问题" in zh


def test_the_card_says_question_data_model_figures_and_limits(halves, trained):
    en, manifest = halves[0], trained.bundle.manifest
    assert en.startswith(f"# Shop: {trained.bundle.id}")
    assert trained.bundle.definition.describe().en in en
    assert f"{manifest['data']['events']:,} events of {manifest['data']['users']:,} users" in en
    assert f"{manifest['rows']:,} rows at 8 cutoffs, {trained.report.columns} columns, seed 0" in en
    assert trained.report.sufficiency.text.en in en
    for name, weight in trained.report.weights.items():
        assert f"{name} {weight:.2f}" in en
    for line in trained.report.verdict.lines():
        assert line.en in en
    assert "not a proven cause" in en


def test_every_past_moment_and_slice_has_a_line(halves, trained):
    for half in halves:
        for moment in trained.report.verdict.backtest:
            assert f"| {moment.as_of:%Y-%m-%d} | {moment.users:,} |" in half
        for one in trained.report.verdict.test.slices:
            assert f"{one.group}: {one.label} | {one.rows:,} |" in half


def test_tables_are_whole(halves):
    """Every line of a table has as many cells as its head."""
    for block in "\n".join(halves).split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_nothing_is_left_unfilled(halves):
    for half in halves:
        assert "{" not in half
        assert "None" not in half
        assert "nan" not in half


def test_a_bundle_that_could_not_be_tested_says_so(trained):
    card = model_card(trained.bundle, Verdict(None, None, ()), trained.report.sufficiency)
    assert "no honest figure can be given yet" in card
    assert "## Backtest" not in card


def test_the_card_speaks_of_the_bundle_s_own_stack(trained):
    members, weights = trained.bundle.stack.members[:1], [1.0]
    alone = replace(trained.bundle, stack=type(trained.bundle.stack)(members, weights))
    card = model_card(alone, trained.report.verdict, trained.report.sufficiency)
    assert f"weights in log-odds: {members[0].name} 1.00;" in card
