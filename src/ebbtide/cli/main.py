"""The command `ebbtide`: the list of commands, and the one place where errors become a message and an exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import typer

from ebbtide.cli.command import Group, LazyCommand
from ebbtide.cli.flags import Flags, peek_flags
from ebbtide.cli.usage import usage_error
from ebbtide.core.config import load_config
from ebbtide.core.errors import DefectError, EbbtideError
from ebbtide.core.language import Language, Text

ABOUT = Text(
    "Ebbtide reads a shop's event logs and tells who is drifting away, why, and how sure it is.",
    "Ebbtide 读取店铺的事件日志，告诉您谁正在流失、原因何在、把握有多大。",
)
COMMANDS: tuple[tuple[str, Text], ...] = (
    ("init", Text("look at files, guess the mapping, write ebbtide.toml", "查看文件，推测映射，写出 ebbtide.toml")),
    (
        "ingest",
        Text("read the raw files into the lake; bad rows go to quarantine", "将原始文件读入数据湖；坏行进入隔离区"),
    ),
    (
        "check",
        Text("data quality, the churn question in words, is there enough data", "数据质量、流失定义、数据是否足够"),
    ),
    ("train", Text("fit, calibrate and honestly test a model", "训练、校准并如实检验模型")),
    ("tune", Text("search better settings for a model on past moments", "在历史时点上为模型搜索更好的参数")),
    ("pretrain", Text("an event model from raw event streams, without labels", "不用标签，从原始事件流预训练事件模型")),
    ("score", Text("the ranked list of customers at risk, with reasons", "按风险排序的顾客名单及原因")),
    ("plan", Text("one action a customer, or none, within a budget", "在预算内为每位顾客选一个动作或不做")),
    ("explain", Text("one customer: risk, reasons, history", "单个顾客：风险、原因、历史")),
    ("recommend", Text("what to show one customer, or everybody, and why", "向某位或所有顾客推荐什么，以及理由")),
    (
        "profile",
        Text("one customer: stage, segment, outlook, habits, changes", "单个顾客：阶段、分群、预期、习惯、变化"),
    ),
    (
        "segments",
        Text(
            "stages, RFM segments and groups, and the flow between two dates",
            "阶段、RFM 分群与行为群，两个日期之间的流动",
        ),
    ),
    (
        "drivers",
        Text("what goes with churn: shares, rates, service, what if", "与流失相关的因素：占比、流失率、服务、假设情形"),
    ),
    ("message", Text("the text to send to one customer", "发送给某位顾客的文案")),
    ("report", Text("one self-contained HTML page", "一个独立的 HTML 页面")),
    ("backtest", Text("the same model policy at many past moments", "在多个历史时点检验同一模型策略")),
    ("compare", Text("train several models and judge them side by side", "训练多个模型并逐一对比")),
    (
        "compress",
        Text("smaller and faster forms of a trained bundle, measured", "已训练模型包的更小更快的形式，附实测"),
    ),
    ("models", Text("list, promote, roll back and compare trained bundles", "列出、启用、回退和比较已训练的模型包")),
    (
        "campaign",
        Text("draw treated and control customers, export, take results", "抽取触达与对照顾客、导出名单、读取结果"),
    ),
    ("effect", Text("what campaigns changed, against their control groups", "活动相对对照组带来的变化")),
    ("train-table", Text("train on a ready-made labelled table without events", "在现成的带标签表（无事件）上训练")),
    ("score-table", Text("score the rows of a table by such a model", "用此类模型为表中各行评分")),
    ("uplift", Text("what an action changes for whom, from an experiment", "从实验得知某行动对谁有何改变")),
    (
        "replay",
        Text(
            "send a real log to a running service, at its own pace or faster",
            "将真实日志按原速或加速发送给运行中的服务",
        ),
    ),
    ("dead-letters", Text("what the stream refused and why; send it again", "消息流拒绝了什么、原因为何；重新发送")),
    ("quarantine", Text("see and export the rows that were not accepted", "查看并导出未被接受的行")),
    ("serve", Text("the live service: events in, risk out", "实时服务：接收事件、给出风险")),
    (
        "alerts",
        Text("list alerts, say what became of one, send messages again", "列出提醒、记录处理结果、重新发送消息"),
    ),
    ("keys", Text("make, list and revoke the keys of the live service", "创建、列出和吊销实时服务的密钥")),
    (
        "doctor",
        Text("is everything in order to run, and what to do where it is not", "运行条件是否齐备，不齐备时如何处理"),
    ),
    ("demo", Text("the whole main job on a simulated shop", "在模拟店铺上运行整个主流程")),
)


def make_root() -> Group:
    """The root group with all commands, none of them loaded yet."""
    commands = {name: LazyCommand(name, f"ebbtide.cli.{name.replace('-', '_')}", text) for name, text in COMMANDS}
    return Group(name="ebbtide", commands=dict(commands), help=f"{ABOUT.en}\x1f{ABOUT.zh}", rich_markup_mode=None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 0, or that of the error, which is told on stderr (and as JSON if asked)."""
    flags = peek_flags(arguments, os.environ)
    if list(arguments) == ["--version"]:
        typer.echo(version("ebbtide"))
        return 0
    try:
        code = make_root().main(arguments or ["--help"], prog_name="ebbtide", standalone_mode=False, obj=flags)
    except EbbtideError as fault:
        return tell(fault, flags)
    except typer.TyperException as fault:
        return tell(usage_error(fault), flags)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output went away, for example `ebbtide score | head`; that is no fault of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as fault:  # noqa: BLE001  the outermost edge: every defect becomes exit code 1 here
        return tell(_defect(fault, flags), flags)
    return code if isinstance(code, int) else 0


