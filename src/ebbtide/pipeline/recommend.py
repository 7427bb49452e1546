"""`recommend`: what to show each customer, and why; the recommender is fitted once and kept in the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ebbtide.actions.recommend.interactions import READS
from ebbtide.actions.recommend.recommender import LIST_COLUMNS, Recommender
from ebbtide.actions.recommend.shelf import load_recommender, save_recommender
from ebbtide.actions.recommend.why import Why
from ebbtide.core.config import Config
from ebbtide.core.errors import InputError, MissingBundleError
from ebbtide.core.language import LANGUAGES, Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us, to_us
from ebbtide.events.lake import Lake
from ebbtide.events.schema import TIME
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.assortment import Assortment, assortment_at
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import BANDS, score_shard
from ebbtide.pipeline.train import newest_moment

RiskFrom = Literal["band", "silence", "given"]
_MAKING = Text("making lists", "生成推荐")
_COLUMNS = (Text("customer", "顾客"), Text("rank", "名次"), Text("item", "商品"), Text("why", "理由"))
_COUNTS = Text(
    "lists for {users:,} customers as of {as_of:%Y-%m-%d}, {cold:,} of them new, who see what sells",
    "截至 {as_of:%Y-%m-%d} 为 {users:,} 位顾客生成推荐，其中 {cold:,} 位无历史者看到热销商品",
)
_ONE = Text("{user} as of {as_of:%Y-%m-%d %H:%M}", "{user}，截至 {as_of:%Y-%m-%d %H:%M}")
_COLD = Text(
    "nothing is known of what this customer likes: this is what sells now", "尚不了解该顾客的偏好：以下为近期热销"
)
_LEANING = {
    "band": Text(
        "at risk of leaving: the list leans towards former favourites (weight {weight:g})",
        "有流失风险：推荐偏向其过去的喜好（权重 {weight:g}）",
    ),
    "silence": Text(
        "overdue: the list leans towards former favourites (weight {weight:g})",
        "已逾期未购：推荐偏向其过去的喜好（权重 {weight:g}）",
    ),
}
_LEANING["given"] = _LEANING["band"]
_LEARNT = {
    "none": Text(
        "no earlier moment to learn the order from: own purchases first, then what sells",
        "没有可供学习排序的历史时点：先列自己的购买，再列热销商品",
    ),
    "linear": Text("order: a linear blend, learnt at {n} earlier moments", "排序：线性混合，学自 {n} 个历史时点"),
    "trees": Text("order: boosted trees, learnt at {n} earlier moments", "排序：提升树，学自 {n} 个历史时点"),
}
_NO_ALS = Text(
    "without matrix factorisation: run `pip install 'ebbtide[recommend]'` to add it",
    "未使用矩阵分解：运行 `pip install 'ebbtide[recommend]'` 可加入",
)


@dataclass(frozen=True)
class Recommendations(Readable):
    """Lists of some users. frame: user_id, as_of, rank, item_id, name, score, why, leaning, en, zh; by user and rank.

    `cold`: users of whose taste nothing is known. `user`: who was asked about; None: everybody. `fitted_at`: what was
    known then is in the recommender. `risk_from`: what says who is at risk, whose list leans towards former favourites:
    the `band` of a bundle (of those who are not scored the silence), the `silence` only, or the ids that were `given`.
    """

    frame: pl.DataFrame
    as_of: datetime
    fitted_at: datetime
    made: Recommender
    cold: int
    user: str | None = None
    risk_from: RiskFrom = "silence"

    @property
    def users(self) -> int:
        """How many lists there are."""
        return self.frame["user_id"].n_unique()

    def sections(self, rows: int = 20) -> tuple[Section, ...]:
        """How the lists were made, and the first rows of them."""
        lines = [_COUNTS.format(users=self.users, as_of=self.as_of, cold=self.cold)]
        if self.user is not None:
            lines = [_ONE.format(user=self.user, as_of=self.as_of), *([_COLD] if self.cold else [])]
            if self.frame["leaning"].any():
                lines.append(_LEANING[self.risk_from].format(weight=self.made.choice.loved.weight))
        lines.append(_LEARNT[self.made.choice.kind].format(n=self.made.choice.lessons))
        if self.made.tables.factors is None:
            lines.append(_NO_ALS)
        told = tuple(
            (row["user_id"], row["rank"], _called(row), Text(row["en"], row["zh"]))
            for row in self.frame.head(rows).iter_rows(named=True)
        )
        return (Section(lines=tuple(lines)), Section(columns=_COLUMNS, rows=told))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields; the items of one user, or counts."""
        told: dict[str, Any] = {
            "as_of": self.as_of.isoformat(),
            "fitted_at": self.fitted_at.isoformat(),
            "users": self.users,
            "cold": self.cold,
            "order": self.made.choice.to_json(),
            "factorisation": self.made.tables.factors is not None,
            "at_risk_by": self.risk_from,
            "bought_before_shown": self.made.repeats,
        }
        if self.user is not None:
            told |= {"user_id": self.user, "items": self.frame.drop("user_id", "as_of").to_dicts()}
        return told


