"""`doctor`: is a workspace fit to run, and what is to be done where it is not?

Nothing is changed by it: no table is made, no file is left, the store is not brought to another version.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from ebbtide.core.config import Config, check_variables, load_config, read_secrets
from ebbtide.core.errors import ConfigError, InputError, MissingError
from ebbtide.core.language import Text
from ebbtide.core.windows import from_us
from ebbtide.events.lake import Lake
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.diagnosis import NOTHING, Check, Diagnosis, State, diagnosis_of
from ebbtide.pipeline.fit_for_service import missing_capabilities
from ebbtide.pipeline.places import Places

_LEAST_FREE = 500_000_000
_OLD_MODEL = timedelta(days=90)
_AHEAD = timedelta(minutes=5)
Found = tuple[State, Text, Text]


def diagnose(root: Path, now: datetime, *, more: Sequence[Check] = ()) -> Diagnosis:
    """Check config, secrets, disk, lake, model, clock, and the service's store where it is used; then `more`.

    Everything behind a config that cannot be read is left out.
    """
    return diagnosis_of([*_checks(root, now), *more])


def _checks(root: Path, now: datetime) -> Iterator[Check]:
    places = Places(root)
    yield Check(
        "config", Text("config", "配置"), lambda: _config(places), Text("correct ebbtide.toml", "请修正 ebbtide.toml")
    )
    try:
        config = load_config(places.config)
    except (ConfigError, InputError):
        return  # told by the check above
    yield Check("secrets", Text("secrets", "密钥变量"), lambda: _secrets(config), _SET_THEM)
    yield Check("disk", Text("disk", "磁盘"), lambda: _disk(places))
    yield Check("lake", Text("lake", "数据湖"), lambda: _lake(places), _INGEST)
    yield Check("model", Text("model", "模型"), lambda: _model(places, now))
    yield Check("clock", Text("clock", "时钟"), lambda: _clock(places, now))
    if find_spec("sqlalchemy") is None or find_spec("alembic") is None:
        yield Check("store", Text("store", "存储"), lambda: ("ok", _NO_EXTRA, NOTHING))
        return
    from ebbtide.pipeline.doctor_store import store_checks  # noqa: PLC0415 - needs the extra

    yield from store_checks(config, root, now)


_SET_THEM = Text("set them where the service and `ebbtide ingest` run", "请在运行服务与 `ebbtide ingest` 的环境中设置")
_INGEST = Text("run `ebbtide ingest`", "请运行 `ebbtide ingest`")
_NO_EXTRA = Text("the live service is not installed here", "此处未安装实时服务")


def _config(places: Places) -> Found:
    config = load_config(places.config)
    found = Text(
        "ebbtide.toml is valid: sources: {sources}; no {outcome} within {horizon} is churn",
        "ebbtide.toml 有效：{sources} 个来源；{horizon} 内没有 {outcome} 即为流失",
    )
    return (
        "ok",
        found.format(sources=len(config.source), outcome=config.churn.outcome, horizon=config.churn.horizon),
        NOTHING,
    )


def _secrets(config: Config) -> Found:
    """Variables that sources and channels name."""
    check_variables(config.sources())
    names = [n for c in config.channel for n in (*c.secret_env, c.password_env) if n]
    read_secrets(names)
    return "ok", Text("every variable that the config names is set", "配置中引用的变量均已设置"), NOTHING


def _disk(places: Places) -> Found:
    places.home.mkdir(exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(dir=places.home) as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as fault:
        why = fault.strerror or "disk"
        found = Text("the workspace cannot be written to ({why})", "无法写入工作区（{why}）").format(why=why)
        return (
            "failed",
            found,
            Text("make room, or give the service's user the rights", "请腾出空间，或授予服务用户权限"),
        )
    free = shutil.disk_usage(places.home).free
    held = sum(f.stat().st_size for f in places.home.rglob("*") if f.is_file())
    found = Text(
        "{free:.1f} GB free, the workspace holds {held:.1f} GB", "剩余 {free:.1f} GB，工作区占用 {held:.1f} GB"
    ).format(free=free / 1e9, held=held / 1e9)
    if free < _LEAST_FREE:
        return "failed", found, Text("make room: events are refused when it is full", "请腾出空间：磁盘满时将拒收事件")
    if free < held + _LEAST_FREE:
        return (
            "warning",
            found,
            Text("make room: a rebuild needs as much again as the lake", "请腾出空间：重建需要与数据湖同样大的空间"),
        )
    return "ok", found, NOTHING


def _lake(places: Places) -> Found:
    lake = places.lake()
    files = [file for bucket in lake.buckets() for file in lake.files(bucket)]
    gone = _gone(lake)
    if gone:
        found = Text("{gone} of {all} data files are missing", "{all} 个数据文件中缺少 {gone} 个")
        return (
            "failed",
            found.format(gone=gone, all=len(files)),
            Text(
                "bring the folder back from a backup, or, if nothing came in live, run `ebbtide ingest --rebuild`",
                "请从备份恢复；若没有实时接收的事件，可运行 `ebbtide ingest --rebuild`",
            ),
        )
    if not files:
        return "warning", Text("no event yet", "尚无事件"), _INGEST
    lake.read_bucket(min(files, key=lambda f: f.rows).bucket, ["user_id"])
    found = Text(
        "{rows:,} events (files: {files}), the newest of {last:%Y-%m-%d %H:%M}",
        "{files} 个文件共 {rows:,} 条事件，最新 {last:%Y-%m-%d %H:%M}",
    )
    told = found.format(rows=sum(f.rows for f in files), files=len(files), last=from_us(max(f.last_us for f in files)))
    return "ok", told, NOTHING


def _gone(lake: Lake) -> int:
    """How many data files are not where they should be."""
    files = [file for bucket in lake.buckets() for file in lake.files(bucket)]
    return sum(not (lake.events_folder / file.path).is_file() for file in files)


def _model(places: Places, now: datetime) -> Found:
    bundle = places.shelf().load()
    missing = _missing(bundle, places)
    if missing:
        found = Text(
            "{name} needs events with {missing}, and the lake has none",
            "{name} 需要具备 {missing} 的事件，而数据湖中没有",
        )
        return (
            "failed",
            found.format(name=bundle.id, missing=", ".join(sorted(missing))),
            Text(
                "ingest them, run `ebbtide train`, or promote another bundle",
                "请导入这些事件、运行 `ebbtide train`，或启用其他模型包",
            ),
        )
    until = datetime.fromisoformat(str(bundle.manifest["until"]))
    found = Text("{name} is whole; it knows events until {until:%Y-%m-%d}", "{name} 完好；其数据截至 {until:%Y-%m-%d}")
    told = found.format(name=bundle.id, until=until)
    if now - until > _OLD_MODEL:
        return "warning", told, Text("train anew: `ebbtide train`", "请重新训练：`ebbtide train`")
    return "ok", told, NOTHING


def _missing(bundle: Bundle, places: Places) -> frozenset[str]:
    try:
        lake = places.lake()
    except MissingError:
        return frozenset()
    return frozenset() if _gone(lake) else missing_capabilities(bundle, lake)


def _clock(places: Places, now: datetime) -> Found:
    """The machine's clock against the newest event that is known."""
    newest = _newest(places)
    told = Text("it is {now:%Y-%m-%d %H:%M} UTC here", "本机时间 {now:%Y-%m-%d %H:%M} UTC").format(now=now)
    if newest is not None and newest > now + _AHEAD:
        found = Text(
            "it is {now:%Y-%m-%d %H:%M} UTC here, yet an event of {newest:%Y-%m-%d %H:%M} is known",
            "本机时间 {now:%Y-%m-%d %H:%M} UTC，但已有 {newest:%Y-%m-%d %H:%M} 的事件",
        )
        advice = Text(
            "set the clock (NTP), or look for events with a wrong time or zone",
            "请校准时钟（NTP），或检查时间、时区有误的事件",
        )
        return "warning", found.format(now=now, newest=newest), advice
    return "ok", told, NOTHING


def _newest(places: Places) -> datetime | None:
    try:
        lake: Lake = places.lake()
    except MissingError:
        return None
    found = [file.last_us for bucket in lake.buckets() for file in lake.files(bucket)]
    return from_us(max(found)) if found else None
