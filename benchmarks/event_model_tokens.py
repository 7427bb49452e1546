"""A simulated click shop's log as tokens, for `event_model_throughput.py` on a machine that has only NumPy, Numba and PyTorch.

python benchmarks/event_model_tokens.py OUT.npz [--users 3000] [--items 50000]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.core.windows import to_us
from ebbtide.events.click_shop import click_shop
from ebbtide.events.simulate import simulate
from ebbtide.sequences.event_log import EventLog, Sequences
from ebbtide.sequences.vocabulary import Vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--items", type=int, default=50_000)
    asked = parser.parse_args()
    shop = click_shop(asked.users, 1)
    events = pl.concat([chunk.events for chunk in simulate(shop)])
    _, start = np.unique(events["user_id"].to_numpy(), return_index=True)
    log = EventLog.of(events, np.append(start, len(events)))
    everybody = Sequences(log, np.arange(len(log)), np.full(len(log), to_us(shop.end)))
    words = Vocabulary.fit(everybody, most_items=asked.items)
    tokens = words.encode(log)
    _, item = np.unique(tokens.item, return_inverse=True)
    np.savez_compressed(
        asked.out,
        start=tokens.start,
        time=tokens.time,
        codes=tokens.codes,
        item=item.astype(np.uint32),
        sizes=np.array(words.sizes),
        limit=np.int64(to_us(shop.end)),
    )
    print(f"{len(log):,} users, {len(log.time):,} events, sizes {words.sizes}")


if __name__ == "__main__":
    main()
