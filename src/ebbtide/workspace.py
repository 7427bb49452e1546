"""The Python API: one class whose methods are the commands.

Every method loads the config of the workspace, calls one function of `pipeline/` and returns its result, which can
say itself as JSON, and shows itself in a notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ebbtide.core.config import Config, load_config
from ebbtide.core.errors import EbbtideError, InputError
from ebbtide.core.language import Language
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import as_utc, parse_duration, parse_moment
from ebbtide.dashboard.page import Page, render_report
from ebbtide.events.table_file import TableFile, read_table, table_of_frame
from ebbtide.explain.profile import Profile
from ebbtide.pipeline import bundles
from ebbtide.pipeline.backtest import BacktestReport, backtest
from ebbtide.pipeline.campaign import Ask, CampaignList, Started, list_campaigns, start_campaign, stop_campaign
from ebbtide.pipeline.campaign_export import CampaignExport, export_campaign
from ebbtide.pipeline.campaign_messages import messages_of_campaign
from ebbtide.pipeline.campaign_results import TakenResults, take_results
from ebbtide.pipeline.check import CheckReport, check
from ebbtide.pipeline.compare import compare
from ebbtide.pipeline.comparison import ModelComparison
from ebbtide.pipeline.compress import Wanted, compress
from ebbtide.pipeline.compression import Compression
from ebbtide.pipeline.continuing import continue_training
from ebbtide.pipeline.diagnosis import Check, Diagnosis
from ebbtide.pipeline.doctor import diagnose
from ebbtide.pipeline.drivers import DriversReport, drivers
from ebbtide.pipeline.effect import CampaignEffect, CampaignReport, effect, effects
from ebbtide.pipeline.effect_policy import PolicyEffect, policy_effect
from ebbtide.pipeline.explain import Explanation, explain
from ebbtide.pipeline.ingest import IngestReport, ingest
from ebbtide.pipeline.init import InitReport, init
from ebbtide.pipeline.message import Messages, compose
from ebbtide.pipeline.plan import plan
from ebbtide.pipeline.plan_report import PlanReport
from ebbtide.pipeline.pretrain import PretrainReport, pretrain_workspaces
from ebbtide.pipeline.profile import profile
from ebbtide.pipeline.profiles import profile_frame
from ebbtide.pipeline.quarantine import QuarantineExport, QuarantineList, export_quarantine, list_quarantine
from ebbtide.pipeline.recommend import Recommendations, recommend
from ebbtide.pipeline.report import collect_report
from ebbtide.pipeline.score import ReasonsFor, ScoreReport, score
from ebbtide.pipeline.segments import SegmentsReport, segments
from ebbtide.pipeline.study import Sampler
from ebbtide.pipeline.table_data import TableQuestion
from ebbtide.pipeline.table_score import TableScores, score_table
from ebbtide.pipeline.table_train import TableTrained, train_table
from ebbtide.pipeline.train import train
from ebbtide.pipeline.train_report import TrainReport
from ebbtide.pipeline.tune import TuneReport, tune
from ebbtide.pipeline.uplift import UpliftReport, uplift_table
from ebbtide.pipeline.uplift_shop import ShopUplift, uplift_shop
from ebbtide.pipeline.uplift_table import UpliftQuestion, assigned_how

Moment = str | date | datetime


class Workspace:
    """A folder with `ebbtide.toml` and all that Ebbtide keeps for one shop.

    `language` is that of texts in results, by default the shop's; `progress` hears about long work.
    """

    def __init__(
        self, path: str | Path = ".", *, language: Language | None = None, progress: Progress = silent
    ) -> None:
        self.path = Path(path)
        self._language = language
        self._progress = progress

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"

    @cached_property
    def config(self) -> Config:
        """What `ebbtide.toml` says, read once. Raises ConfigError, InputError."""
        return load_config(self.path / "ebbtide.toml")

    @property
    def language(self) -> Language:
        """The language of texts."""
        return self._language or self.config.shop.language

    def init(self, files: Sequence[str | Path], *, force: bool = False) -> InitReport:
        """Look at raw files, guess their mapping, advise a churn definition, and write a commented `ebbtide.toml`."""
        self.path.mkdir(parents=True, exist_ok=True)
        return init([Path(file) for file in files], self.path, force=force, progress=self._progress)

    def ingest(
        self,
        files: Sequence[str | Path] | None = None,
        *,
        frame: object | None = None,
        source: str | None = None,
        rebuild: bool = False,
    ) -> IngestReport:
        """Raw files, or a table in memory, into the lake; bad rows into the quarantine. The same rows twice add nothing.

        `frame`: a pandas, Polars or Arrow table with the raw columns that `source` maps; without files and frame, all
        sources of the config are read. `rebuild` throws the lake away first, for a changed mapping.
        Raises InputError for a frame that is no table, or files and frame at once.
        """
        if frame is None:
            paths = [Path(file) for file in files] if files else None
            return ingest(self.config, self.path, paths, source=source, rebuild=rebuild, progress=self._progress)
        if files:
            raise InputError("give files or a frame, not both", "请只给出文件或数据表之一")
        with TemporaryDirectory(prefix="ebbtide-") as folder:
            file = Path(folder) / "frame.parquet"
            as_polars(frame).write_parquet(file)
            return ingest(self.config, self.path, [file], source=source, rebuild=rebuild, progress=self._progress)

    def check(self) -> CheckReport:
        """What the log holds, what looks odd, and whether it can answer the churn question."""
        return check(self.config, self.path, progress=self._progress)

    def train(self, *, until: Moment | None = None, model: str | None = None, continued: bool = False) -> TrainReport:
        """Train a bundle on what was known at `until` and make it current.

        `continued`: go on from the current bundle, unless a full refit does better. Raises InputError with a `model`.
        """
        if continued:
            if model is not None:
                raise InputError(
                    "the model is that of the current bundle: give --model or --continue, not both",
                    "继续训练使用当前模型包的模型：请只给出 --model 或 --continue 之一",
                )
            return continue_training(self.config, self.path, until=_moment(until), progress=self._progress)
        return train(self.config, self.path, until=_moment(until), model=model, progress=self._progress)

    def tune(
        self,
        *,
        model: str,
        trials: int = 40,
        minutes: float | None = None,
        sampler: Sampler = "tpe",
        fresh: bool = False,
        until: Moment | None = None,
    ) -> TuneReport:
        """Search better settings for a model on past moments; `train` uses them with [train] tuned = true."""
        return tune(
            self.config,
            self.path,
            model=model,
            trials=trials,
            minutes=minutes,
            sampler=sampler,
            fresh=fresh,
            until=_moment(until),
            progress=self._progress,
        )

    def pretrain(
        self,
        *,
        out: str | Path | None = None,
        others: Sequence[str | Path] = (),
        until: Moment | None = None,
        portable: bool = False,
    ) -> PretrainReport:
        """Pretrain an event model, without labels, on this workspace and perhaps `others`; by default into
        `.ebbtide/pretrained`."""
        shops = [(self.config, self.path), *((load_config(Path(o) / "ebbtide.toml"), Path(o)) for o in others)]
        return pretrain_workspaces(
            shops,
            Path(out) if out else self.path / ".ebbtide" / "pretrained",
            until=_moment(until),
            portable=portable,
            seed=self.config.train.seed,
            progress=self._progress,
        )

    def score(
        self, *, as_of: Moment | None = None, bundle: str | None = None, reasons: ReasonsFor = "at_risk"
    ) -> ScoreReport:
        """The ranked list of everybody who is eligible at `as_of`, most at risk first."""
        return score(
            self.config,
            self.path,
            as_of=_moment(as_of),
            bundle=bundle,
            reasons=reasons,
            language=self._language,
            progress=self._progress,
        )

    def plan(self, *, budget: float, as_of: Moment | None = None, bundle: str | None = None) -> PlanReport:
        """One action of `[[action]]` a customer, or none, so that the budget brings the most."""
        return plan(
            self.config,
            self.path,
            budget=budget,
            as_of=_moment(as_of),
            bundle=bundle,
            language=self._language,
            progress=self._progress,
        )

    def report(self, *, as_of: Moment | None = None, bundle: str | None = None) -> Page:
        """One self-contained HTML page about the shop at `as_of`."""
        data = collect_report(
            self.config,
            self.path,
            as_of=_moment(as_of),
            bundle=bundle,
            language=self._language,
            progress=self._progress,
        )
        return render_report(data, self.language)

    def explain(self, user_id: str, *, as_of: Moment | None = None, bundle: str | None = None) -> Explanation:
        """One user: risk, reasons, history."""
        return explain(self.config, self.path, user_id, as_of=_moment(as_of), bundle=bundle, language=self._language)

    def recommend(
        self,
        user_id: str | None = None,
        *,
        as_of: Moment | None = None,
        count: int | None = None,
        without: str | Path | None = None,
        fresh: bool = False,
    ) -> Recommendations:
        """What to show one user, or everybody, and why. The recommender is fitted when it is missing or out of date, or
        `fresh` asks for it; `without` is a file of item ids that are not to be shown."""
        return recommend(
            self.config,
            self.path,
            user_id,
            as_of=_moment(as_of),
            count=count,
            without=Path(without) if without else None,
            fresh=fresh,
            progress=self._progress,
        )

    def profile(self, user_id: str, *, as_of: Moment | None = None, bundle: str | None = None) -> Profile:
        """One user: stage, segment, outlook, habits, what changed lately, reasons."""
        return profile(self.config, self.path, user_id, as_of=_moment(as_of), bundle=bundle, language=self._language)

    def profiles(self, *, as_of: Moment | None = None, bundle: str | None = None) -> pl.DataFrame:
        """The profiles of everybody known at `as_of`, a row each, also of the lapsed."""
        return profile_frame(self.config, self.path, as_of=_moment(as_of), bundle=bundle, progress=self._progress)

    def segments(
        self, *, as_of: Moment | None = None, against: Moment | None = None, bundle: str | None = None
    ) -> SegmentsReport:
        """Stages, RFM segments and groups at `as_of`: sizes, risk, value; and the flow since `against`."""
        return segments(
            self.config,
            self.path,
            as_of=_moment(as_of),
            against=_moment(against),
            bundle=bundle,
            progress=self._progress,
        )

    def drivers(self, *, until: Moment | None = None) -> DriversReport:
        """What goes with churn at past moments whose outcome is known: facts, service, and what the rate would be if."""
        return drivers(self.config, self.path, until=_moment(until), progress=self._progress)

    def message(
        self,
        user_ids: Sequence[str],
        *,
        kind: str | None = None,
        given: Mapping[str, str] | None = None,
        draft: bool = False,
        as_of: Moment | None = None,
    ) -> Messages:
        """The texts to send to these users, from templates or, with `draft`, from the endpoint of `[llm]`, checked."""
        return compose(
            self.config,
            self.path,
            user_ids,
            kind=kind,
            language=self._language,
            as_of=_moment(as_of),
            given=given,
            draft=draft,
            progress=self._progress,
        )

    def backtest(self, *, moments: int = 8, model: str | None = None) -> BacktestReport:
        """The same model policy at many past moments."""
        return backtest(self.config, self.path, moments=moments, model=model, progress=self._progress)

    def compare(self, models: Sequence[str] | None = None, *, until: Moment | None = None) -> ModelComparison:
        """Train several kinds of models (default: all that can run) and judge them on the same customers.

        `models.compare` judges two trained bundles instead.
        """
        return compare(self.config, self.path, models=models, until=_moment(until), progress=self._progress)

    def train_table(
        self,
        table: object,
        *,
        label: str,
        id: str | None = None,
        time: str | None = None,
        model: str | None = None,
        out: str | Path | None = None,
        positive: str | None = None,
        horizon: str = "0d",
        drop: Sequence[str] = (),
        encoding: str = "",
    ) -> TableTrained:
        """Train on a ready-made labelled table, a file or a table in memory, that has a row a customer and no events.

        No `ebbtide.toml` is needed. Model, list and page go to the folder `out`, by default `NAME-model` in the
        workspace. `label`, `id`, `time`: columns; `positive`: the label's value that means churned; `horizon`: how
        long after its time a row's label is known; `drop`: columns not to learn from; `encoding` of a text file,
        by default UTF-8 or a guess.
        """
        source = _table(table, encoding)
        folder = Path(out) if out else self.path / f"{Path(source.name).name.split('.')[0]}-model"
        horizon_days = parse_duration(horizon) / timedelta(days=1)
        done = train_table(
            source,
            TableQuestion(label, id, time, positive, horizon_days, tuple(drop)),
            folder,
            self._config_or_defaults,
            model=model,
            language=self._language,
            progress=self._progress,
        )
        render_report(done.report, self._language or self._config_or_defaults.shop.language).save(
            folder / "report.html"
        )
        return done

    def score_table(
        self, table: object, *, model: str | Path, reasons: ReasonsFor = "at_risk", encoding: str = ""
    ) -> TableScores:
        """The ranked list of the rows of a table, by the model that `train_table` wrote to the folder `model`."""
        language = self._language or self._config_or_defaults.shop.language
        return score_table(_table(table, encoding), Path(model), reasons=reasons, language=language)

    def uplift_of_campaigns(self, *, until: Moment | None = None, learner: str | None = None) -> ShopUplift:
        """What each action changes for whom, learnt from the exposures in the lake whose outcomes were known at `until`,
        and kept for planning."""
        return uplift_shop(self.config, self.path, until=_moment(until), learner=learner, progress=self._progress)

    def uplift(
        self,
        table: object,
        *,
        treatment: str,
        control: str,
        outcome: str,
        id: str | None = None,
        value: str | None = None,
        drop: Sequence[str] = (),
        assigned: str = "random",
        propensity: str | None = None,
        shares: Sequence[float] | None = None,
        learner: str | None = None,
        encoding: str = "",
    ) -> UpliftReport:
        """What each treatment changes for whom, learnt from an experiment: a file or a table in memory, one row a
        customer. No `ebbtide.toml` is needed.

        `treatment`: column of the arm, `control` its value for nothing; `outcome`: yes/no or money; `value`: column of
        what an outcome is worth; `assigned`: "random" (tested) or "columns"; `propensity`: column of the known chance of
        the row's own arm; `shares`: planned arm sizes, control first; `drop`: columns not to learn from.
        """
        question = UpliftQuestion(
            treatment, control, outcome, id, value, propensity, assigned_how(assigned), tuple(drop)
        )
        planned = None if shares is None else tuple(shares)
        return uplift_table(_table(table, encoding), question, learner=learner, shares=planned, progress=self._progress)

    @property
    def _config_or_defaults(self) -> Config:
        return self.config if (self.path / "ebbtide.toml").is_file() else Config()

    def compress(self, bundle: str | None = None, *, form: Wanted = "auto", promote: bool = False) -> Compression:
        """A bundle (default: the current one) in smaller and faster forms, measured; `promote` writes the chosen one."""
        return compress(self.path, bundle=bundle, form=form, promote=promote, progress=self._progress)

    def doctor(self) -> Diagnosis:
        """Is everything in order to run here, and what is to be done where it is not? Changes nothing."""
        return diagnose(self.path, datetime.now(UTC), more=self._service_checks())

    def _service_checks(self) -> list[Check]:
        try:
            config = self.config
        except EbbtideError:
            return []  # told by the doctor
        found: list[Check] = []
        parts = config.channel or config.serve.oidc_issuer or config.serve.redis
        if parts and all(find_spec(name) for name in ("jwt", "redis", "standardwebhooks")):
            from ebbtide.serve.parts_check import part_checks  # noqa: PLC0415 - needs the extra

            found += part_checks(config)
        if config.stream.broker != "none":
            from ebbtide.serve.broker_check import broker_check  # noqa: PLC0415 - needs the extra

            found.append(broker_check(config.stream))
        return found

    @property
    def models(self) -> Models:
        """The trained bundles."""
        return Models(self.path, self._progress)

    @property
    def campaign(self) -> CampaignShelf:
        """Campaigns with a control group."""
        return CampaignShelf(self)

    def effect(self, name: str) -> CampaignEffect:
        """What a campaign changed, by intention to treat, on completed outcomes."""
        return effect(self.config, self.path, name, progress=self._progress)

    def policy_effect(self, name: str, policy: str | Path) -> PolicyEffect:
        """What another policy (a file with user_id, action, perhaps propensity) would have brought in a campaign."""
        return policy_effect(self.config, self.path, name, Path(policy), progress=self._progress)

    def effects(self) -> CampaignReport:
        """All campaigns beside each other: which moved retention, and for whom."""
        return effects(self.config, self.path, progress=self._progress)

    @property
    def quarantine(self) -> Quarantine:
        """The rows that were not accepted."""
        return Quarantine(self.path)


@dataclass(frozen=True)
class Models:
    """The trained bundles of one workspace; called without arguments it lists them."""

    path: Path
    progress: Progress = silent

    def __call__(self) -> bundles.BundleList:
        return bundles.list_bundles(self.path)

    def promote(self, name: str) -> bundles.BundleList:
        """Make a bundle current."""
        return bundles.promote(self.path, name)

    def rollback(self) -> bundles.BundleList:
        """Make the bundle before the current one current again."""
        return bundles.roll_back(self.path)

    def compare(self, first: str, second: str | None = None) -> bundles.Comparison:
        """Judge two bundles on outcomes that neither has seen; `second` is the current one by default."""
        return bundles.compare_bundles(self.path, first, second, progress=self.progress)


@dataclass(frozen=True)
class CampaignShelf:
    """The campaigns of one workspace; called without arguments it lists them."""

    workspace: Workspace

    def __call__(self) -> CampaignList:
        return list_campaigns(self.workspace.path)

    def start(
        self,
        name: str,
        *,
        plan: str | Path | None = None,
        action: str | None = None,
        where: str = "",
        control: float | None = None,
        layer: str | None = None,
        budget: float | None = None,
        as_of: Moment | None = None,
    ) -> Started:
        """Draw who gets an action and who is control, among the users of a plan file or those `where` fits."""
        ask = Ask(Path(plan) if plan else None, action, where, control, layer, budget, _moment(as_of))
        return start_campaign(self.workspace.config, self.workspace.path, name, ask, progress=self.workspace._progress)

    def export(
        self, name: str, out: str | Path, *, messages: bool = False, given: Mapping[str, str] | None = None
    ) -> CampaignExport:
        """Write the treated users: .csv, or .jsonl with Segment-style events; with `messages` beside the text to send,
        for which `given` adds the shop's own facts."""
        shop = self.workspace
        texts = None
        if messages:
            texts = messages_of_campaign(
                shop.config, shop.path, name, given=given, language=shop._language, progress=shop._progress
            )
        return export_campaign(shop.path, name, Path(out), messages=texts)

    def results(self, name: str, file: str | Path, *, until: Moment | None = None) -> TakenResults:
        """Take results from a file; a row that is there already is not taken twice."""
        return take_results(self.workspace.path, name, Path(file), until=_moment(until))

    def stop(self, name: str) -> CampaignList:
        """End a campaign: nobody is added any more; outcomes go on to count."""
        return stop_campaign(self.workspace.path, name)