def tell(fault: EbbtideError, flags: Flags) -> int:
    """Say what went wrong, in the language of the shop, and give the exit code."""
    message = fault.text[_spoken(flags)]
    typer.echo(message, err=True)
    if flags.as_json:
        error = {"code": fault.code, "message": message, "exit_code": fault.exit_code}
        typer.echo(json.dumps({"error": error}, ensure_ascii=False))
    return fault.exit_code


def _spoken(flags: Flags) -> Language:
    if flags.language:
        return flags.language
    try:
        return load_config(flags.workspace / "ebbtide.toml").shop.language
    except EbbtideError:
        return "en"


def _defect(fault: Exception, flags: Flags) -> DefectError:
    """A traceback may hold customer values, so it goes to a file of the workspace, not to the terminal."""
    trace = "".join(traceback.format_exception(fault))
    if flags.debug:
        typer.echo(trace, err=True)
        return DefectError(
            "this is a defect of Ebbtide; please report the lines above, without customer data",
            "这是 Ebbtide 的缺陷；请报告以上内容（请去除顾客数据）",
        )
    place = _write_trace(trace, flags.workspace)
    return DefectError(
        "this is a defect of Ebbtide ({kind}); {place}",
        "这是 Ebbtide 的缺陷（{kind}）；{place}",
        kind=type(fault).__name__,
        place=place,
    )


def _write_trace(trace: str, workspace: Path) -> Text:
    try:
        file = _trace_file(workspace)
        file.write_text(trace, encoding="utf-8")
    except OSError:
        return Text("run it again with --debug to see the details", "请加 --debug 重新运行以查看详情")
    return Text(
        f"please report it with {file}, after a look for customer data in it",
        f"请附上 {file} 报告（提交前请检查其中是否含有顾客数据）",
    )


def _trace_file(workspace: Path) -> Path:
    """A new file in the workspace; where there is no workspace, one that only this user can read."""
    if not (workspace / "ebbtide.toml").is_file():
        handle, name = tempfile.mkstemp(prefix="ebbtide-defect-", suffix=".txt")
        os.close(handle)
        return Path(name)
    folder = workspace / ".ebbtide"
    folder.mkdir(exist_ok=True)
    return folder / f"defect-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"


if __name__ == "__main__":
    main()