def recommend(
    config: Config,
    root: Path,
    user_id: str | None = None,
    *,
    as_of: datetime | None = None,
    count: int | None = None,
    without: Path | None = None,
    fresh: bool = False,
    at_risk: pl.Series | None = None,
    progress: Progress = silent,
) -> Recommendations:
    """What to show one user, or everybody of whom an event was known at `as_of` (default: the newest event).

    The recommender in `.ebbtide/recommender` is used for one user if it knows nothing after `as_of`, and for everybody
    if it was fitted at `as_of` on the log as it is; else, or with `fresh`, it is fitted anew and kept. `without`: a
    file of item ids, one a line, that are not shown. `at_risk`: ids of users whose lists lean towards former
    favourites; by default those in a band above low where there is a trained bundle, and the overdue among those whom it
    does not score.

    Raises DataError if no purchase of an item was known, MissingError without a lake, InputError for a bad file.
    """
    places = Places(root)
    lake = places.lake()
    as_of = as_of or newest_moment(lake)
    made = _recommender(config, places, lake, as_of, one_user=user_id is not None, fresh=fresh, progress=progress)
    about = assortment_at(lake.read_table("items"), as_of, config.recommend.in_stock, without)
    frames = [lake.read_user(user_id)] if user_id is not None else map(lake.read_bucket, lake.buckets())
    listed = partial(_lists, made=made, about=about, as_of=as_of, count=count or config.recommend.count)
    bundle = _bundle(places) if at_risk is None else None
    total, parts, cold = (1 if user_id is not None else len(lake.buckets())), [], 0
    for done, frame in enumerate(frames):
        progress(_MAKING, done, total)
        known = (
            known_events(frame, as_of)["user_id"].unique().sort()
            if user_id is None
            else pl.Series("user_id", [user_id])
        )
        risk = (at_risk, None) if bundle is None else _at_risk(frame, as_of, bundle)
        part, new = listed(frame.select(READS), known, risk=risk)
        parts.append(part)
        cold += new
    progress(_MAKING, total, total)
    source: RiskFrom = "given" if at_risk is not None else "silence" if bundle is None else "band"
    return Recommendations(pl.concat(parts), as_of, from_us(made.until_us), made, cold, user_id, source)