@dataclass(frozen=True)
class Quarantine:
    """The rows of one workspace that were not accepted; called, it counts them by file and reason."""

    path: Path

    def __call__(self, *, source: str | None = None, reason: str | None = None) -> QuarantineList:
        return list_quarantine(self.path, source=source, reason=reason)

    def export(self, out: str | Path, *, source: str | None = None, reason: str | None = None) -> QuarantineExport:
        """Write the rows to a file, to correct them and ingest the file."""
        return export_quarantine(self.path, Path(out), source=source, reason=reason)


def as_polars(table: object) -> pl.DataFrame:
    """A pandas, Polars or Arrow table as a Polars frame: whatever speaks the Arrow C stream.

    >>> as_polars(pl.DataFrame({"user": ["a"]})).shape
    (1, 1)

    Raises InputError for anything else.
    """
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if not hasattr(table, "__arrow_c_stream__"):
        kind = type(table).__name__
        raise InputError(
            f"expected a pandas, Polars or Arrow table, got {kind}", f"应为 pandas、Polars 或 Arrow 表，实际为 {kind}"
        )
    return pl.DataFrame(table)


def _table(given: object, encoding: str) -> TableFile:
    """A file by its path, or a table in memory."""
    return read_table(Path(given), encoding) if isinstance(given, str | Path) else table_of_frame(as_polars(given))


def _moment(given: Moment | None) -> datetime | None:
    if given is None:
        return None
    return parse_moment(given) if isinstance(given, str) else as_utc(given)
