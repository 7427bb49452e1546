"""The configuration of a workspace: one frozen typed object a stage, nested in one, loaded once.

`load_config` reads `ebbtide.toml`, lets environment variables (`EBBTIDE_CHURN__HORIZON=60d`) and then `overrides`
(flags) win, and reports every problem at once. Unknown keys are errors with a suggestion.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from ebbtide.core.errors import ConfigError, EbbtideError, InputError
from ebbtide.core.language import Language, Text
from ebbtide.core.windows import days, parse_duration

TABLES = ("events", "items", "users", "exposures", "consents")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_EXPANDED = ("path", "url", "query")


def setting(default: Any, en: str, zh: str, **limits: Any) -> Any:
    """Declare one setting once: default, meaning in English and Chinese, limits. `...` means required."""
    return Field(default, description=en, json_schema_extra={"zh": zh}, **limits)


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class ShopConfig(_Stage):
    """`[shop]`: who the shop is and how its raw data are written."""

    name: str = setting("Shop", "name of the shop, shown on pages", "店铺名称，显示在页面上")
    currency: str = setting(
        "", "ISO code of the money in the log; empty: unknown", "日志中金额的 ISO 货币代码；空：未知"
    )
    timezone: str = setting("UTC", "time zone of raw times that carry none", "原始时间未带时区时所用的时区")
    arrival_lag: str = setting(
        "0s",
        "ingested_at = occurred_at + this, where a source gives no ingested_at",
        "来源没有 ingested_at 时，ingested_at = occurred_at + 此时长",
    )
    language: Language = setting("en", "language of pages and messages: en or zh", "页面与消息的语言：en 或 zh")

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"unknown time zone{_nearest(value, available_timezones())}")
        return value

    @field_validator("arrival_lag")
    @classmethod
    def _lag(cls, value: str) -> str:
        return _duration(value)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone object."""
        return ZoneInfo(self.timezone)


class SourceConfig(_Stage):
    """`[[source]]`: one raw file pattern or query and how its columns become canonical ones."""

    table: Literal["events", "items", "users", "exposures", "consents"] = setting(
        "events", "canonical table that it fills", "写入哪一张规范表"
    )
    name: str = setting(
        "", "name of the source; default: the table, numbered if several", "来源名称；默认用表名，多个时编号"
    )
    path: str = setting(
        "",
        "file or pattern, relative to ebbtide.toml; ${VARIABLES} expanded",
        "文件或通配符，相对于 ebbtide.toml；展开 ${变量}",
    )
    url: str = setting(
        "", "postgresql:// or sqlite:// instead of a path", "不用文件时：postgresql:// 或 sqlite:// 地址", repr=False
    )
    query: str = setting("", "SQL text run at url", "在该地址执行的 SQL")
    preset: str = setting("", "a shipped mapping, for example ga4 or segment", "内置映射，例如 ga4 或 segment")
    where: str = setting("", "SQL filter on the raw columns", "对原始列的 SQL 过滤条件")
    delimiter: str = setting("", "CSV delimiter; empty: detected", "CSV 分隔符；空：自动识别")
    encoding: str = setting(
        "", "encoding of text files, for example gb18030; empty: UTF-8", "文本文件的编码，例如 gb18030；空：UTF-8"
    )
    time_format: str = setting(
        "", "strptime format of text times; empty: detected", "文本时间的 strptime 格式；空：自动识别"
    )
    decimal: str = setting(".", "decimal sign of numbers in text files", "文本文件中数字的小数点符号")
    drop_exact_duplicates: bool = setting(False, "count exact copies of a row as duplicates", "将完全相同的行计为重复")
    columns: dict[str, str] = setting(
        {}, "canonical column = SQL expression over the raw columns", "规范列 = 对原始列的 SQL 表达式"
    )


