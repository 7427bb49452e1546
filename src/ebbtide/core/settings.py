"""The settings of `ebbtide.toml`, section by section: each declared once, with its meaning in English and Chinese."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbtide.core.errors import EbbtideError
from ebbtide.core.language import Language
from ebbtide.core.windows import days, parse_duration


def setting(default: Any, en: str, zh: str, **limits: Any) -> Any:
    """Declare one setting once: default, meaning in English and Chinese, limits. `...` means required."""
    return Field(default, description=en, json_schema_extra={"zh": zh}, **limits)


class Stage(BaseModel):
    """One section: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class ShopConfig(Stage):
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
            raise ValueError(f"unknown time zone{did_you_mean(value, available_timezones())}")
        return value

    @field_validator("arrival_lag")
    @classmethod
    def _lag(cls, value: str) -> str:
        return checked_duration(value)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone object."""
        return ZoneInfo(self.timezone)


class SourceConfig(Stage):
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
    currency_sign: str = setting(
        "",
        "currency sign or code beside amounts in text files, for example € or EUR; one with another goes to quarantine",
        "文本文件中金额旁的货币符号或代码，例如 ￥ 或 EUR；带其他符号的金额进入隔离区",
    )
    drop_exact_duplicates: bool = setting(False, "count exact copies of a row as duplicates", "将完全相同的行计为重复")
    columns: dict[str, str] = setting(
        {}, "canonical column = SQL expression over the raw columns", "规范列 = 对原始列的 SQL 表达式"
    )


class ChurnConfig(Stage):
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
        return checked_duration(value)

    @field_validator("eligible")
    @classmethod
    def _eligible(cls, value: str) -> str:
        match = re.fullmatch(r"\s*([\w, ]+?)\s+in\s+(\S+)\s*", value)
        if not match:
            raise ValueError("expected `TYPE in DURATION`, for example `order in 180d`")
        checked_duration(match[2])
        return value


class BandsConfig(Stage):
    """`[bands]`: lower limits of the risk bands, by calibrated probability."""

    high: float = setting(0.7, "from this churn probability on: high", "流失概率达到此值为高风险", gt=0, le=1)
    medium: float = setting(0.4, "from this churn probability on: medium", "流失概率达到此值为中风险", gt=0, le=1)


class LakeConfig(Stage):
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


class FeaturesConfig(Stage):
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


class ItemsConfig(Stage):
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


class TrainConfig(Stage):
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
    treated: Literal["keep", "leave_out", "model"] = setting(
        "model",
        "rows of customers who got an action inside the outcome window: leave_out (not learnt from), model (learnt from as "
        "if nothing had been done) or keep (learnt from as they are: the risk is then the one with actions); figures are "
        "always told on the others",
        "结果窗口内获得过动作的顾客的行：leave_out（不参与学习）、model（按未采取动作时的情况学习）"
        "或 keep（照原样学习，风险即含动作时的风险）；指标始终只在其余顾客上给出",
    )


class DeepConfig(Stage):
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


class AugmentConfig(Stage):
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


class ProfilesConfig(Stage):
    """`[profiles]`: how customers are put into stages and groups."""

    silence_factor: float = setting(
        2.0,
        "at risk: silent for more than this times the own usual gap",
        "有流失风险：沉默超过自己通常间隔的倍数",
        gt=1,
    )
    clusters: int = setting(
        5, "groups of alike behaviour (K-means), at most", "行为相似的群数（K 均值）上限", ge=2, le=20
    )


class ProfitConfig(Stage):
    """`[profit]`: what the EMPC profit assumes (Verbraken, Verbeke, Baesens 2013)."""

    alpha: float = setting(6.0, "beta prior of the acceptance rate: alpha", "接受率 Beta 先验的 alpha", gt=0)
    beta: float = setting(14.0, "beta prior of the acceptance rate: beta", "接受率 Beta 先验的 beta", gt=0)
    clv: float = setting(200.0, "value of a kept customer, in shop currency", "保留一位顾客的价值（店铺货币）", gt=0)
    incentive: float = setting(10.0, "cost of the incentive, in shop currency", "激励成本（店铺货币）", ge=0)
    contact: float = setting(1.0, "cost of one contact, in shop currency", "一次接触的成本（店铺货币）", ge=0)


class TrackingConfig(Stage):
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


def checked_duration(value: str) -> str:
    """A duration as it was written, or a ValueError that says how to write one."""
    try:
        if days(parse_duration(value)) < 0:
            raise ValueError("must not be negative")
    except EbbtideError as fault:
        raise ValueError(str(fault)) from None
    return value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word as a question in brackets, or nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" (did you mean `{close[0]}`?)" if close else ""
