"""How fast and in how much memory is a log taken in? Beside it: DuckDB reads, sorts and writes the same file.

    python benchmarks/ingest.py                 10 million rows of Parquet, and the growth of memory from 1 to 10 million
    python benchmarks/ingest.py --rows 1000000

Each side runs in a process of its own; seconds are wall clock, memory is the largest resident set of that process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

COLUMNS = {
    "user_id": "customer",
    "occurred_at": "ts",
    "type": "case kind when 0 then 'order' when 1 then 'product_view' when 2 then 'cart_add' else 'search' end",
    "order_id": "invoice",
    "item_id": "sku",
    "quantity": "qty",
    "unit_price": "price",
    "value": "qty * price",
    "country": "country",
    "channel": "channel",
}


def make_log(rows: int, file: Path) -> None:
    """Nine raw columns: whole-number users, second-exact times, codes, texts, a nullable invoice."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""copy (select (hash(i * 7) % {max(rows // 25, 1)})::bigint as customer,
                timestamp '2023-01-01' + interval (i * {60_000_000 // rows}) second as ts,
                (hash(i) % 5)::int as kind, 'P' || (hash(i + 3) % 20000) as sku,
                case when hash(i + 9) % 3 = 0 then 'O' || (i // 4) end as invoice, (hash(i + 1) % 5)::int as qty,
                (hash(i + 5) % 10000) / 100.0::double as price,
                ['GB', 'DE', 'FR', 'US'][(hash(i * 3) % 4)::int + 1] as country,
                ['web', 'app'][(hash(i * 13) % 2)::int + 1] as channel
                from range({rows}) t(i)) to '{file}'"""
        ).fetchall()


def run_ingest(file: Path, folder: Path, rows_per_bucket: int) -> int:
    """Our side: validation, ids, deduplication, buckets sorted by user and time, one atomic commit."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from ebbtide.core.config import parse_config  # noqa: PLC0415
    from ebbtide.pipeline.ingest import ingest  # noqa: PLC0415

    source = {"path": str(file), "columns": COLUMNS}
    config = parse_config({"source": [source], "lake": {"rows_per_bucket": rows_per_bucket}})
    return ingest(config, folder, now=datetime(2030, 1, 1, tzinfo=UTC)).total.accepted


def run_plain(file: Path, folder: Path) -> int:
    """The plain side: read, sort by user and time, write."""
    with duckdb.connect() as connection:
        connection.execute("set threads=2; set memory_limit='1GB'").fetchall()
        connection.execute(f"set temp_directory='{folder}/spill'").fetchall()
        sql = f"copy (select * from '{file}' order by customer, ts) to '{folder}/sorted.parquet' (compression zstd)"
        return int(connection.execute(sql).fetchall()[0][0])


def child(side: str, file: Path, rows_per_bucket: int) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        rows = run_ingest(file, Path(folder), rows_per_bucket) if side == "ingest" else run_plain(file, Path(folder))
        wall, used = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({"rows": rows, "seconds": wall, "cpu_seconds": used, "peak_gib": peak}))


def measure(side: str, file: Path, rows_per_bucket: int = 500_000) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--child",
        side,
        "--file",
        str(file),
        "--rows-per-bucket",
        str(rows_per_bucket),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return dict(json.loads(done.stdout))


def show(name: str, found: dict[str, float]) -> None:
    print(
        f"{name:34} {found['rows']:>12,.0f} rows {found['seconds']:8.1f} s {found['cpu_seconds']:8.1f} CPU s "
        f"{found['peak_gib']:6.2f} GiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--no-growth", action="store_true", help="leave out the memory test")
    parser.add_argument("--child", choices=["ingest", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows-per-bucket", type=int, default=500_000)
    a = parser.parse_args()
    if a.child:
        child(a.child, a.file, a.rows_per_bucket)
        return
    with tempfile.TemporaryDirectory(prefix="ebbtide-bench-") as folder:
        file = Path(folder) / "log.parquet"
        make_log(a.rows, file)
        print(
            f"{file.stat().st_size / 1e6:.0f} MB of Parquet; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        ours, plain = measure("ingest", file, a.rows_per_bucket), measure("plain", file)
        show("ebbtide ingest", ours)
        show("DuckDB read + sort + write", plain)
        print(
            f"ratio of seconds {ours['seconds'] / plain['seconds']:.2f}, of CPU {ours['cpu_seconds'] / plain['cpu_seconds']:.2f}"
        )
        if a.no_growth:
            return
        bucket = max(a.rows // 20, 1000)
        small = Path(folder) / "small.parquet"
        make_log(a.rows // 10, small)
        one, ten = measure("ingest", small, bucket), measure("ingest", file, bucket)
        show(f"buckets of {bucket:,}", one)
        show(f"buckets of {bucket:,}", ten)
        print(f"memory of the tenfold log: {ten['peak_gib'] / one['peak_gib']:.2f} times")


if __name__ == "__main__":
    main()
