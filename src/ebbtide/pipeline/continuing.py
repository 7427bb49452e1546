"""`train --continue`: the current bundle learns from newly closed cutoffs, unless a full refit does better.

Both are judged as they would have been made at the newest closed moment, on users whose outcome neither knew. Where the
bundle is younger than that moment's outcomes, a twin stands in for it, so that no label is seen twice. The way of going
on, the weights and the calibration come from the rehearsed moments before. Nothing replaces the current bundle before
the new one is written whole.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import from_us, to_us
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.summary import evaluate
from ebbtide.events.lake import Lake
from ebbtide.models.auto import Choice, HeldOut, Learnt, choose, fit_chosen, with_newest
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.bundle import Bundle
from ebbtide.models.carry_on import Part, carry_on, parts_of
from ebbtide.models.columns import ColumnMaker, rows_with_model_columns
from ebbtide.models.makers import all_columns
from ebbtide.models.registry import MODELS, Entry, Setting
from ebbtide.models.stack import StackModel
from ebbtide.models.trainable import is_enough
from ebbtide.models.undone import learnable
from ebbtide.pipeline.continuation import Contender, Continuation
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.rehearsal import Rehearsed, choose_in_turn, rehearse
from ebbtide.pipeline.tracking import Run, track
from ebbtide.pipeline.train import Prepared, candidates_as_tuned, keep, make_bundle, newest_moment, prepare
from ebbtide.pipeline.train_report import TrainReport
from ebbtide.pipeline.verdict import judge_rehearsals

_LEAST_SHARE = 0.99
_STAGE = Text("going on at past moments", "在历史时点上继续训练")
Fitted = tuple[StackModel, tuple[ColumnMaker, ...]]


def continue_training(
    config: Config, root: Path, *, until: datetime | None = None, progress: Progress = silent
) -> TrainReport:
    """Make a bundle from the current one and what closed since, or by a full refit: the better of both; current after.

    Raises MissingBundleError without a bundle, InputError if it answers another question, reads other columns or holds
    no model that can go on, DataError if the lake is not the one it learnt from, or nothing closed since.
    """
    bundle, lake = Places(root).shelf().load(), Places(root).lake()
    until = until or newest_moment(lake)
    check_fits(bundle, config, lake, until)
    with track(config, root, "train", continued=bundle.id, until=until.isoformat()) as run:
        report = _continue(config, root, bundle, until, run, progress)
    return replace(report, problems=tuple(run.problems))


def _continue(config: Config, root: Path, bundle: Bundle, until: datetime, run: Run, progress: Progress) -> TrainReport:
    name = str(bundle.manifest["model"])
    entries, tuned = candidates_as_tuned(config, root, name)
    both = {n: MODELS[n] for n in bundle.stack.names} | entries
    ready = prepare(config, root, until=until, progress=progress, entries=both)
    race = Race.of(config, ready.with_tuned(tuned, entries), bundle, entries, progress)
    found = race.run()
    verdict = judge_rehearsals(race.gone_on if found.is_kept else race.past, ready.rows, config, ready.traits())
    setting = race.setting_at(ready.until_us)
    learnt = race.ready.learnable_now(setting, config.train.seed)
    new = make_bundle(config, race.ready, *race.winner(found, learnt.rows), setting, verdict, name, learnt)
    new.manifest["continued"] = found.to_json() | {"chain": _chain(bundle) + 1 if found.is_kept else 0}
    run.log({"log_loss_difference": found.log_loss_difference, "auroc_difference": found.auroc_difference})
    return keep(root, race.ready, new, verdict, run, continuation=found)


@dataclass(frozen=True)
class Race:
    """A full refit and the bundle gone on, rehearsed at the same past moments. `past` and `gone_on`: oldest first."""

    config: Config
    ready: Prepared
    bundle: Bundle
    entries: dict[str, Entry]
    own: dict[str, Entry]
    parts: dict[str, Part]
    settings: Mapping[int, Setting]
    past: list[Rehearsed]
    gone_on: list[Rehearsed]

    @classmethod
    def of(cls, config: Config, ready: Prepared, bundle: Bundle, entries: dict[str, Entry], progress: Progress) -> Race:
        """Rehearse both. Raises InputError, DataError if they cannot be."""
        settings = {m: ready.setting_at(m) for m in ready.people}
        own = {n: replace(entries.get(n, MODELS[n]), staged=False) for n in bundle.stack.names}
        now = rows_with_model_columns(ready.rows, settings[ready.until_us]).names
        was = (*bundle.catalogue.names, *now[len(ready.rows.names) :])
        parts = parts_of(bundle.stack, bundle.makers, own, was, now)
        _check_declared(bundle, ready)
        if not parts:
            raise InputError(
                "no model of the bundle can go on from what it knows ({names}): run `ebbtide train` without --continue",
                "该模型包中没有可继续训练的模型（{names}）：请不带 --continue 运行 `ebbtide train`",
                names=", ".join(bundle.stack.names),
            )
        seed, moments = config.train.seed, ready.held_out
        both = {n: MODELS[n] for n in own} | entries
        past = rehearse(ready.rows, moments, both, settings.__getitem__, seed=seed, progress=progress)
        race = cls(config, ready, bundle, entries, own, parts, settings, [], [])
        held = []
        for done, rehearsed in enumerate(past):
            progress(_STAGE, done, len(past))
            held += [h] if (h := race.hold_out(rehearsed.held)) else []
        progress(_STAGE, len(past), len(past))
        if not held or held[-1].moment_us != moments[0] or not len(held[-1].untreated().y):
            raise DataError(
                "the history is too short to compare going on with a full refit: run `ebbtide train` without --continue",
                "历史太短，无法比较继续训练与完全重训：请不带 --continue 运行 `ebbtide train`",
            )
        refit = choose_in_turn([r.held for r in past], entries)
        return replace(race, past=refit, gone_on=choose_in_turn(held, own))

    @property
    def until_us(self) -> int:
        """What the bundle knew."""
        return to_us(datetime.fromisoformat(str(self.bundle.manifest["until"])))

    def setting_at(self, moment_us: int) -> Setting:
        """What models need to know at a moment."""
        return self.settings[moment_us]

    def parts_at(self, moment_us: int) -> dict[str, Part] | None:
        """The bundle's parts as they could have stood before `moment_us`: themselves if they knew nothing later, else
        twins that knew as little as the bundle does now. None if those would have had nothing to learn from."""
        if self.until_us <= moment_us:
            return self.parts
        earlier_us = moment_us - (self.ready.until_us - self.until_us)
        earlier = learnable(self.rows_at(moment_us), earlier_us, seed=self.config.train.seed)
        if not is_enough(earlier):
            return None
        return {n: p.anew(earlier, seed=self.config.train.seed) for n, p in self.parts.items()}

    def rows_at(self, moment_us: int) -> Rows:
        """All rows with the model columns of a moment."""
        return rows_with_model_columns(self.ready.rows, self.setting_at(moment_us))

    def hold_out(self, refit: HeldOut) -> HeldOut | None:
        """The same held-out moment with the parts gone on, a margin for each way; other members as refitted."""
        moment, rows = refit.moment_us, self.rows_at(refit.moment_us)
        parts = self.parts_at(moment)
        if parts is None:
            return None
        seed, learnt = self.config.train.seed, refit.newest
        known = learnable(rows, moment, seed=seed)
        assert learnt is not None
        both, own = with_newest(rows, moment)
        margins = {n: refit.margins[n] for n in self.own}
        inside = {n: learnt.margins[n] for n in self.own}
        for name, part in parts.items():
            ways = np.vstack([part.more(known, seed=seed, way=way).margin(known, both) for way in part.ways])
            margins[name], inside[name] = ways[:, own], ways[:, ~own]
        return replace(refit, margins=margins, newest=Learnt(learnt.y, inside))

    def run(self) -> Continuation:
        """Make both as they would have been made at the newest closed moment, and compare them there."""
        ours, theirs = self.gone_on[-1], self.past[-1]
        moment, setting, seed = ours.held.moment_us, self.setting_at(ours.held.moment_us), self.config.train.seed
        rows = self.rows_at(moment)
        known, asked = learnable(rows, moment, seed=seed), rows.at(moment).untreated()
        parts = self.parts_at(moment)
        assert parts is not None
        begun = time.perf_counter()
        went = carry_on(known, parts, ours.choice, self.own, setting, seed=seed)
        turned = time.perf_counter()
        refitted = fit_chosen(known, theirs.choice, self.entries, setting, seed=seed)
        ended = time.perf_counter()
        p, q = _predict(went, ours.choice, asked), _predict(refitted, theirs.choice, asked)
        draws = self.config.train.bootstrap
        found = [evaluate(asked.y, s, user=asked.user, draws=draws, seed=seed).metrics for s in (p, q)]
        loss, auroc = (
            paired_difference(asked.y, p, q, user=asked.user, metric=m, draws=draws, seed=seed)
            for m in ("log_loss", "auroc")
        )
        cutoffs = self.ready.rows.moments()
        return Continuation(
            source=self.bundle.id,
            judged_at=from_us(moment),
            users=len(asked),
            by_twin=self.until_us > moment,
            new_cutoffs=int((cutoffs > _last_cutoff(self.bundle)).sum()),
            ways={n: p.ways[ours.choice.variant[n]] for n, p in self.parts.items() if ours.choice.weight[n] > 0},
            continued=Contender(found[0]["auroc"], found[0]["log_loss"], turned - begun),
            refit=Contender(found[1]["auroc"], found[1]["log_loss"], ended - turned),
            log_loss_difference=loss,
            auroc_difference=auroc,
        )

    def winner(self, found: Continuation, rows: Rows) -> tuple[Choice, Fitted]:
        """The kept one, made with everything known now (`rows`), and the choice behind it."""
        kept, entries = (self.gone_on, self.own) if found.is_kept else (self.past, self.entries)
        now = self.ready.until_us
        choice = choose([r.held for r in kept], entries, known_us=now)
        setting, seed = self.setting_at(now), self.config.train.seed
        if found.is_kept:
            return choice, carry_on(rows, self.parts, choice, entries, setting, seed=seed)
        return choice, fit_chosen(rows, choice, entries, setting, seed=seed)


def check_fits(bundle: Bundle, config: Config, lake: Lake, until: datetime) -> None:
    """May the bundle go on with this lake? Asked before anything long begins. Raises InputError, DataError."""
    definition = ChurnDefinition.from_config(config.churn)
    if bundle.definition != definition:
        raise InputError(
            "the bundle {name} answers another question ({was}) than ebbtide.toml asks ({now}): run `ebbtide train`"
            " without --continue",
            "模型 {name} 回答的问题（{was}）与 ebbtide.toml 的（{now}）不同：请不带 --continue 运行 `ebbtide train`",
            name=bundle.id,
            was=bundle.definition.describe(),
            now=definition.describe(),
        )
    if "compressed_from" in bundle.manifest:
        raise InputError(
            "{name} is a compressed form and cannot go on: promote {origin}, from which it was made, continue, and"
            " compress again",
            "{name} 是压缩形式，无法继续训练：请启用其来源 {origin}，继续训练后再压缩",
            name=bundle.id,
            origin=bundle.manifest["compressed_from"],
        )
    newest = until - timedelta(microseconds=definition.closing_us)
    if to_us(newest) <= _last_cutoff(bundle):
        raise DataError(
            "nothing new to learn from: the newest closed cutoff is {newest:%Y-%m-%d %H:%M}, and the bundle {name} learnt"
            " from that already; ingest newer events first",
            "没有新的可学内容：最近的已结束时点是 {newest:%Y-%m-%d %H:%M}，模型 {name} 已经学过；请先导入更新的事件",
            newest=newest,
            name=bundle.id,
        )
    _check_lineage(bundle, lake)


def _check_lineage(bundle: Bundle, lake: Lake) -> None:
    """The lake must hold what the bundle learnt from; a hundredth may be missing, for users may be forgotten."""
    until = datetime.fromisoformat(str(bundle.manifest["until"]))
    columns = ("occurred_at", "ingested_at")
    found = sum(len(known_events(lake.read_bucket(b, columns), until)) for b in lake.buckets())
    seen = int(bundle.manifest["data"]["events"])
    if not _LEAST_SHARE * seen <= found <= seen / _LEAST_SHARE:
        raise DataError(
            "the lake is not the one that the bundle {name} learnt from: it knew {seen:,} events at {until:%Y-%m-%d}, the"
            " lake has {found:,} of that time; run `ebbtide train` without --continue",
            "该数据湖并非模型 {name} 的学习来源：模型在 {until:%Y-%m-%d} 知道 {seen:,} 个事件，而数据湖中当时的事件为 {found:,} 个；"
            "请不带 --continue 运行 `ebbtide train`",
            name=bundle.id,
            seen=seen,
            found=found,
            until=until,
        )


def _check_declared(bundle: Bundle, ready: Prepared) -> None:
    """A column of the same name must still mean the same."""
    today = {f.name: f for f in ready.catalogue.features}
    changed = [f.name for f in bundle.catalogue.features if f.name in today and today[f.name] != f]
    if changed:
        raise InputError(
            "columns of the bundle mean something else today ({names}): run `ebbtide train` without --continue",
            "模型中的部分列如今含义不同（{names}）：请不带 --continue 运行 `ebbtide train`",
            names=", ".join(changed[:3]),
        )


def _last_cutoff(bundle: Bundle) -> int:
    return to_us(datetime.fromisoformat(str(bundle.manifest["cutoffs"][-1])))


def _chain(bundle: Bundle) -> int:
    """How many times in a row it went on without a full refit."""
    return int(bundle.manifest.get("continued", {}).get("chain", 0))


def _predict(fitted: Fitted, choice: Choice, asked: Rows) -> Vector:
    stack, makers = fitted
    margin = stack.margin(all_columns(makers, asked.X, asked.sequences))
    return sigmoid(choice.calibration.apply(margin))
