"""`train`: from the lake to a bundle that carries honest figures.

Survey, sufficiency gate, cohorts, features; the rehearsal at past moments (the figures); then the same policy fitted
on all closed moments (the bundle).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.sufficiency import Sufficiency, judge_sufficiency
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError, MissingError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import from_us
from ebbtide.events.lake import Lake
from ebbtide.events.sentiment.scorer import Sentiment
from ebbtide.features.catalogue import Catalogue, default_catalogue
from ebbtide.features.user_file import load_user_features
from ebbtide.models.auto import Choice, choose, fit_chosen
from ebbtide.models.base import Rows
from ebbtide.models.bgnbd import COLUMNS as BGNBD_COLUMNS
from ebbtide.models.bgnbd import BgNbd, fit_bgnbd
from ebbtide.models.bundle import Bundle, write_bundle
from ebbtide.models.columns import ColumnMaker, rows_with_model_columns
from ebbtide.models.gamma_gamma import GammaGamma, fit_gamma_gamma
from ebbtide.models.registry import Entry, Setting, candidates, read_items, read_sequences
from ebbtide.models.stack import StackModel
from ebbtide.models.trainable import check_trainable
from ebbtide.models.undone import Learnable, learn_from
from ebbtide.pipeline.card import model_card
from ebbtide.pipeline.comeback import Ground, fit_comeback
from ebbtide.pipeline.continuation import Continuation
from ebbtide.pipeline.dataset import (
    LABEL_COLUMNS,
    Population,
    Survey,
    collect,
    label,
    populations,
    sample_cohorts,
    survey,
)
from ebbtide.pipeline.item_vectors import fit_item_vectors
from ebbtide.pipeline.manifest import describe_run
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.profile_reference import survey_reference
from ebbtide.pipeline.rehearsal import (
    MOST_HELD_OUT,
    held_out_moments,
    rehearse,
    training_moments,
    usual_values,
)
from ebbtide.pipeline.tone import sentiment_for
from ebbtide.pipeline.tracking import Run, track
from ebbtide.pipeline.train_report import TrainReport
from ebbtide.pipeline.traits import TRAIT_COLUMNS, TRAITS, latest_traits
from ebbtide.pipeline.treated import TreatedRows, check_untreated, known_exposures, treated_rows
from ebbtide.pipeline.tuned import Tuned, load_tuned
from ebbtide.pipeline.verdict import Verdict, judge_rehearsals
from ebbtide.sequences.items.vectors import ItemVectors


@dataclass(frozen=True)
class Prepared:
    """Everything that fitting needs: rows of all closed moments and what was known of all users at some of them.

    `item_vectors` fits them on the items known at a moment; None where no model asked for them.
    """

    lake: Lake
    definition: ChurnDefinition
    until_us: int
    seen: Survey
    gate: Sufficiency
    catalogue: Catalogue
    rows: Rows
    sampled: float
    held_out: list[int]
    people: dict[int, Population]
    base: Setting
    sentiment: Sentiment
    tuned: dict[str, Tuned] = field(default_factory=dict)
    item_vectors: Callable[[datetime], ItemVectors | None] | None = None

    def traits(self) -> pl.DataFrame | None:
        """Country, channel and device of the users at the newest rehearsed moment; None where the log has none."""
        if not self.held_out or not self.seen.capabilities & set(TRAITS):
            return None
        shards = (self.lake.read_bucket(b, TRAIT_COLUMNS) for b in self.lake.buckets())
        return latest_traits(shards, from_us(self.held_out[0]))

    def setting_at(self, moment_us: int) -> Setting:
        """BG/NBD fitted on all users known at a moment, and the vectors of the items known then."""
        return replace(
            self.base,
            bgnbd=self.bgnbd_at(moment_us),
            tuned={name: t.settings for name, t in self.tuned.items()},
            item_vectors=self.item_vectors and self.item_vectors(from_us(moment_us)),
        )

    def learnable_now(self, setting: Setting, seed: int) -> Learnable:
        """What the bundle may learn from: all closed moments, treated rows as the config wants them."""
        return learn_from(rows_with_model_columns(self.rows, setting), self.until_us, seed=seed)

    def bgnbd_at(self, moment_us: int) -> BgNbd | None:
        """BG/NBD fitted on all users known at a moment; None if nobody was."""
        p = self.people[moment_us]
        return fit_bgnbd(p.x, p.t_x, p.age) if len(p.x) else None

    def with_tuned(self, tuned: dict[str, Tuned], entries: dict[str, Entry]) -> Prepared:
        """The same with tuned settings. Raises InputError or DataError if they do not fit."""
        for name, found in tuned.items():
            found.check(self.definition, entries[name].space, self.held_out[0] if self.held_out else None)
        return replace(self, tuned=tuned)


_FITTING = Text("fitting on all closed moments", "用全部已结束时点拟合")


def train(
    config: Config,
    root: Path,
    *,
    until: datetime | None = None,
    model: str | None = None,
    progress: Progress = silent,
) -> TrainReport:
    """Train a bundle on what was known at `until` (default: the newest event) and make it current.

    Raises SufficiencyError if the data cannot answer the question, InputError for an unknown model, MissingError
    without a lake, or without tuned settings where the config wants them.
    """
    name = model or config.train.model
    entries, tuned = candidates_as_tuned(config, root, name)
    with track(config, root, "train", model=name, until=until and until.isoformat()) as run:
        report = _train(config, root, until, name, entries, tuned, run, progress)
    return replace(report, problems=tuple(run.problems))


def candidates_as_tuned(config: Config, root: Path, name: str) -> tuple[dict[str, Entry], dict[str, Tuned]]:
    """The models that take part, and what was tuned of them if the config wants it. Raises InputError, MissingError."""
    entries = candidates(name)
    tuned = load_tuned(root, [n for n, e in entries.items() if e.space]) if config.train.tuned else {}
    return entries | {n: entries[n].with_values(t.settings) for n, t in tuned.items()}, tuned


def _train(
    config: Config,
    root: Path,
    until: datetime | None,
    name: str,
    entries: dict[str, Entry],
    tuned: dict[str, Tuned],
    run: Run,
    progress: Progress,
) -> TrainReport:
    ready = prepare(config, root, until=until, progress=progress, entries=entries).with_tuned(tuned, entries)
    checkpoints = Places(root).home / "checkpoints"
    ready = replace(ready, base=replace(ready.base, checkpoints=checkpoints))
    settings = {m: ready.setting_at(m) for m in ready.people}
    past = rehearse(
        ready.rows, ready.held_out, entries, settings.__getitem__, seed=config.train.seed, progress=progress
    )
    verdict = judge_rehearsals(past, ready.rows, config, ready.traits())
    progress(_FITTING, 0, 1)
    setting = settings[ready.until_us]
    choice = choose([r.held for r in past], entries, known_us=ready.until_us)
    learnt = ready.learnable_now(setting, config.train.seed)
    fitted = fit_chosen(learnt.rows, choice, entries, setting, seed=config.train.seed)
    bundle = make_bundle(config, ready, choice, fitted, setting, verdict, name, learnt)
    report = keep(root, ready, bundle, verdict, run)
    shutil.rmtree(checkpoints, ignore_errors=True)
    progress(_FITTING, 1, 1)
    return report


def keep(
    root: Path, ready: Prepared, bundle: Bundle, verdict: Verdict, run: Run, continuation: Continuation | None = None
) -> TrainReport:
    """Write the bundle, make it current, and tell of it."""
    shelf = Places(root).shelf()
    write_bundle(shelf.folder, bundle, model_card(bundle, verdict, ready.gate))
    shelf.promote(bundle.id)
    run.note(result=bundle.id, data=bundle.manifest["data"], versions=bundle.manifest["versions"])
    run.log(verdict.test.metrics if verdict.test else {})
    return TrainReport(
        bundle=bundle.id,
        model=str(bundle.manifest["model"]),
        until=from_us(ready.until_us),
        definition=ready.definition,
        rows=int(bundle.manifest["rows"]),
        users=int(bundle.manifest["users"]),
        columns=len(bundle.columns),
        moments=len(ready.rows.moments()),
        sampled=ready.sampled,
        weights=_weights(bundle),
        sufficiency=ready.gate,
        verdict=verdict,
        tuned=ready.tuned,
        continuation=continuation,
        comeback=Text(**bundle.manifest["comeback"]),
        treated=TreatedRows.from_json(bundle.manifest["treated"]),
    )


def prepare(
    config: Config,
    root: Path,
    *,
    until: datetime | None,
    progress: Progress,
    held_out: int = MOST_HELD_OUT,
    entries: Mapping[str, Entry] | None = None,
) -> Prepared:
    """Survey the lake, pass the sufficiency gate, and compute the rows of all closed moments, `held_out` of which
    will be rehearsed; with the events behind them and with item vectors where one of the models reads those.

    Raises SufficiencyError, or DataError if the rows cannot be learnt from: now, not in the last of many fits.
    """
    lake = Places(root).lake()
    definition = ChurnDefinition.from_config(config.churn)
    until = until or newest_moment(lake)
    seen = survey(lake, definition, until, progress)
    gate = judge_sufficiency(
        lambda: (lake.read_bucket(b, LABEL_COLUMNS) for b in lake.buckets()), definition, until=until
    )
    gate.check()
    moments = training_moments(seen.first_outcome_us, seen.until_us, definition, config.train.max_cutoffs)
    cohorts = label(lake, definition, moments, until, progress)
    used, share = sample_cohorts(cohorts, config.train.max_rows, config.train.seed)
    catalogue = shop_catalogue(config, root, definition, seen)
    rehearsed = held_out_moments(moments, definition.closing_us, held_out)
    wanted = [*rehearsed, seen.until_us]
    sentiment = sentiment_for(lake, seen, rehearsed)
    with_events = read_sequences(entries or {})
    rows = collect(
        lake,
        definition,
        catalogue,
        used,
        seen.items,
        progress,
        with_events=with_events,
        sentiment=sentiment,
        exposures=known_exposures(lake, until, config.train.treated),
    )
    check_untreated(rows, until)
    check_trainable(rows.known_at(seen.until_us))
    return Prepared(
        lake=lake,
        definition=definition,
        until_us=seen.until_us,
        seen=seen,
        gate=gate,
        catalogue=catalogue,
        rows=rows,
        sentiment=sentiment,
        sampled=share,
        held_out=rehearsed,
        people=populations(lake, definition, wanted, share, config.train.seed, progress),
        base=Setting(
            definition.horizon_days,
            deep=config.deep,
            augment=config.augment,
            makers=tuple(config.features.unsupervised),
            progress=progress,
        ),
        item_vectors=_item_vectors(config, root, lake) if read_items(entries or {}) else None,
    )


def _item_vectors(config: Config, root: Path, lake: Lake) -> Callable[[datetime], ItemVectors | None]:
    items = lake.read_table("items")
    return lambda until: fit_item_vectors(config, root, items, until)


def newest_moment(lake: Lake) -> datetime:
    """The moment at which the newest event was known."""
    last = lake.summary().last_ingested_us
    if last is None:
        raise MissingError(
            "the lake holds no events yet: run `ebbtide ingest`", "数据湖中还没有事件：请运行 `ebbtide ingest`"
        )
    return from_us(last)


def shop_catalogue(config: Config, root: Path, definition: ChurnDefinition, seen: Survey) -> Catalogue:
    """The shipped features that the log supports, the shop's own, less those that the config drops; the three columns
    that BG/NBD stands on always stay."""
    catalogue = default_catalogue(definition, seen.history_days)
    if config.features.file:
        catalogue = catalogue.extended(load_user_features(root / config.features.file))
    left = catalogue.drop(config.features.drop).names
    return catalogue.keep((*left, *BGNBD_COLUMNS)).available(seen.capabilities)


def make_bundle(
    config: Config,
    ready: Prepared,
    choice: Choice,
    fitted: tuple[StackModel, tuple[ColumnMaker, ...]],
    setting: Setting,
    verdict: Verdict,
    name: str,
    learnt: Learnable,
) -> Bundle:
    """The bundle of a stack that was fitted, as chosen, on all that may be learnt from closed moments."""
    (stack, makers), rows = fitted, learnt.rows
    moments = [int(m) for m in rows.moments()]
    comeback, told = fit_comeback(_ground(config, ready, moments))
    return Bundle(
        manifest=describe_run(
            ready.lake, ready.seen, rows, moments, model=name, sampled=ready.sampled, seed=config.train.seed
        )
        | {"tuned": {n: t.to_json() for n, t in ready.tuned.items()}, "comeback": vars(told)}
        | {"treated": treated_rows(ready.rows, learnt).to_json()},
        config=config,
        definition=ready.definition,
        catalogue=ready.catalogue,
        stack=stack,
        makers=makers,
        calibration=choice.calibration,
        items=ready.seen.items,
        bgnbd=setting.bgnbd,
        gamma_gamma=_order_values(ready.people[ready.until_us], ready.seen),
        usual=usual_values(rows),
        metrics=verdict.to_json(),
        choice={
            "weight": choice.weight,
            "variant": choice.variant,
            "calibration": choice.calibration.to_json(),
            "history": [h.to_json() for h in choice.history],
        },
        sentiment=ready.sentiment,
        profiles=survey_reference(
            ready.lake, ready.definition, from_us(ready.until_us), config, ready.base.progress
        ).to_json(),
        comeback=comeback,
    )


def _ground(config: Config, ready: Prepared, moments: Sequence[int]) -> Ground:
    """What the model of coming back stands on: the same columns and moments, without nets and item vectors."""
    return Ground(
        lake=ready.lake,
        definition=ready.definition,
        catalogue=ready.catalogue,
        items=ready.seen.items,
        sentiment=ready.sentiment,
        until_us=ready.until_us,
        moments=moments,
        held_out=ready.held_out,
        setting_at=lambda at: Setting(ready.definition.horizon_days, ready.bgnbd_at(at), progress=ready.base.progress),
        max_rows=config.train.max_rows,
        draws=config.train.bootstrap,
        seed=config.train.seed,
        progress=ready.base.progress,
        exposures=ready.rows.exposures,
    )


def _order_values(people: Population, seen: Survey) -> GammaGamma | None:
    """Gamma-gamma on all users; None where the log has no money or too little of it."""
    if not {"money", "orders"} <= seen.capabilities:
        return None
    try:
        return fit_gamma_gamma(people.orders, people.order_value)
    except DataError:
        return None


def _weights(bundle: Bundle) -> dict[str, float]:
    return dict(zip(bundle.stack.names, bundle.stack.weights, strict=True))