class ChurnConfig(_Stage):
    """`[churn]`: whose silence, of what kind, for how long, counts as churn."""

    outcome: str | list[str] = setting(
        "order", "event type(s) whose absence is churn, or any", "缺席即为流失的事件类型（可多个），或 any"
    )
    horizon: str = setting("30d", "length of the outcome window", "结果窗口长度")
    eligible: str = setting(
        "order in 180d", "who is asked about: TYPE in DURATION before as_of", "考察对象：as_of 之前的 类型 in 时长"
    )
    gap: str = setting("0d", "pause between as_of and the outcome window", "as_of 与结果窗口之间的间隔")

    @field_validator("horizon", "gap")
    @classmethod
    def _span(cls, value: str) -> str:
        return _duration(value)

    @field_validator("eligible")
    @classmethod
    def _eligible(cls, value: str) -> str:
        match = re.fullmatch(r"\s*([\w, ]+?)\s+in\s+(\S+)\s*", value)
        if not match:
            raise ValueError("expected `TYPE in DURATION`, for example `order in 180d`")
        _duration(match[2])
        return value


class BandsConfig(_Stage):
    """`[bands]`: lower limits of the risk bands, by calibrated probability."""

    high: float = setting(0.7, "from this churn probability on: high", "流失概率达到此值为高风险", gt=0, le=1)
    medium: float = setting(0.4, "from this churn probability on: medium", "流失概率达到此值为中风险", gt=0, le=1)


class LakeConfig(_Stage):
    """`[lake]`: how events are kept."""

    rows_per_bucket: int = setting(500_000, "aimed size of one user bucket, in events", "每个用户桶的目标事件数", gt=0)
    buckets: int = setting(
        0,
        "number of user buckets, fixed at the first ingest; 0: chosen from the log's size",
        "用户桶数量，首次导入时固定；0：按日志大小选择",
        ge=0,
        le=65536,
    )
    memory_limit: str = setting("1GB", "memory that reading raw files may take", "读取原始文件可用的内存")


class FeaturesConfig(_Stage):
    """`[features]`: what is computed for each user."""

    file: str = setting(
        "",
        "a Python file with a list FEATURES of the shop's own declarations",
        "店铺自有特征声明的 Python 文件（列表 FEATURES）",
    )
    drop: list[str] = setting([], "names or families not to use", "不使用的特征名或特征族")
    unsupervised: list[Literal["pca", "segments", "factors", "vae_code"]] = setting(
        [],
        "columns found without labels: pca (main directions), segments (K-means), factors (factor analysis), vae_code "
        "(code of a variational autoencoder; extra `deep`)",
        "无需标签得到的列：pca（主方向）、segments（K 均值分群）、factors（因子分析）、vae_code（变分自编码器的编码；需扩展 deep）",
    )


class ItemsConfig(_Stage):
    """`[items]`: how items become vectors, for models that read event sequences."""

    encoder: Literal["auto", "none", "text", "sentence", "pictures", "backbone", "vector"] = setting(
        "auto",
        "auto (ready vectors if there are any, else texts), none, text, sentence, pictures, backbone or vector",
        "auto（有现成向量则用向量，否则用文本）、none、text、sentence、pictures、backbone 或 vector",
    )
    dims: int = setting(
        64, "numbers of a vector; a ready vector keeps its own", "向量的维数；现成向量保持原有维数", ge=2, le=1024
    )
    model: str = setting(
        "",
        "sentence: a model's folder, or its name on the hub; backbone: a network of torchvision.models",
        "sentence：模型文件夹或模型库中的名称；backbone：torchvision.models 中的网络名",
    )
    weights: str = setting("", "backbone: file of the network's weights", "backbone：网络权重文件")


