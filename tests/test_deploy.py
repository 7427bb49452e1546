"""The files in `deploy/` hang together with the code; they are run where their tools are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from ebbtide.cli.main import COMMANDS
from ebbtide.cli.serve import PORTS
from ebbtide.cli.serve import app as serve_app

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
FLAGS = {name for p in typer.main.get_command(serve_app).params for name in p.opts}


def check_serve(call: list[str]) -> None:
    """`serve` with flags that it has, and roles that there are."""
    assert call[0] == "serve" in {name for name, _ in COMMANDS}
    assert {word for word in call if word.startswith("-")} <= FLAGS | {"-w"}
    assert "--role" not in call or call[call.index("--role") + 1] in PORTS


def test_the_unit_runs_a_command_that_there_is_and_comes_back_after_any_end() -> None:
    unit = (DEPLOY / "ebbtide.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert start.split()[0].endswith("/bin/ebbtide")
    check_serve(start.split()[1:])
    assert "Restart=always" in unit
    assert "KillSignal=SIGTERM" in unit


def test_the_unit_is_valid_to_systemd(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd is not installed")
    unit = (DEPLOY / "ebbtide.service").read_text(encoding="utf-8")
    file = tmp_path / "ebbtide.service"
    file.write_text(unit.replace("/opt/ebbtide/bin/ebbtide", sys.executable), encoding="utf-8")
    done = subprocess.run([tool, "verify", str(file)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "ebbtide.service" in line] == []


def test_the_image_copies_what_there_is_and_runs_a_command_that_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in sources.split()), sources
    check_serve(json.loads(re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)[1]))  # type: ignore[index]
    assert json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[1]) == ["ebbtide"]  # type: ignore[index]
    assert re.search(r"^USER ebbtide$", text, re.MULTILINE), "it must not run as root"


def test_compose_runs_each_role_once_over_postgresql() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    told: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services = told["services"]
    assert set(services) == {"postgres", "api", "worker", "scheduler"}
    for role in ("api", "worker", "scheduler"):
        check_serve(services[role]["command"])
        assert services[role]["command"][services[role]["command"].index("--role") + 1] == role
        assert services[role]["environment"]["EBBTIDE_SERVE__STORE"].startswith("postgresql+psycopg://")
        assert (DEPLOY / services[role]["build"]["context"] / services[role]["build"]["dockerfile"]).is_file()


def test_compose_is_valid_to_docker() -> None:
    tool = shutil.which("docker")
    if tool is None:
        pytest.skip("docker is not installed")
    if subprocess.run([tool, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose")
    done = subprocess.run(
        [tool, "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"],
        env={"POSTGRES_PASSWORD": "x", "SHOP": "/shop", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_lock_pins_every_package_by_hash_and_names_no_registry() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert {"fastapi", "lightgbm", "sqlalchemy", "uvicorn"} <= {line.partition("==")[0] for line in pins}
    assert all(re.fullmatch(r"[a-z0-9._-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in pins)
    assert "://" not in "\n".join(lines)