def write_recommendations(listed: Recommendations, file: Path, language: str = "en") -> None:
    """Write the lists by the file's suffix, .parquet, .csv or .jsonl, with the reasons in one language; atomically.

    Raises InputError for another suffix.
    """
    writers = {
        ".parquet": pl.DataFrame.write_parquet,
        ".csv": pl.DataFrame.write_csv,
        ".jsonl": pl.DataFrame.write_ndjson,
    }
    if file.suffix.lower() not in writers:
        raise InputError(
            "cannot tell the format from `{suffix}`: use .parquet, .csv or .jsonl",
            "无法从 `{suffix}` 判断格式：请用 .parquet、.csv 或 .jsonl",
            suffix=file.suffix or file.name,
        )
    frame = listed.frame.rename({language: "text"}).drop([other for other in LANGUAGES if other != language])
    if file.suffix.lower() != ".parquet":
        frame = frame.with_columns(pl.col("as_of").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    aside = file.with_name(f".{file.name}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    writers[file.suffix.lower()](frame, aside)  # type: ignore[operator]
    aside.replace(file)


def _recommender(
    config: Config, places: Places, lake: Lake, as_of: datetime, *, one_user: bool, fresh: bool, progress: Progress
) -> Recommender:
    """The kept recommender if it serves, else a new one, which is kept unless a newer one is there."""
    kept, facts = _kept(places)
    asked = {
        "log": lake.fingerprint(),
        "settings": config.recommend.model_dump(include={"window", "lessons", "bought_before", "rest_days"}),
        "seed": config.train.seed,
    }
    if kept is not None and not fresh:
        same = facts["settings"] == asked["settings"]
        if same and one_user and kept.until_us <= to_us(as_of):
            return kept
        if facts == asked and kept.until_us == to_us(as_of):
            return kept
    made = Recommender.fit(
        lambda: (lake.read_bucket(bucket, READS) for bucket in lake.buckets()),
        as_of,
        config.recommend,
        seed=config.train.seed,
        with_als=find_spec("implicit") is not None,
        progress=progress,
    )
    if kept is None or kept.until_us <= made.until_us:
        save_recommender(places.recommender, made, asked)
    return made


def _kept(places: Places) -> tuple[Recommender | None, dict[str, Any]]:
    try:
        return load_recommender(places.recommender)
    except MissingBundleError:  # none yet, damaged, or of an old form: it is fitted anew
        return None, {}


def _bundle(places: Places) -> Bundle | None:
    try:
        return places.shelf().load()
    except MissingBundleError:
        return None


def _at_risk(events: pl.DataFrame, as_of: datetime, bundle: Bundle) -> tuple[pl.Series, pl.Series]:
    """The users in a band above low, and all who are scored."""
    scored = score_shard(events, as_of, bundle, reasons="none")
    return scored.filter(pl.col("band") != BANDS[0])["user_id"], scored["user_id"]


def _lists(
    shard: pl.DataFrame, users: pl.Series, *, made: Recommender, about: Assortment, as_of: datetime, count: int,
    risk: tuple[pl.Series | None, pl.Series | None],
) -> tuple[pl.DataFrame, int]:  # fmt: skip
    """The lists of the users of a shard, those without a history filled with what sells; and how many these are."""
    allowed = about.allowed(made.tables.items)
    known = made.meetings([shard], as_of)
    lists = made.lists(known, count=count, allowed=allowed, at_risk=risk[0], asked=risk[1])
    new = users.filter(~users.is_in(known.users.implode()))
    cold = pl.DataFrame({"user_id": new}).join(made.popular(count, allowed).drop("user_id"), how="cross")
    whole = pl.concat([lists, cold.select(LIST_COLUMNS.keys())]).sort("user_id", "rank")
    reasons = [
        Why(code, days, other).text(about.name)
        for code, days, other in whole.select("why", "days", "other").iter_rows()
    ]
    named = whole.with_columns(
        as_of=pl.lit(as_of, TIME),
        name=pl.Series([about.name(item) for item in whole["item_id"]], dtype=pl.String),
        en=pl.Series([reason.en for reason in reasons], dtype=pl.String),
        zh=pl.Series([reason.zh for reason in reasons], dtype=pl.String),
    )
    return named.select("user_id", "as_of", "rank", "item_id", "name", "score", "why", "leaning", "en", "zh"), len(new)


def _called(row: dict[str, Any]) -> str:
    name, item = str(row["name"]), str(row["item_id"])
    return name if name == item else f"{name} ({item})"
