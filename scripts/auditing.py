"""Compare what is installed with the lock: `python scripts/auditing.py requirements.lock`. Tells what differs; never fails for
a newer version, only for a lock that is not pinned by hash."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LINE = re.compile(r"([a-z0-9._-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")


def main(file: Path) -> int:
    if not file.is_file():
        print("there is no lock: scripts/lock writes it")
        return 1
    lines = [x for x in file.read_text(encoding="utf-8").splitlines() if x and not x.startswith("#")]
    loose = [x for x in lines if not LINE.fullmatch(x)]
    pinned = [m.group(1, 2) for x in lines if (m := LINE.fullmatch(x))]
    others = [f"{name} {found} (lock: {wanted})" for name, wanted in pinned if (found := _installed(name)) != wanted]
    print(
        f"{len(pinned)} packages pinned by hash, {len(loose)} not; installed otherwise: {', '.join(others) or 'none'}"
    )
    return 1 if loose or not pinned else 0


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
