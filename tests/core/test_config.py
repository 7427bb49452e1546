"""The configuration: every setting can be set and read back, every problem is named at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from ebbtide.core.action_settings import ActionConfig
from ebbtide.core.alert_settings import AlertConfig, ChannelConfig
from ebbtide.core.config import Config, check_variables, load_config, parse_config
from ebbtide.core.errors import ConfigError, InputError
from ebbtide.core.settings import SourceConfig, Stage

SECTIONS = {n: f.annotation for n, f in Config.model_fields.items() if get_origin(f.annotation) is not list}
SETTINGS = [(section, key) for section, model in SECTIONS.items() for key in model.model_fields]
SOURCE = {"path": "x.csv", "columns": {"user_id": "u"}}
OTHER: dict[tuple[str, str], Any] = {
    ("shop", "timezone"): "Europe/London",
    ("shop", "arrival_lag"): "2h",
    ("shop", "language"): "zh",
    ("churn", "horizon"): "45d",
    ("churn", "gap"): "3d",
    ("churn", "eligible"): "order in 90d",
    ("bands", "high"): 0.9,
    ("bands", "medium"): 0.2,
    ("features", "drop"): ["calendar"],
    ("features", "unsupervised"): ["pca"],
    ("items", "encoder"): "sentence",
    ("deep", "device"): "cpu",
    ("deep", "dropout"): 0.3,
    ("deep", "encoder"): "gru",
    ("augment", "crop"): 0.3,
    ("augment", "mask"): 0.1,
    ("augment", "jitter"): 0.2,
    ("augment", "mixup"): 0.4,
    ("augment", "rare"): "smote",
    ("augment", "rare_share"): 0.5,
    ("deep", "learning_rate"): 0.01,
    ("profiles", "clusters"): 7,
    ("tracking", "mlflow"): "file:mlruns",
    ("recommend", "window"): "60d",
    ("llm", "key_env"): "SHOP_LLM_KEY",
    ("recommend", "bought_before"): "hide",
    ("actions", "period"): "7d",
    ("actions", "cooldown"): "3d",
    ("actions", "quiet"): "21:00-08:00",
    ("actions", "margin"): 0.4,
    ("actions", "epsilon"): 0.05,
    ("actions", "assignment"): "thompson",
    ("actions", "min_share"): 0.1,
    ("actions", "max_share"): 0.5,
    ("actions", "guard_share"): 0.02,
    ("actions", "allow"): ["u1"],
    ("train", "treated"): "keep",
    ("alerts", "quiet"): "21:00-08:00",
    ("alerts", "expires"): "3d",
    ("alerts", "keep"): "30d",
    ("alerts", "retry_for"): "2h",
    ("campaign", "holdout"): 0.1,
    ("campaign", "control"): 0.3,
    ("campaign", "alpha"): 0.1,
    ("campaign", "power"): 0.9,
    ("campaign", "effect"): 0.02,
    ("campaign", "mismatch"): 0.01,
    ("campaign", "false_discovery"): 0.2,
    ("stream", "broker"): "nats",
    ("stream", "read"): [0],
    ("actions", "assumed_error"): 0.5,
}


def another_value(section: str, key: str) -> Any:
    """A valid value that differs from the default."""
    if (section, key) in OTHER:
        return OTHER[section, key]
    default = getattr(SECTIONS[section](), key)
    if isinstance(default, bool):
        return not default
    if isinstance(default, str) and re.fullmatch(r"\d+(ms|[smhdw])", default):
        return "45m"
    if isinstance(default, list):
        return ["other"]
    return default + type(default)(60) if isinstance(default, int | float) else "other"


def toml(section: str, key: str, value: Any) -> str:
    said = str(value) if isinstance(value, int | float | list) else f'"{value}"'
    said = said.lower() if isinstance(value, bool) else said
    return f"[{section}]\n{key} = {said}\n"


@pytest.mark.parametrize(("section", "key"), SETTINGS)
def test_every_setting_is_set_by_file_environment_and_flag(tmp_path: Path, section: str, key: str) -> None:
    value = another_value(section, key)
    file = tmp_path / "ebbtide.toml"

    file.write_text(toml(section, key, value))
    assert getattr(getattr(load_config(file, environ={}), section), key) == value

    file.write_text("")
    environ = {f"EBBTIDE_{section.upper()}__{key.upper()}": str(value)}
    assert getattr(getattr(load_config(file, environ=environ), section), key) == value
    loaded = load_config(file, environ={}, overrides={section: {key: value}})
    assert getattr(getattr(loaded, section), key) == value


@pytest.mark.parametrize(("section", "key"), SETTINGS)
def test_every_setting_is_told_in_both_languages(section: str, key: str) -> None:
    field = SECTIONS[section].model_fields[key]
    assert field.description
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["zh"]


ROWS = [
    (model, key)
    for model in (SourceConfig, ActionConfig, AlertConfig, ChannelConfig)
    for key in sorted(model.model_fields)
]


@pytest.mark.parametrize(("model", "key"), ROWS)
def test_every_setting_of_a_row_is_told_in_both_languages(model: type[Stage], key: str) -> None:
    extra = model.model_fields[key].json_schema_extra
    assert model.model_fields[key].description
    assert isinstance(extra, dict)
    assert extra["zh"]


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ebbtide.toml"
    file.write_text('[churn]\nhorizon = "10d"\n')
    environ = {"EBBTIDE_CHURN__HORIZON": "20d"}
    assert load_config(file, environ=environ).churn.horizon == "20d"
    assert load_config(file, environ=environ, overrides={"churn": {"horizon": "30d"}}).churn.horizon == "30d"


def test_all_problems_are_reported_at_once_with_suggestions() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"churn": {"horzon": "3d", "gap": "x"}, "bands": {"high": 3}, "shp": {}})
    assert len(caught.value.problems) == 4
    message = str(caught.value)
    assert "churn.horzon: unknown key (did you mean `horizon`?)" in message
    assert "`x` is not a duration" in message
    assert "shp: unknown key (did you mean `shop`?)" in message
    assert "配置有 4 个问题" in caught.value.text.zh


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"columns": {"user_id": "u"}}, "give either path, or url with query"),
        ({**SOURCE, "url": "sqlite:///x", "query": "select 1"}, "give either path, or url with query"),
        ({"url": "sqlite:///x", "columns": {"user_id": "u"}}, "url needs a query"),
        ({"path": "x.csv"}, "give columns or a preset"),
    ],
)
def test_a_source_that_cannot_work_is_refused(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", "\\(")):
        parse_config({"source": [source]})


def test_variables_are_expanded_in_paths_and_urls() -> None:
    config = parse_config({"source": [{**SOURCE, "path": "${HOME_OF_DATA}/x.csv"}]}, environ={"HOME_OF_DATA": "/d"})
    assert config.source[0].path == "/d/x.csv"


def test_only_who_reads_a_source_needs_its_variables() -> None:
    """The config loads without them; reading asks for all of them at once, each once."""
    sources = [{**SOURCE, "path": "${A}/${B}/${A}.csv"}, {**SOURCE, "path": "${SET}/y.csv"}]
    config = parse_config({"source": sources}, environ={"SET": "/d"})
    with pytest.raises(ConfigError, match="source events: the variable A is not set") as caught:
        check_variables(config.sources())
    assert len(caught.value.problems) == 2
    assert "环境变量 B 未设置" in caught.value.text.zh
    check_variables(config.sources()[1:])


def test_sources_without_a_name_are_numbered_by_table() -> None:
    config = parse_config({"source": [SOURCE, SOURCE, {**SOURCE, "table": "items"}]})
    assert [s.name for s in config.sources()] == ["events", "events-2", "items"]


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="the name a is used twice"):
        parse_config({"source": [{**SOURCE, "name": "a"}, {**SOURCE, "name": "a"}]})


def test_medium_must_lie_below_high() -> None:
    with pytest.raises(ConfigError, match="medium must be below high"):
        parse_config({"bands": {"high": 0.3, "medium": 0.4}})


def test_a_url_with_its_password_is_not_shown() -> None:
    config = parse_config({"source": [{"url": "postgresql://u:secret@h/d", "query": "q", "columns": {"user_id": "u"}}]})
    assert "secret" not in repr(config)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run `ebbtide init FILE\.\.\.` there first"):
        load_config(tmp_path / "ebbtide.toml", environ={})


def test_broken_toml_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "ebbtide.toml"
    file.write_text("[churn\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_config(file, environ={})


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ebbtide.toml"
    file.write_bytes(b'\xef\xbb\xbf[shop]\nname = "\xe5\xba\x97"\n')
    assert load_config(file, environ={}).shop.name == "店"


def test_languages_of_the_config_are_those_of_the_texts() -> None:
    assert set(get_args(Config.model_fields["shop"].annotation.model_fields["language"].annotation)) == {"en", "zh"}