class TrainConfig(_Stage):
    """`[train]`: how models are fitted and judged."""

    model: str = setting(
        "auto", "model name; auto chooses on earlier closed cutoffs", "模型名；auto 用更早的已结束时点选择"
    )
    seed: int = setting(0, "seed of every random choice", "所有随机选择的种子", ge=0)
    max_rows: int = setting(
        400_000, "cap on training rows; users are sampled beyond it", "训练行数上限；超出时按用户抽样", ge=1000
    )
    max_cutoffs: int = setting(24, "cap on training cutoffs", "训练时点数上限", ge=2, le=365)
    tuned: bool = setting(
        False,
        "use the settings that `ebbtide tune` found for the models that take part",
        "对参与的模型使用 `ebbtide tune` 找到的参数",
    )
    bootstrap: int = setting(300, "draws of each interval", "每个区间的自助抽样次数", ge=50)


class DeepConfig(_Stage):
    """`[deep]`: neural models (extra `deep`)."""

    max_len: int = setting(
        128, "newest events of a user that a model reads", "模型读取的每位用户最新事件数", ge=4, le=4096
    )
    hidden: int = setting(64, "width of the hidden state", "隐藏状态的宽度", ge=8, le=4096)
    dropout: float = setting(0.1, "share of values left out at random in training", "训练中随机丢弃的比例", ge=0, lt=1)
    items: int = setting(5000, "items with an embedding of their own", "拥有独立嵌入的商品数", ge=0, le=60_000)
    epochs: int = setting(12, "most passes over the training rows", "训练行的最多遍数", ge=1, le=1000)
    batch: int = setting(256, "rows in a batch", "每批行数", ge=1, le=65536)
    learning_rate: float = setting(0.002, "peak learning rate", "最高学习率", gt=0, le=1)
    patience: int = setting(
        3, "passes without improvement on held-out users before stopping", "留出用户上无改进多少遍后停止", ge=1
    )
    max_events: int = setting(
        20_000_000,
        "events that one fit may read in all; fewer passes beyond it",
        "一次训练最多读取的事件总数",
        ge=10_000,
    )
    size: str = setting(
        "tiny", "size of the event model: tiny, small, base, large, xl", "事件模型的规模：tiny、small、base、large、xl"
    )
    encoder: Literal["", "gru", "transformer"] = setting(
        "", "encoder of the event model; empty: that of its size", "事件模型的编码器；空：取其规模的默认"
    )
    pretrained: str = setting(
        "",
        "folder of a pretrained event model to start from; empty: pretrain here; none: start untrained",
        "作为起点的预训练事件模型文件夹；空：就地预训练；none：不预训练",
    )
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "auto, cpu or cuda", "auto、cpu 或 cuda")


class AugmentConfig(_Stage):
    """`[augment]`: what training makes up beside the data; the held-out moments stay as they are. All off by default.

    Event nets are cnn, cnn_rnn, lstm, rnn and transformer; the event model learns from slices as it is.
    """

    crop: float = setting(
        0.0,
        "event nets: most of a history that may be left out, oldest first",
        "事件网络：最多可省略的最早历史比例",
        ge=0,
        lt=1,
    )
    mask: float = setting(0.0, "event nets: share of tokens that are hidden", "事件网络：被遮盖的标记比例", ge=0, lt=1)
    jitter: float = setting(
        0.0, "event nets: spread of the logarithm of pauses", "事件网络：间隔对数的抖动幅度", ge=0, le=5
    )
    mixup: float = setting(
        0.0,
        "event nets: alpha of the Beta weights with which histories are blended",
        "事件网络：混合历史的 Beta 权重 alpha",
        ge=0,
        le=10,
    )
    rare: Literal["none", "smote", "gan"] = setting(
        "none",
        "models of columns: how more rows of the rare class are made: none, smote (between neighbours), gan (a small "
        "Wasserstein GAN; extra `deep`)",
        "列模型：如何增补稀少类别的行：none、smote（近邻插值）、gan（小型 Wasserstein GAN；需扩展 deep）",
    )
    rare_share: float = setting(0.4, "share that the rare class is brought to", "稀少类别补足到的比例", gt=0, le=0.5)


