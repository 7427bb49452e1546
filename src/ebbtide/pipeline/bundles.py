"""`models`: the trained bundles of a workspace, which one is current, and whether one is better than another."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.churn.labels import churn_labels
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us, to_us
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.models.bundle import Bundle
from ebbtide.models.shelf import Shelf
from ebbtide.pipeline.dataset import LABEL_COLUMNS
from ebbtide.pipeline.fit_for_service import check_fits
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import score_members
from ebbtide.pipeline.train import newest_moment

_COLUMNS = (
    Text("current", "当前"),
    Text("bundle", "模型包"),
    Text("knew until", "数据截至"),
    Text("rows", "行数"),
    Text("tested at", "检验时点"),
    Text("AUROC", "AUROC"),
    Text("95 % interval", "95% 区间"),
    Text("calibration error", "校准误差"),
    Text("quality", "质量"),
)
_NO_BUNDLE = Text("no trained bundle yet: run `ebbtide train`", "还没有训练好的模型包：请运行 `ebbtide train`")
_COMPARED = Text(
    "{first}: AUROC {first_auroc:.3f}; {second}: AUROC {second_auroc:.3f}; difference {d:+.3f} [{low:+.3f}, {high:+.3f}], "
    "on {users:,} customers as of {as_of:%Y-%m-%d} whose outcome neither had seen",
    "{first}：AUROC {first_auroc:.3f}；{second}：AUROC {second_auroc:.3f}；差 {d:+.3f} [{low:+.3f}, {high:+.3f}]，"
    "基于 {as_of:%Y-%m-%d} 的 {users:,} 位顾客，两者均未见过其结果",
)
_VERDICTS = {
    1: Text("{first} is better", "{first} 更好"),
    0: Text("no difference can be told", "看不出差别"),
    -1: Text("{second} is better", "{second} 更好"),
}


@dataclass(frozen=True)
class BundleSummary:
    """One bundle: what it learnt from and the figures of its own test moment. `auroc` None: it could not be tested."""

    id: str
    current: bool
    created_at: str
    until: str
    model: str
    rows: int
    tested_at: str | None
    auroc: Estimate | None
    calibration_error: float | None
    quality: int | None


@dataclass(frozen=True)
class BundleList(Readable):
    """All bundles, oldest first."""

    bundles: tuple[BundleSummary, ...]

    def sections(self) -> tuple[Section, ...]:
        """The bundles as a table, the current one marked."""
        if not self.bundles:
            return (Section(lines=(_NO_BUNDLE,)),)
        return (Section(columns=_COLUMNS, rows=tuple(_row(b) for b in self.bundles)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        current = next((b.id for b in self.bundles if b.current), None)
        return {"current": current, "bundles": [asdict(b) for b in self.bundles]}


@dataclass(frozen=True)
class Comparison(Readable):
    """Two bundles on the same users at one moment that neither had seen.

    `difference` is AUROC of `first` minus AUROC of `second`, with its paired 95 % interval.
    """

    first: str
    second: str
    as_of: datetime
    users: int
    churned: int
    first_auroc: float
    second_auroc: float
    difference: Estimate

    def sections(self) -> tuple[Section, ...]:
        """Both figures, their difference, and the verdict."""
        d, low, high = (x or 0.0 for x in (self.difference.value, self.difference.low, self.difference.high))
        told = _COMPARED.format(**vars(self), d=d, low=low, high=high)
        verdict = _VERDICTS[1 if low > 0 else -1 if high < 0 else 0].format(first=self.first, second=self.second)
        return (Section(lines=(told, verdict)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}


def list_bundles(root: Path) -> BundleList:
    """The bundles of the workspace at `root`; none is no error."""
    shelf = Places(root).shelf()
    history = shelf.history()
    return BundleList(tuple(_summary(shelf, name, history[-1:] == [name]) for name in shelf.ids()))


def promote(root: Path, name: str) -> BundleList:
    """Make a bundle current.

    Raises InputError if there is none of that name, MissingBundleError if it is damaged or the lake cannot fill it.
    """
    shelf = Places(root).shelf()
    check_fits(shelf.load(name), root)
    shelf.promote(name)
    return list_bundles(root)


def roll_back(root: Path) -> BundleList:
    """Make the bundle before the current one current again. Raises InputError if there is none."""
    Places(root).shelf().roll_back()
    return list_bundles(root)


def compare_bundles(root: Path, first: str, second: str | None = None, *, progress: Progress = silent) -> Comparison:
    """Judge two bundles (default for `second`: the current one) at the newest moment that is later than both.

    Only the outcomes of that moment decide, so its outcome window must have closed.
    Raises DataError if it has not, for then they have seen every known outcome, and for different churn definitions.
    """
    places = Places(root)
    shelf, lake = places.shelf(), places.lake()
    one, other = shelf.load(first), shelf.load(second or shelf.current_id())
    if one.definition != other.definition:
        raise DataError(
            "the bundles answer different questions: {first} ({one}), {second} ({two})",
            "两个模型包回答的问题不同：{first}（{one}），{second}（{two}）",
            first=one.id,
            second=other.id,
            one=one.definition.describe(),
            two=other.definition.describe(),
        )
    now = newest_moment(lake)
    as_of = _fresh_moment(one, other, now)
    parts = []
    for done, bucket in enumerate(lake.buckets()):
        progress(_STAGE, done, len(lake.buckets()))
        parts.append(_judged(lake.read_bucket(bucket), as_of, now, one, other))
    judged = pl.concat(parts).drop_nulls("churned")
    y = judged["churned"].cast(pl.Float64).to_numpy()
    p, q = judged["first"].to_numpy(), judged["second"].to_numpy()
    return Comparison(
        one.id, other.id, as_of, len(y), int(y.sum()), auroc(y, p), auroc(y, q), paired_difference(y, p, q)
    )


_STAGE = Text("scoring with both", "用两者评分")


def _fresh_moment(one: Bundle, other: Bundle, now: datetime) -> datetime:
    """The newest closed moment, if it is not before either bundle's end of training."""
    as_of = from_us(to_us(now) - one.definition.closing_us)
    trained = max(datetime.fromisoformat(str(b.manifest["until"])) for b in (one, other))
    if as_of < trained:
        raise DataError(
            "no outcome is known yet that both bundles have not seen: they were trained on what was known at "
            "{trained:%Y-%m-%d}, and the newest closed moment is {as_of:%Y-%m-%d}; ingest newer events, or train an "
            "earlier pair with --until",
            "尚无两个模型包都未见过的结果：它们使用了截至 {trained:%Y-%m-%d} 的数据，而最近的已结束时点是 {as_of:%Y-%m-%d}；"
            "请导入更新的事件，或用 --until 训练更早的一对",
            trained=trained,
            as_of=as_of,
        )
    return as_of


