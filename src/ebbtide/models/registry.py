"""Every model by its name: what `--model NAME` accepts, what `auto` chooses from, and how a bundle is read back.

To add a model: write one file with a class that keeps the protocol of `base.py`, and name it here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ebbtide.core.errors import InputError, MissingBundleError
from ebbtide.models.base import Model
from ebbtide.models.bgnbd import BgNbdModel
from ebbtide.models.decision_tree import DecisionTreeConfig, DecisionTreeModel
from ebbtide.models.distilled import DistilledModel
from ebbtide.models.lightgbm import BoostingConfig, LightGbmModel
from ebbtide.models.lightgbm_large import LargeLightGbmModel
from ebbtide.models.logistic import LogisticConfig, LogisticModel
from ebbtide.models.makers import MAKERS, deep, reads_events, reads_items
from ebbtide.models.random_forest import RandomForestConfig, RandomForestModel
from ebbtide.models.read import ReadModel
from ebbtide.models.rules import FrequencyModel, RecencyModel
from ebbtide.models.setting import Setting
from ebbtide.models.space import COLUMNS, Real, Space, Values, Whole
from ebbtide.models.stack import StackModel
from ebbtide.models.svm import SvmConfig, SvmModel

__all__ = [
    "AUTO",
    "AUTO_DEEP",
    "MODELS",
    "Entry",
    "Setting",
    "candidates",
    "load_stack",
    "read_items",
    "read_sequences",
]

AUTO = "auto"
AUTO_DEEP = "auto_deep"
_DEEP_PRIORS = {"lightgbm": 0.275, "event_boost": 0.275}
"""What `auto_deep` weighs beside the other members of `auto`: both kinds of boosted trees, alike before any evidence."""


@dataclass(frozen=True)
class Entry:
    """A model in the registry. `prior`: its weight in `auto` before any evidence; None: `auto` leaves it out.

    `space`: what `ebbtide tune` may tune, see `space.py`; a model that has one is made from `Setting.values_of` its name.
    `needs_events`: it stands on a user's events or their timing, so a ready-made table has nothing for it.
    `makers`: column makers whose columns the model reads; `alone`: it reads nothing else, not even the base columns.
    `columns`: the most columns that it reads, the best ones for the labels in the rows it is fitted on; 0 = all.
    `staged`: one fit gives margins after several numbers of boosting rounds, among which is chosen.
    `table_prior`: as `prior`, for `auto` on a ready-made table; None: the same. `logs_only`: there `auto` leaves it out.
    """

    make: Callable[[Setting], Model]
    load: Callable[[Path], Model]
    prior: float | None = None
    table_prior: float | None = None
    logs_only: bool = False
    needs_events: bool = False
    space: Space = field(default_factory=dict)
    makers: tuple[str, ...] = ()
    alone: bool = False
    staged: bool = False
    columns: int = 0

    def with_values(self, values: Values) -> Entry:
        """The entry with tuned settings that are the entry's own; the model's come from `Setting.values_of`."""
        return replace(self, columns=int(values.get(COLUMNS, 0)))


_NET_SPACE: Space = {
    "hidden": Whole(16, 256, usual=64, log=True),
    "learning_rate": Real(0.0003, 0.02, usual=0.002, log=True),
    "dropout": Real(0.0, 0.5, usual=0.1),
}
"""Of every neural model: fields of `DeepConfig`."""


def _reads(maker: str) -> Entry:
    """The model that believes a neural net's log-odds."""
    return Entry(
        lambda _: ReadModel(maker),
        ReadModel.load,
        makers=(maker,),
        alone=True,
        needs_events=MAKERS[maker].reads_events,
        space=_NET_SPACE,
    )


def _boosts(maker: str) -> Entry:
    """`lightgbm` on the base columns and those of a column maker that knows no labels."""
    return Entry(
        lambda s: LightGbmModel(BoostingConfig(**s.values_of("lightgbm"))),
        LightGbmModel.load,
        makers=(maker,),
        staged=True,
        needs_events=MAKERS[maker].reads_events,
    )


