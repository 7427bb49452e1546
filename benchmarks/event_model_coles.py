"""Pretraining speed on this machine's cores, beside the CoLES of pytorch-lifestream on the same log in one run.

    python benchmarks/event_model_coles.py TOKENS.npz [--peer PYTHON] [--seconds 30]

TOKENS.npz comes from `event_model_tokens.py`. PYTHON is an interpreter with pytorch-lifestream installed (it wants an
environment of its own); without it only our side is measured. Both sides train a GRU of width 64 on two slices a user of
up to 128 events, 128 users a batch; real events are counted, padding is not. Ours learns the next event and the next
window, which is the default, and with contrast also whose slice it is; the peer learns the last alone. Beside the wall
clock stand CPU seconds of all threads, which other work on the machine leaves alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np

USERS, MOST, LEAST = 128, 128, 4
SIDES = {"ours": "none", "ours with contrast": "coles"}
TOKENS = ("kind", "item", "category", "channel", "price", "number", "rating")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens")
    parser.add_argument("--peer", help="python with pytorch-lifestream")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--side", choices=[*SIDES, "peer"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        found = (
            peer(asked.tokens, asked.seconds)
            if asked.side == "peer"
            else ours(asked.tokens, asked.seconds, SIDES[asked.side])
        )
        print(json.dumps(found))
        return
    sides = dict.fromkeys(SIDES, sys.executable) | ({"peer": asked.peer} if asked.peer else {})
    found = {side: measured(side, python, asked) for side, python in sides.items()}
    for side in SIDES if asked.peer else ():
        wall, cpu = (found[side][k] / found["peer"][k] for k in ("speed", "cpu_speed"))
        print(f"{side} / peer: {wall:.1f} by the clock, {cpu:.1f} by CPU")


def measured(side: str, python: str, asked: argparse.Namespace) -> dict[str, float]:
    """One side, measured and printed by a process of its own."""
    call = [python, __file__, asked.tokens, "--seconds", str(asked.seconds), "--side", side]
    told = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    found: dict[str, float] = json.loads(told)
    print(f"{side}: {found['speed']:,.0f} events/s, {found['cpu_speed']:,.0f} a CPU second "
          f"({found['parameters']:,} parameters)", flush=True)  # fmt: skip
    return found


def ours(file: str, seconds: float, contrast: str) -> dict[str, float]:
    """Our pretraining loop."""
    import torch  # noqa: PLC0415  each side runs in an environment of its own

    from ebbtide.models.event_model.pretrain import PretrainConfig, pretrain  # noqa: PLC0415
    from ebbtide.models.event_model.pretrained import new_net  # noqa: PLC0415
    from ebbtide.models.event_model.sizes import SIZES  # noqa: PLC0415
    from ebbtide.models.event_model.slices import Slices  # noqa: PLC0415
    from ebbtide.sequences.tokens import TokenLog  # noqa: PLC0415

    with np.load(file) as data:
        log = TokenLog(data["start"], data["time"], data["time"], data["codes"], data["item"].astype(np.uint64))
        sizes, limit = tuple(int(s) for s in data["sizes"]), int(data["limit"])
    torch.manual_seed(0)
    net = new_net(SIZES["tiny"], sizes, "cpu", 0)
    passes: list[tuple[int, float, float]] = []  # events, seconds, CPU seconds at its end
    events = int(MOST / 2 * USERS * 2 * 25)  # about 25 batches a pass
    while not passes or sum(p[1] for p in passes[1:]) < seconds:
        how = PretrainConfig(epochs=2, users=USERS, max_events=2 * events, watched=False, contrast=contrast)
        slices = Slices(log, limit, 30 * 86_400_000_000, MOST, sizes[0], LEAST)
        pretrain(
            net,
            [slices],
            sizes,
            how,
            seed=0,
            measured=lambda m: passes.append((m.events, m.seconds, time.process_time())),
        )
    kept = passes[1:]  # the first pass compiles and warms up
    learnt = sum(p[0] for p in kept)
    return {
        "speed": learnt / sum(p[1] for p in kept),
        "cpu_speed": learnt / (passes[-1][2] - passes[0][2]),
        "parameters": sum(p.numel() for p in net.parameters()),
    }


def peer(file: str, seconds: float) -> dict[str, float]:
    """CoLES of pytorch-lifestream with its usual pieces, trained by a plain loop."""
    import torch  # noqa: PLC0415
    from ptls.data_load.datasets import MemoryMapDataset  # noqa: PLC0415
    from ptls.frames.coles import ColesDataset, CoLESModule  # noqa: PLC0415
    from ptls.frames.coles.split_strategy import SampleSlices  # noqa: PLC0415
    from ptls.nn import RnnSeqEncoder, TrxEncoder  # noqa: PLC0415

    with np.load(file) as data:
        start, time_us, codes, sizes = data["start"], data["time"], data["codes"], data["sizes"]
    users = []
    for u in range(len(start) - 1):
        own = slice(start[u], start[u + 1])
        gap = np.log1p(np.diff(time_us[own], prepend=time_us[start[u]]) / 3.6e9) / 8
        row = {name: torch.from_numpy(codes[own, k].astype(np.int64)) for k, name in enumerate(TOKENS)}
        users.append(
            row
            | {"gap": torch.from_numpy(gap.astype(np.float32)), "event_time": torch.from_numpy(time_us[own] // 10**6)}
        )
    embeddings = {name: {"in": int(sizes[k]), "out": 64 // len(TOKENS)} for k, name in enumerate(TOKENS)}
    encoder = RnnSeqEncoder(
        TrxEncoder(embeddings=embeddings, numeric_values={"gap": "identity"}), hidden_size=64, type="gru"
    )
    model = CoLESModule(seq_encoder=encoder, optimizer_partial=None, lr_scheduler_partial=None)
    splitter = SampleSlices(split_count=2, cnt_min=LEAST, cnt_max=MOST)
    dataset = ColesDataset(MemoryMapDataset(data=users), splitter=splitter)
    loader = torch.utils.data.DataLoader(dataset, USERS, shuffle=True, collate_fn=dataset.collate_fn)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    events, spent, cpu_spent, step = 0, 0.0, 0.0, 0
    while spent < seconds:
        began, cpu_began = time.perf_counter(), time.process_time()
        for batch in loader:
            told, label = model.shared_step(*batch)
            optimizer.zero_grad()
            model._loss(told, label).backward()
            optimizer.step()
            step += 1
            now, cpu_now = time.perf_counter(), time.process_time()
            if step > 5:
                events += int(batch[0].seq_lens.sum())
                spent, cpu_spent = spent + now - began, cpu_spent + cpu_now - cpu_began
            began, cpu_began = now, cpu_now
            if spent >= seconds:
                break
    return {
        "speed": events / spent,
        "cpu_speed": events / cpu_spent,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


if __name__ == "__main__":
    main()
