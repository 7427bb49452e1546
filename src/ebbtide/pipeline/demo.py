"""`demo`: the whole main job on a shop that is made up, so that the list can be held against the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.core.config import load_config
from ebbtide.core.errors import InputError
from ebbtide.core.language import Language, Text, join_texts
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.explain.stages import BAND_WORDS
from ebbtide.pipeline.ingest import IngestReport, ingest
from ebbtide.pipeline.listing import reason_lines
from ebbtide.pipeline.score import ScoreReport, score, write_scores
from ebbtide.pipeline.train import train
from ebbtide.pipeline.train_report import TrainReport

MARK = "Simulated shop"


_LOG = Text(
    "simulated: {rows:,} events; {accepted:,} accepted, {duplicates:,} duplicates",
    "模拟：{rows:,} 个事件；接受 {accepted:,}，重复 {duplicates:,}",
)
_TOP = Text("Most at risk on {as_of:%Y-%m-%d}", "{as_of:%Y-%m-%d} 风险最高的顾客")
_TRUTH = Text("Held against the truth, which only the simulator knows", "与只有模拟器知道的真相对照")
_BANDS = (
    Text("band", "等级"),
    Text("customers", "顾客数"),
    Text("had left for good", "已永久离开"),
    Text("share", "占比"),
)
_SHOWN = 5


@dataclass(frozen=True)
class Gone:
    """Of the customers in one band, how many had already left for good; only the simulator knows."""

    band: str
    users: int
    gone: int


@dataclass(frozen=True)
class DemoReport(Readable):
    """What the demo did in `folder`, and how the bands compare with the truth, highest risk first."""

    folder: Path
    rows: int
    ingested: IngestReport
    trained: TrainReport
    scored: ScoreReport
    truth: tuple[Gone, ...]

    def sections(self) -> tuple[Section, ...]:
        """The log, the figures, the top of the list, and the bands held against the truth."""
        counts = self.ingested.sources["events"]
        log = _LOG.format(rows=self.rows, accepted=counts.accepted, duplicates=counts.duplicates)
        bands = tuple((BAND_WORDS[t.band], t.users, t.gone, f"{t.gone / max(t.users, 1):.0%}") for t in self.truth)
        return (
            Section(lines=(log, *self.trained.lines())),
            Section(_TOP.format(as_of=self.scored.as_of), tuple(_most_at_risk(self.scored))),
            Section(_TRUTH, columns=_BANDS, rows=bands),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "folder": str(self.folder),
            "rows": self.rows,
            "ingest": self.ingested.to_json(),
            "train": self.trained.to_json(),
            "score": self.scored.to_json(),
            "truth": [vars(gone) for gone in self.truth],
        }


def demo(
    folder: Path,
    *,
    users: int = 2000,
    days: int = 400,
    seed: int = 0,
    language: Language | None = None,
    progress: Progress = silent,
) -> DemoReport:
    """Simulate a shop into `folder`, then ingest, train and score it; `scores.parquet` holds the list.

    Running it again makes the same files, adds no event and trains anew.
    Raises InputError if the folder holds somebody's own workspace.
    """
    file = folder / "ebbtide.toml"
    if file.is_file() and MARK not in file.read_text(encoding="utf-8"):
        raise InputError(
            "{folder} is a workspace of your own: name another folder with -w",
            "{folder} 是您自己的工作区：请用 -w 指定其他文件夹",
            folder=folder,
        )
    log = write_log(SimulationConfig(users=users, days=days, seed=seed), folder, progress=progress)
    config = load_config(file)
    ingested = ingest(config, folder, progress=progress)
    trained = train(config, folder, progress=progress)
    scored = score(config, folder, language=language, progress=progress)
    write_scores(scored.frame, folder / "scores.parquet")
    return DemoReport(folder, log.rows, ingested, trained, scored, _hold_against_truth(scored, log.truth))


def _most_at_risk(scored: ScoreReport) -> Iterator[Text]:
    """One line each: who, how likely, and the two strongest reasons for it."""
    for row in scored.frame.head(_SHOWN).iter_rows(named=True):
        why = [Text(line.text, line.text) for line in reason_lines(row["reasons"] or []) if line.raises]
        said = Text(*[f"{row['user_id']}  {row['churn_probability']:.1%}  "] * 2)
        yield said + join_texts(why[:2])


def _hold_against_truth(scored: ScoreReport, lives: Path) -> tuple[Gone, ...]:
    left = pl.read_parquet(lives, columns=["user_id", "left_at"])
    known = scored.frame.join(left, on="user_id", how="left", validate="1:1")
    gone = pl.col("left_at").is_not_null() & (pl.col("left_at") <= scored.as_of)
    counts = {
        band: (users, lost)
        for band, users, lost in known.group_by("band").agg(users=pl.len(), lost=gone.sum()).iter_rows()
    }
    return tuple(Gone(band, *counts.get(band, (0, 0))) for band in scored.bands())
