"""How fast does the event model pretrain: events a second and model-FLOPs utilisation, by size.

    python benchmarks/event_model_throughput.py TOKENS.npz [--sizes base large] [--seconds 40] [--device cuda]

TOKENS.npz comes from `event_model_tokens.py`. Needs NumPy, Numba, safetensors and PyTorch only, so that it runs on a bare
GPU machine; under `torchrun` it measures data parallel training. Real events are counted, padding is not. The first
pass (compilation, warm-up) is left out.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from ebbtide.models.event_model.encoder import EventNet
from ebbtide.models.event_model.pretrain import PretrainConfig, pretrain
from ebbtide.models.event_model.sizes import SIZES
from ebbtide.models.event_model.slices import Slices
from ebbtide.models.event_model.throughput import Throughput
from ebbtide.models.neural.tensors import choose_device
from ebbtide.sequences.tokens import NUMBERS, TokenLog

EVENTS_A_BATCH = {"tiny": 32_768, "small": 32_768, "base": 131_072, "large": 65_536, "xl": 32_768}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens")
    parser.add_argument("--sizes", nargs="+", default=["base", "large"], choices=list(SIZES))
    parser.add_argument("--encoder", default="", choices=["", "gru", "transformer"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    asked = parser.parse_args()
    device = choose_device(asked.device)
    torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(f"{name}; PyTorch {torch.__version__}; {time.strftime('%Y-%m-%d')}", flush=True)
    with np.load(asked.tokens) as file:
        log = TokenLog(file["start"], file["time"], file["time"], file["codes"], file["item"].astype(np.uint64))
        sizes, limit = tuple(int(s) for s in file["sizes"]), int(file["limit"])
    for size in asked.sizes:
        measure(size, asked.encoder, log, sizes, limit, asked.steps, device, not asked.eager)


def measure(
    size: str,
    encoder: str,
    log: TokenLog,
    sizes: tuple[int, ...],
    limit: int,
    steps: int,
    device: torch.device,
    compiled: bool,
) -> None:
    config = SIZES[size] if not encoder else replace(SIZES[size], encoder=encoder)
    torch.manual_seed(0)
    net = EventNet(config, sizes, len(NUMBERS)).to(device)
    if compiled and device.type == "cuda":
        net.compiled()
    shortest = config.max_len * 3 // 4 if config.encoder == "transformer" else 4
    slices = Slices(log, limit, 30 * 86_400_000_000, config.max_len, sizes[0], shortest)
    users = max(2, EVENTS_A_BATCH[size] // config.max_len // 2)
    mean = min(config.max_len, float(np.diff(log.start).mean())) / 2
    found: list[tuple[int, float, float, float | None]] = []

    def measured(meter: Throughput) -> None:
        found.append((meter.events, meter.seconds, meter.events_per_second, meter.utilisation))
        print(f"  pass {len(found)}: {meter.events:,} events in {meter.seconds:.1f} s", flush=True)

    how = PretrainConfig(
        epochs=3,
        users=users,
        learning_rate=3e-4,
        max_events=int(3 * steps * users * 2 * mean),
        multiple=config.max_len if device.type == "cuda" else 1,
        watched=False,
    )
    losses = pretrain(net, [slices], sizes, how, seed=0, measured=measured)
    events, seconds = sum(f[0] for f in found[1:]), sum(f[1] for f in found[1:])
    share = found[-1][3]
    memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device.type == "cuda" else ""
    print(
        f"{size} ({config.encoder}, {sum(p.numel() for p in net.parameters()):,} parameters, {users * 2} slices of "
        f"{shortest} to {config.max_len} events a batch): {events / seconds:,.0f} events/s"
        f"{'' if share is None else f', MFU {share:.1%}'}{memory}; loss {losses[0]:.3f} -> {losses[-1]:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
