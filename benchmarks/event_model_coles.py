"""Pretraining speed on this machine's cores, beside the CoLES of pytorch-lifestream on the same log in one run.

    python benchmarks/event_model_coles.py TOKENS.npz [--peer PYTHON] [--seconds 30]

TOKENS.npz comes from `event_model_tokens.py`. PYTHON is an interpreter with pytorch-lifestream installed (it wants an
environment of its own); without it only our side is measured. Both sides train a GRU of width 64 on two slices a user of
up to 128 events, 128 users a batch; real events are counted, padding is not. Ours learns whose slice it is, the next
event and the next window, the peer only the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np

USERS, MOST, LEAST = 128, 128, 4
TOKENS = ("kind", "item", "category", "channel", "price", "number", "rating")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens")
    parser.add_argument("--peer", help="python with pytorch-lifestream")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps((ours if asked.side == "ours" else peer)(asked.tokens, asked.seconds)))
        return
    found = {}
    for side, python in {"ours": sys.executable, "peer": asked.peer}.items():
        if python:
            call = [python, __file__, asked.tokens, "--seconds", str(asked.seconds), "--side", side]
            found[side] = json.loads(
                subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
            print(
                f"{side}: {found[side]['speed']:,.0f} events/s ({found[side]['parameters']:,} parameters)", flush=True
            )
    if len(found) == 2:
        print(f"ours / peer: {found['ours']['speed'] / found['peer']['speed']:.1f}")


def ours(file: str, seconds: float) -> dict[str, float]:
    """Our pretraining loop, all three objectives."""
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
    speeds: list[tuple[int, float]] = []
    events = int(MOST / 2 * USERS * 2 * 25)  # about 25 batches a pass
    passes = 2
    while not speeds or sum(s for _, s in speeds[1:]) < seconds:
        how = PretrainConfig(epochs=passes, users=USERS, max_events=passes * events, watched=False, contrast="coles")
        slices = Slices(log, limit, 30 * 86_400_000_000, MOST, sizes[0], LEAST)
        pretrain(net, [slices], sizes, how, seed=0, measured=lambda m: speeds.append((m.events, m.seconds)))
    kept = speeds[1:]  # the first pass compiles and warms up
    return {
        "speed": sum(e for e, _ in kept) / sum(s for _, s in kept),
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
    events, spent, step = 0, 0.0, 0
    while spent < seconds:
        began = time.perf_counter()
        for batch in loader:
            told, label = model.shared_step(*batch)
            optimizer.zero_grad()
            model._loss(told, label).backward()
            optimizer.step()
            step += 1
            now = time.perf_counter()
            if step > 5:
                events, spent = events + int(batch[0].seq_lens.sum()), spent + now - began
            began = now
            if spent >= seconds:
                break
    return {"speed": events / spent, "parameters": sum(p.numel() for p in model.parameters())}


if __name__ == "__main__":
    main()
