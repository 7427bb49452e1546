"""How long does the profile of one user take, in process, warm, on one thread? Bar: at most 20 ms.

    POLARS_MAX_THREADS=1 OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/profiles.py [--users 4000] [--workspace FOLDER]

A simulated shop is written, ingested and trained (`auto`), unless `--workspace` names one that is. Then the profiles of
`--asked` users drawn at random are made one after another: reading the user's events from the lake, features, score with
exact reasons, facts, habits, outlook, comparison, changes. Wall and CPU milliseconds, p50 and p99, after a warm-up; the
parts beside them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.core.config import Config, load_config
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.explain.changes import changes_of
from ebbtide.features.encode import encode
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.profile import profile_user
from ebbtide.pipeline.profile_reference import facts_and_habits, survey_reference
from ebbtide.pipeline.profiles import finish_profiles, profile_shard, reference_of
from ebbtide.pipeline.score import score_shard
from ebbtide.pipeline.train import newest_moment, train
from machine import machine_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--asked", type=int, default=300)
    parser.add_argument("--workspace", type=Path)
    asked = parser.parse_args()
    print(machine_line(), f"{pl.thread_pool_size()} Polars thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        root = asked.workspace or made_shop(Path(folder), asked.users, asked.days)
        measure(root, load_config(root / "ebbtide.toml", environ={}), asked.asked)


def made_shop(root: Path, users: int, days: int) -> Path:
    write_log(SimulationConfig(users=users, days=days, seed=1), root)
    config = load_config(root / "ebbtide.toml", environ={})
    ingest(config, root)
    print(train(config, root).lines()[0].en)
    return root


def measure(root: Path, config: Config, count: int) -> None:
    places = Places(root)
    bundle, lake = places.shelf().load(), places.lake()
    as_of = newest_moment(lake)
    reference = reference_of(bundle) or survey_reference(lake, bundle.definition, as_of, config)
    users = pl.concat([lake.read_bucket(b, ["user_id"]).unique().sort("user_id") for b in lake.buckets()])["user_id"]
    names = users.sample(min(count, len(users)), seed=0).to_list()
    events = {name: lake.read_user(name) for name in names}
    print(f"{lake.summary().rows:,} events of {len(users):,} users, {len(names)} asked about")
    whole = lambda u: profile_user(lake.read_user(u), as_of, bundle, reference, config, "en")  # noqa: E731
    told("profile", whole, names)
    told("  without reading", lambda u: profile_user(events[u], as_of, bundle, reference, config, "en"), names)
    told("  read_user", lake.read_user, names)
    told("  score with reasons", lambda u: score_shard(events[u], as_of, bundle, reasons="all"), names)
    told(
        "  encode, facts, habits",
        lambda u: facts_and_habits(encode(events[u], bundle.definition), as_of, bundle.definition, config),
        names,
    )
    told("  changes", lambda u: changes_of(events[u], as_of, bundle.definition.horizon_days), names)
    rows = {u: profile_shard(events[u], as_of, bundle, config) for u in names[:50]}
    told("  comparison", lambda u: finish_profiles(rows[u], reference), names[:50])


def told(name: str, call: Callable[[str], object], users: list[str]) -> None:
    for user in users[:20]:
        call(user)
    spent = []
    for user in users:
        wall, cpu = time.perf_counter(), time.process_time()
        call(user)
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = 1e3 * np.array(spent).T
    figures = [np.quantile(v, q) for v in (walls, cpus) for q in (0.5, 0.99)]
    print(
        f"{name:24} wall p50 {figures[0]:6.1f}  p99 {figures[1]:6.1f}   CPU p50 {figures[2]:6.1f}  p99 {figures[3]:6.1f} ms"
    )


if __name__ == "__main__":
    main()
