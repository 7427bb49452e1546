"""`doctor` about the live service: its store, and whether landing, scoring, keys and the audit are as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url

from ebbtide.core.config import Config
from ebbtide.core.errors import MissingError
from ebbtide.core.language import Text
from ebbtide.core.windows import from_us, parse_duration, to_us
from ebbtide.events.lake import landing_key
from ebbtide.pipeline.diagnosis import NOTHING, Check, State
from ebbtide.pipeline.live_shop import EVERYBODY
from ebbtide.pipeline.places import Places
from ebbtide.store.audit import Audit
from ebbtide.store.database import Database
from ebbtide.store.inbox import SCORED, Cursors, Inbox
from ebbtide.store.keys import Keys
from ebbtide.store.shops import Shops

Found = tuple[State, Text, Text]
_APART = timedelta(seconds=2)
_FAR_APART = timedelta(minutes=1)
_PATIENCE = 10
"""How many times its usual pace a loop may be late before it is told."""
_START = Text(
    "start `ebbtide serve`, or its role `{role}`, and read its log",
    "请启动 `ebbtide serve` 或其角色 `{role}`，并查看日志",
)
_BACKUP = Text("keep the store as it is, and compare it with a backup", "请保持存储原样，并与备份比对")


def store_checks(config: Config, root: Path, now: datetime) -> Iterator[Check]:
    """The checks of the service. Where it has never run, one that says so."""
    url = Places(root).store_url(config)
    file = make_url(url).database if url.startswith("sqlite") else None
    if file is not None and not Path(file).exists():
        yield Check("store", _TITLE, lambda: ("ok", _NEVER, NOTHING))
        return
    yield Check("store", _TITLE, lambda: _store(url, now), _RUNNING)
    if not _is_usable(url):
        return
    doctor = _StoreDoctor(config, root, url, now)
    yield Check("arrivals", Text("arrivals", "到达时间"), doctor.arrivals)
    yield Check("landing", Text("landing", "入湖"), doctor.landing)
    yield Check("scoring", Text("scoring", "评分"), doctor.scoring)
    yield Check("keys", Text("keys", "密钥"), doctor.keys)
    yield Check("audit", Text("audit", "审计"), doctor.audit)


_TITLE = Text("store", "存储")
_NEVER = Text("the service has not run yet; it makes its store when it starts", "服务尚未运行；启动时会创建存储")
_RUNNING = Text("start the database, or correct `serve.store`", "请启动数据库，或修正 `serve.store`")


def _store(url: str, now: datetime) -> Found:
    with _opened(url) as database:
        if not database.is_current():
            found = Text("its tables are of another version", "其数据表版本不同")
            advice = Text(
                "`ebbtide serve` of the newest version brings them up to date", "使用最新版 `ebbtide serve` 会自动升级"
            )
            return "warning", found, advice
        with database.write() as connection:
            closed = not database.is_embedded and connection.scalar(text("show transaction_read_only")) == "on"
            clock = None if database.is_embedded else connection.scalar(text("select clock_timestamp()"))
    kind = "SQLite" if clock is None else "PostgreSQL"
    if closed:
        found = Text("{kind} answers, and cannot be written to", "{kind} 有响应，但不可写").format(kind=kind)
        return "failed", found, Text("point `serve.store` to the primary server", "请将 `serve.store` 指向主服务器")
    apart = abs(now - clock) if clock is not None else timedelta()
    if apart > _APART:
        found = Text("its clock and this one are {s:.0f} s apart", "其时钟与本机相差 {s:.0f} 秒").format(
            s=apart.total_seconds()
        )
        return (
            "failed" if apart > _FAR_APART else "warning",
            found,
            Text("set both clocks (NTP)", "请校准两端时钟（NTP）"),
        )
    return "ok", Text("{kind} answers and can be written to", "{kind} 可读可写").format(kind=kind), NOTHING


def _is_usable(url: str) -> bool:
    """Whether its tables can be asked; what keeps them from it was told by the check of the store."""
    return Check("store", _TITLE, lambda: _current(url)).made().state == "ok"


def _current(url: str) -> Found:
    with _opened(url) as database:
        return "ok" if database.is_current() else "warning", NOTHING, NOTHING


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database.open(url, migrate=False)
    try:
        yield database
    finally:
        database.close()


class _StoreDoctor:
    """Looks into a store that answers."""

    def __init__(self, config: Config, root: Path, url: str, now: datetime) -> None:
        self._config, self._root, self._url, self._now = config, root, url, now
        self._shop = config.serve.shop_id

    def arrivals(self) -> Found:
        """Whether the clock stands behind the moment that the newest event was given."""
        with _opened(self._url) as database:
            given = Shops(database).clock_us(self._shop)
        if from_us(given) > self._now + _APART:
            found = Text(
                "the clock ran back: an event came at {then:%Y-%m-%d %H:%M:%S}, which is yet to come",
                "时钟倒退：已有事件到达时间为 {then:%Y-%m-%d %H:%M:%S}，晚于现在",
            ).format(then=from_us(given))
            return (
                "warning",
                found,
                Text("set the clock (NTP); until then that moment is kept", "请校准时钟（NTP）；在此之前沿用该时刻"),
            )
        return "ok", Text("no event came later than now", "没有到达时间晚于现在的事件"), NOTHING

    def landing(self) -> Found:
        """Events that wait to be landed, and for how long."""
        with _opened(self._url) as database:
            try:
                landed = Places(self._root).lake().position(landing_key(self._shop))
            except MissingError:
                landed = 0
            waiting, oldest = self._waiting(database, landed)
        told = Text(
            "{n:,} accepted events wait, the oldest for {s:.0f} s", "{n:,} 条已接收事件待入湖，最早的已等待 {s:.0f} 秒"
        ).format(n=waiting, s=oldest.total_seconds())
        late = oldest > _PATIENCE * parse_duration(self._config.serve.land_every)
        return ("warning", told, _START.format(role="scheduler")) if late else ("ok", told, NOTHING)

    def scoring(self) -> Found:
        """Events that no score knows yet, and the age of the last full run."""
        with _opened(self._url) as database:
            cursors = Cursors(database)
            waiting, oldest = self._waiting(database, cursors.position(self._shop, SCORED))
            full = cursors.position(self._shop, EVERYBODY)
        if not full:
            return "warning", Text("nobody has been scored yet", "尚未为任何人评分"), _START.format(role="scheduler")
        age = self._now - from_us(full)
        told = Text(
            "{n:,} events are not scored yet, the oldest came {s:.0f} s ago; everybody was scored {h:.1f} h ago",
            "{n:,} 条事件尚未计入评分，最早 {s:.0f} 秒前到达；{h:.1f} 小时前为所有人评过分",
        ).format(n=waiting, s=oldest.total_seconds(), h=age.total_seconds() / 3600)
        if oldest > _FAR_APART:
            return "warning", told, _START.format(role="worker")
        if age > 2 * parse_duration(self._config.serve.rescore_all_every):
            return "warning", told, _START.format(role="scheduler")
        return "ok", told, NOTHING

    def keys(self) -> Found:
        """Whether anybody may call."""
        with _opened(self._url) as database:
            live = sum(key.is_live(to_us(self._now)) for key in Keys(database).listed(self._shop))
        if not live:
            return (
                "warning",
                Text("nobody can call: there is no live key", "没有有效密钥，无人可以调用"),
                Text("make one: `ebbtide keys create`", "请创建：`ebbtide keys create`"),
            )
        return "ok", Text("{n} live keys", "{n} 个有效密钥").format(n=live), NOTHING

    def audit(self) -> Found:
        """Whether the chain of the audit is whole."""
        with _opened(self._url) as database:
            broken = Audit(database).first_broken()
        if broken is not None:
            found = Text(
                "the audit was altered: entry {n} does not follow from the one before",
                "审计记录被改动：第 {n} 条与前一条不相接",
            )
            return "failed", found.format(n=broken), _BACKUP
        return "ok", Text("the chain of the audit is whole", "审计链完整"), NOTHING

    def _waiting(self, database: Database, behind: int) -> tuple[int, timedelta]:
        inbox = Inbox(database)
        first = inbox.after(self._shop, behind, 1)
        oldest = self._now - from_us(first[0].fields["ingested_at"]) if first else timedelta()
        return inbox.count(self._shop, behind), max(oldest, timedelta())