def _judged(shard: pl.DataFrame, as_of: datetime, now: datetime, one: Bundle, other: Bundle) -> pl.DataFrame:
    """user_id, churned, and both probabilities of a shard's cohort."""
    scored, again = score_members(shard, as_of, one), score_members(shard, as_of, other)
    cohort = pl.DataFrame({"user_id": scored.user_id})
    labels = churn_labels(shard.select(LABEL_COLUMNS), cohort, as_of=as_of, definition=one.definition, known_until=now)
    return labels.with_columns(first=scored.probability, second=again.probability)


def _summary(shelf: Shelf, name: str, current: bool) -> BundleSummary:
    manifest = _read(shelf.folder / name / "manifest.json")
    metrics = _read(shelf.folder / name / "metrics.json")
    test = metrics["test"]
    return BundleSummary(
        id=name,
        current=current,
        created_at=manifest["created_at"],
        until=manifest["until"],
        model=manifest["model"],
        rows=manifest["rows"],
        tested_at=metrics["tested_at"],
        auroc=Estimate(**test["metrics"]["auroc"]) if test else None,
        calibration_error=test["metrics"]["ece"]["value"] if test else None,
        quality=test["quality"]["index"] if test else None,
    )


def _row(b: BundleSummary) -> tuple[str | int | float | None, ...]:
    auroc = b.auroc
    ends = f"{auroc.low:.3f} – {auroc.high:.3f}" if auroc and auroc.low is not None and auroc.high is not None else None
    tested = b.tested_at and b.tested_at[:10]
    value = auroc.value if auroc else None
    return ("*" if b.current else "", b.id, b.until[:10], b.rows, tested, value, ends, b.calibration_error, b.quality)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))