MODELS: dict[str, Entry] = {
    "recency": Entry(lambda _: RecencyModel(), RecencyModel.load, needs_events=True),
    "frequency": Entry(lambda _: FrequencyModel(), FrequencyModel.load, needs_events=True),
    "bgnbd": Entry(lambda s: BgNbdModel(s.bgnbd, s.horizon_days), BgNbdModel.load, prior=0.0, needs_events=True),
    "logistic": Entry(
        lambda s: LogisticModel(LogisticConfig(**s.values_of("logistic"))),
        LogisticModel.load,
        prior=0.25,
        table_prior=0.3,
        space=LogisticModel.space,
    ),
    "svm": Entry(lambda s: SvmModel(SvmConfig(**s.values_of("svm"))), SvmModel.load, space=SvmModel.space),
    "tree": Entry(
        lambda s: DecisionTreeModel(DecisionTreeConfig(**s.values_of("tree"))),
        DecisionTreeModel.load,
        space=DecisionTreeModel.space,
    ),
    "forest": Entry(
        lambda s: RandomForestModel(RandomForestConfig(**s.values_of("forest"))),
        RandomForestModel.load,
        prior=0.2,
        logs_only=True,
        space=RandomForestModel.space,
    ),
    "lightgbm": Entry(
        lambda s: LightGbmModel(BoostingConfig(**s.values_of("lightgbm"))),
        LightGbmModel.load,
        prior=0.55,
        table_prior=0.35,
        staged=True,
        space=LightGbmModel.space,
    ),
    "lightgbm_large": Entry(lambda _: LargeLightGbmModel(), LargeLightGbmModel.load, table_prior=0.35, staged=True),
    "rnn": _reads("rnn"),
    "lstm": _reads("lstm"),
    "cnn": _reads("cnn"),
    "transformer": _reads("transformer"),
    "cnn_rnn": _reads("cnn_rnn"),
    "mlp": Entry(lambda s: deep("mlp", "MlpModel")(s), lambda f: deep("mlp", "MlpModel").load(f), space=_NET_SPACE),
    "vae": _boosts("vae_code"),
    "event_model": _reads("event_model"),
    "event_boost": _boosts("event_state"),
    "event_line": Entry(
        lambda s: LogisticModel(LogisticConfig(**s.values_of("logistic"))),
        LogisticModel.load,
        makers=("event_state",),
        needs_events=True,
    ),
}
STUDENTS: dict[str, Callable[[Path], Model]] = {DistilledModel.name: DistilledModel.load}
"""Models that no training makes, for they learn from another model: see `forms.py`."""


def candidates(name: str) -> dict[str, Entry]:
    """The models that take part: one by its name, or all that `auto` or `auto_deep` chooses from. Raises InputError."""
    if name in (AUTO, AUTO_DEEP):
        changed = _DEEP_PRIORS if name == AUTO_DEEP else {}
        entries = {n: replace(e, prior=changed.get(n, e.prior)) for n, e in MODELS.items()}
        return {n: e for n, e in entries.items() if e.prior is not None}
    if name not in MODELS:
        known = [AUTO, AUTO_DEEP, *MODELS]
        close = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            "no model `{name}`{hint}; the models are {known}",
            "没有模型 `{name}`{hint}；可用模型：{known}",
            name=name,
            hint=f" (`{close[0]}`?)" if close else "",
            known=", ".join(known),
        )
    return {name: MODELS[name]}


def table_candidates(name: str) -> dict[str, Entry]:
    """The models that take part on a ready-made table, which has no events. Raises InputError."""
    if name == AUTO_DEEP or (name in MODELS and MODELS[name].needs_events):
        listed = [n for n, e in MODELS.items() if not e.needs_events]
        raise InputError(
            "`{name}` learns from a customer's events, and a ready-made table has none; models for tables are {known}",
            "`{name}` 从顾客的事件中学习，而现成表没有事件；适用于表的模型：{known}",
            name=name,
            known=", ".join([AUTO, *listed]),
        )
    fit = {n: e for n, e in MODELS.items() if not e.needs_events}
    priors = {n: e.prior if e.table_prior is None else e.table_prior for n, e in fit.items()}
    usual = [n for n, prior in priors.items() if prior is not None and not fit[n].logs_only]
    chosen = usual if name == AUTO else candidates(name)
    return {n: replace(MODELS[n], prior=priors[n]) for n in chosen}


def read_sequences(entries: Mapping[str, Entry], setting_makers: Sequence[str] = ()) -> bool:
    """Whether any of the models reads event sequences."""
    return reads_events([*setting_makers, *(maker for entry in entries.values() for maker in entry.makers)])


def read_items(entries: Mapping[str, Entry]) -> bool:
    """Whether any of the models looks at item vectors."""
    return reads_items([maker for entry in entries.values() for maker in entry.makers])


def load_stack(folder: Path) -> StackModel:
    """Read a saved stack with its members. Raises MissingBundleError on a member that this version does not know."""
    data = json.loads((folder / "stack.json").read_text(encoding="utf-8"))
    about: dict[str, Any] = data["members"]
    load = {name: entry.load for name, entry in MODELS.items()} | STUDENTS
    unknown = sorted(set(about) - set(load))
    if unknown:
        raise MissingBundleError(
            "the bundle holds models that this version does not know: {names}; train again",
            "模型包含有此版本不认识的模型：{names}；请重新训练",
            names=", ".join(unknown),
        )
    return StackModel(
        [load[name](folder / name) for name in about],
        [member["weight"] for member in about.values()],
        intercept=data["intercept"],
        names=list(about),
        reads=[tuple((first, stop) for first, stop in member["reads"]) for member in about.values()],
    )