class ProfitConfig(_Stage):
    """`[profit]`: what the EMPC profit assumes (Verbraken, Verbeke, Baesens 2013)."""

    alpha: float = setting(6.0, "beta prior of the acceptance rate: alpha", "接受率 Beta 先验的 alpha", gt=0)
    beta: float = setting(14.0, "beta prior of the acceptance rate: beta", "接受率 Beta 先验的 beta", gt=0)
    clv: float = setting(200.0, "value of a kept customer, in shop currency", "保留一位顾客的价值（店铺货币）", gt=0)
    incentive: float = setting(10.0, "cost of the incentive, in shop currency", "激励成本（店铺货币）", ge=0)
    contact: float = setting(1.0, "cost of one contact, in shop currency", "一次接触的成本（店铺货币）", ge=0)


class TrackingConfig(_Stage):
    """`[tracking]`: where runs are recorded beside `.ebbtide/runs`."""

    mlflow: str = setting(
        "",
        "file:FOLDER of an MLflow file store, relative to ebbtide.toml; empty: none",
        "MLflow 文件存储 file:FOLDER，相对于 ebbtide.toml；空：不使用",
    )

    @field_validator("mlflow")
    @classmethod
    def _file_store(cls, value: str) -> str:
        if value and not re.fullmatch(r"file:.+", value):
            raise ValueError("expected `file:FOLDER`, for example `file:mlruns`")
        return value


class Config(_Stage):
    """All of `ebbtide.toml`."""

    shop: ShopConfig = ShopConfig()
    source: list[SourceConfig] = []
    churn: ChurnConfig = ChurnConfig()
    bands: BandsConfig = BandsConfig()
    lake: LakeConfig = LakeConfig()
    features: FeaturesConfig = FeaturesConfig()
    items: ItemsConfig = ItemsConfig()
    train: TrainConfig = TrainConfig()
    deep: DeepConfig = DeepConfig()
    augment: AugmentConfig = AugmentConfig()
    profit: ProfitConfig = ProfitConfig()
    tracking: TrackingConfig = TrackingConfig()

    def sources(self) -> list[SourceConfig]:
        """The sources, each with its name: the given one, else its table, numbered where several share it."""
        named, seen = [], dict[str, int]()
        for source in self.source:
            count = seen[source.table] = seen.get(source.table, 0) + 1
            default = source.table if count == 1 else f"{source.table}-{count}"
            named.append(source.model_copy(update={"name": source.name or default}))
        return named


