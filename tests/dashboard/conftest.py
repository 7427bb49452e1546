"""A made-up report with every section filled, and a browser where the machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from ebbtide.core.language import Text
from ebbtide.pipeline.report_data import (
    AtRiskUser,
    BacktestMoment,
    BandTotal,
    CalibrationBin,
    CurvePoint,
    DataHealth,
    Driver,
    Histogram,
    Interval,
    Metric,
    ReasonLine,
    ReportData,
    RetentionRow,
    SliceRow,
    SourceCount,
)

HOSTILE_ID = "<script>alert('owned')</script>"
AS_OF = datetime(2025, 6, 1, tzinfo=UTC)
FAMILIES = (
    ("Rhythm of ordering", "下单节奏"),
    ("Orders and their trend", "订单与趋势"),
    ("Browsing", "浏览"),
    ("Service", "客服"),
    ("Late deliveries", "配送延迟"),
    ("Price and discounts", "价格与折扣"),
    ("Variety of what is bought", "购买多样性"),
    ("Expected orders", "预计订单"),
)


@pytest.fixture(scope="session")
def report_data() -> ReportData:
    """A shop with every section of the report filled, a hostile user id and a very long one."""
    return make_report()


def make_report() -> ReportData:
    counts = (310, 520, 640, 710, 690, 720, 810, 905, 640, 230)
    return ReportData(
        shop="Example & Söhne 示例店",
        currency="GBP",
        as_of=AS_OF,
        definition=Text(
            "A customer has churned when there is no order in the 30 days after the date; "
            "asked about are customers with an order in the 180 days before it.",
            "若顾客在该日期之后 30 天内没有下单，则视为流失；考察对象为此前 180 天内下过单的顾客。",
        ),
        model="20250601T000000-auto-1a2b3c",
        users=sum(counts),
        users_at_risk=1775,
        quality_index=62.0,
        advice=Text(
            "Good enough to choose whom to contact first; check the probabilities again in a month.",
            "足以决定先联系哪些顾客；一个月后请再次检查概率。",
        ),
        bands=(
            BandTotal("high", 0.7, 1775, 1386.2, 84210.0),
            BandTotal("medium", 0.4, 2120, 1164.4, 61877.0),
            BandTotal("low", 0.0, 2280, 533.1, 20114.0),
        ),
        distribution=Histogram(tuple(i / 10 for i in range(11)), counts),
        top=tuple(_user(i) for i in range(12)),
        retention_unit=Text("month", "月"),
        health=_health(),
        drivers=tuple(Driver(Text(en, zh), 0.9 / (i + 1), 0.7 - 0.05 * i) for i, (en, zh) in enumerate(FAMILIES)),
        gain=tuple(_gain(i / 20) for i in range(21)),
        calibration=tuple(
            CalibrationBin(0.05 + i / 10, Interval(0.07 + 0.09 * i, 0.03 + 0.09 * i, 0.11 + 0.09 * i), 600)
            for i in range(10)
        ),
        metrics=_metrics(),
        tested_at=AS_OF - timedelta(days=30),
        backtest=tuple(_moment(i) for i in range(6)),
        retention=tuple(_cohort(i) for i in range(8)),
        survival=tuple(
            CurvePoint(float(d), Interval(0.98 ** (d / 6), 0.97 ** (d / 6), min(1.0, 0.985 ** (d / 6))))
            for d in range(0, 361, 10)
        ),
        silence_days=180.0,
        slices=(
            SliceRow(
                Text("tenure", "客龄"), Text("under 90 days", "90 天以内"), 2100, 0.51, Interval(0.7, 0.67, 0.73), True
            ),
            SliceRow(
                Text("tenure", "客龄"), Text("over 90 days", "90 天以上"), 4010, 0.41, Interval(0.76, 0.74, 0.78), True
            ),
            SliceRow(Text("country", "国家"), Text("Malta", "马耳他"), 12, 0.5, None, False),
        ),
        card=(
            (Text("Trained on", "训练数据"), Text("18 moments, 91,204 rows", "18 个时点，91,204 行")),
            (
                Text("Chosen model", "所选模型"),
                Text("blend of LightGBM and logistic regression", "LightGBM 与逻辑回归的组合"),
            ),
            (Text("Not for", "不适用于"), Text("customers who never ordered", "从未下单的顾客")),
        ),
    )


def _user(i: int) -> AtRiskUser:
    ids = {0: HOSTILE_ID, 1: "customer-" + "0123456789" * 6, 2: "顾客😀00042"}
    reasons = (
        ReasonLine("last order 96 days ago; usually every 21 days", True),
        ReasonLine(
            Text("2 late deliveries in the last 60 days; usually none", "近 60 天有 2 次配送延迟；平时没有"), True
        ),
        ReasonLine("customer for 3.2 years", False),
    )
    return AtRiskUser(
        ids.get(i, f"U{i:06d}"),
        0.97 - i / 100,
        100 - i / 10,
        "high",
        0.04 + i / 50,
        410.0 - 9 * i,
        reasons if i != 5 else (),
    )


def _health() -> DataHealth:
    return DataHealth(
        events=1_240_512,
        users=48_120,
        first=datetime(2023, 1, 1, tzinfo=UTC),
        last=datetime(2025, 6, 1, 8, 30, tzinfo=UTC),
        sources=(SourceCount("orders", 541_909, 397_884, 1_336, 135_080, 7_609),),
        quarantine=(
            (Text("the user is missing", "缺少用户"), 1_200),
            (Text("the time cannot be read", "无法读取时间"), 136),
        ),
        capabilities=("orders", "money", "items", "countries"),
        missing=("search", "support", "deliveries"),
        warnings=(Text("No event in the last 3 days of the log's usual rhythm.", "日志最近 3 天没有事件。"),),
    )


def _metrics() -> tuple[Metric, ...]:
    return (
        Metric(
            Text("AUROC", "AUROC"),
            Text("how often a leaver stands above a stayer", "流失者排在留存者之前的概率"),
            Interval(0.741, 0.726, 0.756),
        ),
        Metric(
            Text("Lift in the top 10 %", "前 10% 提升度"),
            Text("leavers found there, against random order", "该部分的流失者与随机顺序之比"),
            Interval(1.82, 1.71, 1.93),
        ),
        Metric(
            Text("Precision at high risk", "高风险精确率"),
            Text("share of the high band that left", "高风险顾客中实际流失的比例"),
            Interval(0.78, 0.75, 0.81),
            percent=True,
        ),
    )


def _gain(x: float) -> CurvePoint:
    found = 1 - (1 - x) ** 1.8
    slack = 0.12 * x * (1 - x)
    return CurvePoint(x, Interval(found, found - slack, found + slack))


def _moment(i: int) -> BacktestMoment:
    auroc = 0.72 + 0.006 * i
    return BacktestMoment(
        AS_OF - timedelta(days=30 * (6 - i)),
        5200 + 160 * i,
        0.44 + 0.01 * i,
        0.45,
        Interval(auroc, auroc - 0.02, auroc + 0.02),
        0.021,
    )


def _cohort(i: int) -> RetentionRow:
    shares: list[float | None] = [1.0, *(0.42 / (1 + 0.35 * k) for k in range(7 - i)), *([None] * i)]
    return RetentionRow(f"2024-{i + 5:02d}", 900 - 40 * i, tuple(shares))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of the system; needed in CI, skipped elsewhere if there is none.

    Not for the whole session: Playwright's event loop runs as long, and nothing else of the process could run one.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        if os.environ.get("EBBTIDE_REQUIRE_SERVICES"):
            pytest.fail("EBBTIDE_REQUIRE_SERVICES is set, but there is no chromium")
        pytest.skip("no chromium on this machine: apt-get install chromium fonts-noto-cjk")
    flags: list[Any] = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, headless=True, args=flags)
        yield chromium
        chromium.close()
