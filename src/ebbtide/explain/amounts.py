"""Numbers as a person would say them, by unit: counts, days, money, shares, ratios, changes."""

from __future__ import annotations

import math

from ebbtide.core.language import Language, Text

_SIGNS = {"GBP": "£", "USD": "$", "EUR": "€", "CNY": "¥", "JPY": "¥"}
_DAY = Text("{n} day", "{n} 天")
_DAYS = Text("{n} days", "{n} 天")
_MINUTE = Text("{n} minute", "{n} 分钟")
_MINUTES = Text("{n} minutes", "{n} 分钟")
_MORE_DAY = Text("{n} more day", "另有 {n} 天")
_MORE_DAYS = Text("{n} more days", "另有 {n} 天")
_AS_MUCH, _MULTIPLE = Text("about", "{n} 倍"), Text("{n} times", "{n} 倍")
_UNDER_A_DAY = Text("less than a day", "不到 1 天")
_UNCHANGED = Text("unchanged", "不变")
_UP, _DOWN = Text("up {n}", "上升 {n}"), Text("down {n}", "下降 {n}")
_TIMES = Text("{n} times as much", "增至 {n} 倍")
_HIGHER, _LOWER = Text("{n} higher", "高 {n}"), Text("{n} lower", "低 {n}")
_POINTS = Text("{n} percentage points", "{n} 个百分点")
_TONES = (
    (-0.5, Text("clearly negative", "明显负面")),
    (-0.1, Text("rather negative", "偏负面")),
    (0.1, Text("neutral", "中性")),
    (0.5, Text("rather positive", "偏正面")),
    (math.inf, Text("clearly positive", "明显正面")),
)
_HARDLY = Text("hardly any", "几乎没有")
_FROM_NOTHING = Text("up from nothing", "从零增加")
_TO_NOTHING = Text("down to nothing", "降到零")


def say(value: float, unit: str, language: Language, *, currency: str = "") -> str:
    """A known number in words, rounded to what a reader can use. An unknown unit is a plain number.

    `change` is (new - old) / (new + old), from -1 to 1, and is said as the change from old to new; `log_change` and
    `log_level` are logarithms of a quotient, `log_count` that of a number; `faded` is a count whose older parts weigh less; `points` is a difference of shares, `difference` one of numbers; `tone` lies between -1 (blame) and 1 (praise); `times` is
    a quotient that stands before what it is measured by: "2.3 times the usual gap", "about the usual gap".

    >>> say(46.8, "days", "en"), say(0.254, "share", "zh"), say(1234.5, "money", "en", currency="GBP")
    ('47 days', '25%', '£1,234')
    >>> say(-0.5, "change", "en"), say(1.0, "change", "zh")
    ('down 67%', '从零增加')
    >>> say(-0.62, "tone", "en")
    'clearly negative (-0.6)'
    """
    match unit:
        case "days":
            if 0 < abs(value) < 0.95:
                return _UNDER_A_DAY[language]
            return _counted(value, _DAY[language], _DAYS[language])
        case "more_days":
            return _counted(value, _MORE_DAY[language], _MORE_DAYS[language])
        case "times":
            return _counted(value, _AS_MUCH[language], _MULTIPLE[language])
        case "minutes":
            return _counted(value, _MINUTE[language], _MINUTES[language])
        case "money":
            return _money(value, currency)
        case "share":
            return _percent(value)
        case "change":
            return _change(value)[language]
        case "per_hundred":
            return _number(100 * value)
        case "log_change":
            return _relative(math.exp(min(value, 50.0)), _UP, _DOWN)[language]
        case "log_level":
            return _relative(math.exp(min(value, 50.0)), _HIGHER, _LOWER)[language]
        case "log_count":
            return _number(math.exp(min(value, 50.0)))
        case "faded":
            return _HARDLY[language] if 0 < value < 0.095 else _number(value)
        case "tone":
            return _tone(value)[language]
        case "points":
            return _signed(value, _POINTS.format(n=_number(100 * abs(value))))[language]
        case "difference":
            return _signed(value, Text(_number(abs(value)), _number(abs(value))))[language]
        case _:
            return _number(value)


def _counted(value: float, one: str, many: str) -> str:
    text = _number(value)
    return (one if text == "1" else many).format(n=text)


def _number(value: float) -> str:
    """Three digits are enough, and whole numbers stay whole.

    >>> [_number(v) for v in (3.0, 2.45, 0.0312, 47.4, 12345.6, 0.0)]
    ['3', '2.5', '0.03', '47', '12,346', '0']
    """
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 9.95 or value == round(value):
        return f"{value + 0.0:,.0f}"
    if size >= 1:
        return _trim(f"{value:.1f}")
    return _trim(f"{value:.2f}") if size >= 0.0095 else f"{value:.1g}"


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".")


def _money(value: float, currency: str) -> str:
    digits = f"{abs(value):,.0f}" if abs(value) >= 100 or value == round(value) else f"{abs(value):,.2f}"
    minus = "-" if value < 0 and digits.strip("0.,") else ""
    if currency in _SIGNS:
        return f"{minus}{_SIGNS[currency]}{digits}"
    return f"{minus}{digits} {currency}".rstrip()


def _percent(value: float) -> str:
    percent = 100 * value
    if 0 < abs(percent) < 0.95:
        return "<1%" if percent > 0 else ">-1%"
    return f"{percent:,.0f}%".replace("-0%", "0%")


def _change(value: float) -> Text:
    if value >= 1:
        return _FROM_NOTHING
    if value <= -1:
        return _TO_NOTHING
    return _relative((1 + value) / (1 - value), _UP, _DOWN)


def _relative(quotient: float, above: Text, below: Text) -> Text:
    if quotient >= 3:
        return _TIMES.format(n=_number(quotient))
    if abs(quotient - 1) < 0.005:
        return _UNCHANGED
    return (above if quotient > 1 else below).format(n=_percent(abs(quotient - 1)))


def _tone(value: float) -> Text:
    """In words, with the number: -1 blame, 0 neither, 1 praise."""
    words = next(words for most, words in _TONES if value <= most)
    return Text(f"{words.en} ({value:+.1f})", f"{words.zh}（{value:+.1f}）")


def _signed(value: float, size: Text) -> Text:
    return (_HIGHER if value > 0 else _LOWER).format(n=size) if abs(value) >= 0.005 else _UNCHANGED
