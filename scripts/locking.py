"""Pin what pip would install, with hashes: `python scripts/locking.py EXTRAS FILE`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HEAD = """\
# Made by scripts/lock for the extras: {extras}; Python {python}. Do not edit.
# pip install --require-hashes -r requirements.lock
"""


def main(extras: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        call = ["-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
        subprocess.run([sys.executable, *call, f".[{extras}]"], check=True)
        told = json.loads(report.read_text(encoding="utf-8"))
    head = HEAD.format(extras=extras, python=told["environment"]["python_version"])
    target.write_text(head + locked(told["install"]), encoding="utf-8")


def locked(packages: list[dict[str, Any]]) -> str:
    """One requirement a line, by name; the project itself is left out."""
    lines = []
    for package in packages:
        about, hashes = package["metadata"], package["download_info"].get("archive_info", {}).get("hashes", {})
        if about["name"].lower() != "ebbtide":
            lines.append(f"{about['name'].lower()}=={about['version']} --hash=sha256:{hashes['sha256']}\n")
    return "".join(sorted(lines))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