def load_config(
    file: Path, *, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read the config of a workspace. Precedence: file < environment (`EBBTIDE_SECTION__KEY`) < `overrides`.

    `overrides` is nested like the file, for example `{"churn": {"horizon": "60d"}}`.
    Raises ConfigError with all problems, InputError if the file is missing.
    """
    environ = os.environ if environ is None else environ
    if not file.is_file():
        raise InputError(
            "no `ebbtide.toml` in the workspace: run `ebbtide init FILE...` there first, or point -w to a workspace",
            "工作区内没有 `ebbtide.toml`：请先在其中运行 `ebbtide init FILE...`，或用 -w 指定工作区",
        )
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(
            [Text(f"ebbtide.toml is no valid TOML: {fault}", f"ebbtide.toml 不是有效的 TOML：{fault}")]
        ) from None
    for source in (_from_environment(environ), overrides or {}):
        for section, values in source.items():
            if isinstance(values, Mapping) and isinstance(raw.get(section, {}), dict):
                raw.setdefault(section, {}).update(values)
            else:
                raw[section] = values
    return parse_config(raw, environ=environ)


def parse_config(raw: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> Config:
    """Validate a nested mapping; `${VARIABLES}` in a source's path, url and query are expanded from `environ`.

    A variable that is not set stays as it is: only who reads the source needs it (`check_variables`).
    Raises ConfigError with all problems at once.
    """
    problems: list[Text] = []
    data = dict(raw)
    sources = data.get("source")
    if isinstance(sources, list):
        data["source"] = [_expand(s, environ or {}) if isinstance(s, Mapping) else s for s in sources]
    try:
        config = Config.model_validate(data)
    except ValidationError as fault:
        problems += [_problem(e) for e in fault.errors(include_url=False, include_context=False)]
    else:
        problems += _cross_checks(config)
    if problems:
        raise ConfigError(problems)
    return config


def check_variables(sources: Iterable[SourceConfig]) -> None:
    """Raise ConfigError with every `${VARIABLE}` that a source needs and the environment did not give."""
    unset = [(s.name, name) for s in sources for part in _EXPANDED for name in _VARIABLE.findall(getattr(s, part))]
    if unset:
        raise ConfigError(
            [
                Text(
                    f"source {source}: the variable {name} is not set in the environment",
                    f"来源 {source}：环境变量 {name} 未设置",
                )
                for source, name in dict.fromkeys(unset)
            ]
        )


def _expand(source: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    def value(match: re.Match[str]) -> str:
        return environ.get(match[1], match[0])

    return {k: _VARIABLE.sub(value, v) if k in _EXPANDED and isinstance(v, str) else v for k, v in source.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """`EBBTIDE_CHURN__HORIZON=60d` -> {"churn": {"horizon": "60d"}}; only names with a double underscore count.

    A value in brackets is a list, as in TOML: `EBBTIDE_FEATURES__DROP=["calendar"]`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in environ.items():
        match = re.fullmatch(r"EBBTIDE_([A-Z]+)__([A-Z_]+)", name)
        if match:
            found.setdefault(match[1].lower(), {})[match[2].lower()] = _listed(value)
    return found


def _listed(value: str) -> str | list[Any]:
    if not value.startswith("["):
        return value
    try:
        listed: list[Any] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value
    return listed


def _cross_checks(config: Config) -> list[Text]:
    problems = []
    if config.bands.medium >= config.bands.high:
        problems.append(Text("bands: medium must be below high", "bands：medium 必须小于 high"))
    for source in config.sources():
        if bool(source.path) == bool(source.url):
            problems.append(
                Text(
                    f"source {source.name}: give either path, or url with query",
                    f"来源 {source.name}：请给出 path，或 url 与 query",
                )
            )
        if source.url and not source.query:
            problems.append(Text(f"source {source.name}: url needs a query", f"来源 {source.name}：url 需要 query"))
        if not source.columns and not source.preset:
            problems.append(
                Text(f"source {source.name}: give columns or a preset", f"来源 {source.name}：请给出 columns 或 preset")
            )
    names = [s.name for s in config.sources()]
    problems += [
        Text(f"source: the name {n} is used twice", f"source：名称 {n} 重复使用")
        for n in sorted(set(names))
        if names.count(n) > 1
    ]
    return problems


def _problem(error: Any) -> Text:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        hint = _nearest(str(error["loc"][-1]), known)
        listed = ", ".join(sorted(known))
        return Text(f"{where}: unknown key{hint}; known keys: {listed}", f"{where}：未知的键{hint}；可用的键：{listed}")
    reason = str(error["msg"]).removeprefix("Value error, ")
    return Text(f"{where}: {reason}", f"{where}：{reason}")


def _keys_at(path: tuple[int | str, ...]) -> set[str]:
    fields: dict[str, FieldInfo] = Config.model_fields
    for part in path:
        if isinstance(part, int):
            continue
        inner = SourceConfig if part == "source" else fields[str(part)].annotation
        fields = getattr(inner, "model_fields", {})
    return set(fields)


def _nearest(word: str, known: set[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _duration(value: str) -> str:
    try:
        if days(parse_duration(value)) < 0:
            raise ValueError("must not be negative")
    except EbbtideError as fault:
        raise ValueError(str(fault)) from None
    return value
