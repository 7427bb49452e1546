"""The configuration of a workspace: one frozen typed object a stage, nested in one, loaded once.

`load_config` reads `ebbtide.toml`, lets environment variables (`EBBTIDE_CHURN__HORIZON=60d`) and then `overrides`
(flags) win, and reports every problem at once. Unknown keys are errors with a suggestion.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from ebbtide.core.action_settings import ActionConfig, ActionsConfig, CampaignConfig, action_problems
from ebbtide.core.alert_settings import AlertConfig, AlertsConfig, ChannelConfig, alert_problems
from ebbtide.core.errors import ConfigError, InputError
from ebbtide.core.language import Text
from ebbtide.core.outreach_settings import LlmConfig, MessageConfig, RecommendConfig
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.core.settings import (
    AugmentConfig,
    BandsConfig,
    ChurnConfig,
    DeepConfig,
    FeaturesConfig,
    ItemsConfig,
    LakeConfig,
    ProfilesConfig,
    ProfitConfig,
    ShopConfig,
    SourceConfig,
    Stage,
    TrackingConfig,
    TrainConfig,
    did_you_mean,
)
from ebbtide.core.stream_settings import StreamConfig

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_EXPANDED = ("path", "url", "query")


class Config(Stage):
    """All of `ebbtide.toml`."""

    shop: ShopConfig = ShopConfig()
    source: list[SourceConfig] = Field(default=[])
    churn: ChurnConfig = ChurnConfig()
    bands: BandsConfig = BandsConfig()
    lake: LakeConfig = LakeConfig()
    features: FeaturesConfig = FeaturesConfig()
    items: ItemsConfig = ItemsConfig()
    train: TrainConfig = TrainConfig()
    deep: DeepConfig = DeepConfig()
    augment: AugmentConfig = AugmentConfig()
    profiles: ProfilesConfig = ProfilesConfig()
    profit: ProfitConfig = ProfitConfig()
    action: list[ActionConfig] = Field(default=[])
    actions: ActionsConfig = ActionsConfig()
    campaign: CampaignConfig = CampaignConfig()
    serve: ServeConfig = ServeConfig()
    alert: list[AlertConfig] = Field(default=[])
    alerts: AlertsConfig = AlertsConfig()
    channel: list[ChannelConfig] = Field(default=[])
    stream: StreamConfig = StreamConfig()
    tracking: TrackingConfig = TrackingConfig()
    recommend: RecommendConfig = RecommendConfig()
    message: list[MessageConfig] = Field(default=[])
    llm: LlmConfig = LlmConfig()

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
    """Validate a nested mapping; `${VARIABLES}` in a source's path, url and query and in the urls of channels and of the
    stream are expanded from `environ`.

    A variable that is not set stays as it is: only who reads the source or the stream needs it (`check_variables`).
    Raises ConfigError with all problems at once.
    """
    problems: list[Text] = []
    data = dict(raw)
    for section in ("source", "channel"):
        rows = data.get(section)
        if isinstance(rows, list):
            data[section] = [_expand(s, environ or {}) if isinstance(s, Mapping) else s for s in rows]
    if isinstance(data.get("stream"), Mapping):
        data["stream"] = _expand(data["stream"], environ or {})
    try:
        config = Config.model_validate(data)
    except ValidationError as fault:
        problems += [_problem(e) for e in fault.errors(include_url=False, include_context=False)]
    else:
        problems += _cross_checks(config)
    if problems:
        raise ConfigError(problems)
    return config


def secret_of(variable: str, *, environ: Mapping[str, str] | None = None) -> SecretStr | None:
    """The secret in an environment variable, whose value no repr shows; None if no variable is named.

    Raises ConfigError if the variable is not set.
    """
    if not variable:
        return None
    value = (os.environ if environ is None else environ).get(variable, "")
    if not value:
        raise ConfigError(
            [Text(f"the variable {variable} is not set in the environment", f"环境变量 {variable} 未设置")]
        )
    return SecretStr(value)


def named_secret(name: str, *, environ: Mapping[str, str] | None = None) -> str:
    """The value of an environment variable that the user names. Raises InputError if it is not set."""
    value = (os.environ if environ is None else environ).get(name, "")
    if not value:
        raise InputError("the variable {name} is not set in the environment", "环境变量 {name} 未设置", name=name)
    return value


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


def read_secrets(names: Iterable[str], *, environ: Mapping[str, str] | None = None) -> dict[str, SecretStr]:
    """The values of the environment variables that a config names, masked wherever they are shown.

    Raises ConfigError with every one that is not set or empty.
    """
    environ = os.environ if environ is None else environ
    wanted = list(dict.fromkeys(names))
    unset = [name for name in wanted if not environ.get(name)]
    if unset:
        raise ConfigError(
            [
                Text(
                    f"the variable {name} is not set in the environment; a channel needs the secret that it holds",
                    f"环境变量 {name} 未设置；某个渠道需要其中的密钥",
                )
                for name in unset
            ]
        )
    return {name: SecretStr(environ[name]) for name in wanted}


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
    return problems + action_problems(config.action, config.actions) + alert_problems(config.alert, config.channel)


def _problem(error: Any) -> Text:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        hint = did_you_mean(str(error["loc"][-1]), known)
        listed = ", ".join(sorted(known))
        return Text(f"{where}: unknown key{hint}; known keys: {listed}", f"{where}：未知的键{hint}；可用的键：{listed}")
    reason = str(error["msg"]).removeprefix("Value error, ")
    return Text(f"{where}: {reason}", f"{where}：{reason}")


def _keys_at(path: tuple[int | str, ...]) -> set[str]:
    fields: dict[str, FieldInfo] = Config.model_fields
    for part in path:
        if isinstance(part, int):
            continue
        inner = fields[str(part)].annotation
        inner = next(iter(get_args(inner)), inner)  # the rows of a list
        fields = getattr(inner, "model_fields", {})
    return set(fields)
