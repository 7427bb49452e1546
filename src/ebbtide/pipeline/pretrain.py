"""`pretrain`: an event model from the raw event streams of one or more shops, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import to_us
from ebbtide.events.lake import Lake
from ebbtide.features.encode import encode
from ebbtide.models.makers import deep
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.train import newest_moment
from ebbtide.sequences.event_log import READS, EventLog, Sequences
from ebbtide.sequences.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ebbtide.models.event_model.sizes import EventModelConfig
    from ebbtide.models.event_model.slices import Slices
    from ebbtide.models.event_model.throughput import Throughput


@dataclass(frozen=True)
class PretrainReport(Readable):
    """What was pretrained on what. `losses`: held-out, pass by pass; `speeds`: events a second, pass by pass;
    `utilisation`: model-FLOPs utilisation of the last pass, where the device's peak is known."""

    folder: Path
    size: str
    encoder: str
    parameters: int
    portable: bool
    shops: int
    users: int
    events: int
    device: str
    losses: tuple[float, ...]
    speeds: tuple[float, ...]
    utilisation: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"folder": str(self.folder)}

    def sections(self) -> tuple[Section, ...]:
        """The sentences, and the passes as a table."""
        rows = tuple(
            (k + 1, loss, speed) for k, (loss, speed) in enumerate(zip(self.losses, self.speeds, strict=False))
        )
        return (Section(lines=tuple(self.lines())), Section(_PASSES, columns=_COLUMNS, rows=rows))

    def lines(self) -> list[Text]:
        """The result in a few sentences."""
        used = "" if self.utilisation is None else f", MFU {self.utilisation:.1%}"
        return [
            Text(
                f"event model {self.size} ({self.encoder}, {self.parameters:,} parameters) pretrained on {self.events:,} "
                f"events of {self.users:,} users in {self.shops} shop{'s' if self.shops > 1 else ''}, on {self.device}{used}",
                f"事件模型 {self.size}（{self.encoder}，{self.parameters:,} 个参数）已在 {self.shops} 家店铺 {self.users:,} 位用户的 "
                f"{self.events:,} 个事件上预训练，设备 {self.device}{used}",
            ),
            Text(
                f'start from it with `[deep] pretrained = "{self.folder}"`',
                f'在设置中写入 `[deep] pretrained = "{self.folder}"` 即可以其为起点',
            ),
        ]


_PASSES = Text("Passes", "各遍")
_COLUMNS = (Text("pass", "遍"), Text("held-out loss", "留出损失"), Text("events/s", "事件/秒"))
_READING = Text("reading event streams", "读取事件流")


def pretrain_workspaces(
    workspaces: Sequence[tuple[Config, Path]],
    out: Path,
    *,
    until: datetime | None = None,
    portable: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> PretrainReport:
    """Pretrain on what each workspace knew at `until` (default: its newest event); size and effort as the first one's
    `[deep]` says. `portable`: no single item, category or channel is learnt, so that the model fits any other shop.

    Several workspaces are only possible with `portable`, for the names of one shop mean nothing in another.
    Raises DataError if they are not, or if no user has enough events; MissingExtraError without the extra `deep`.
    """
    if len(workspaces) > 1 and not portable:
        raise DataError(
            "items and categories of several shops do not share names: pretrain on several shops with --portable",
            "多家店铺的商品与类目名称互不相通：在多家店铺上预训练请使用 --portable",
        )
    pretrainer = deep("event_model.pretrain", "pretrain")
    settings = workspaces[0][0].deep
    config: EventModelConfig = deep("event_model.sizes", "config_of")(settings.size, settings.encoder)
    if portable:
        config = replace(config, items=0)
    shops, sizes = _read(workspaces, config, until, progress)
    net = deep("event_model.pretrained", "new_net")(config, sizes, settings.device, seed)
    speeds: list[float] = []
    last: list[Throughput] = []

    def measured(meter: Throughput) -> None:
        speeds.append(meter.events_per_second)
        last[:] = [meter]

    checkpoint = out.with_name(f".{out.name}-checkpoint")
    how = deep("event_model.pretrain", "PretrainConfig")(
        epochs=settings.epochs,
        learning_rate=config.rate(settings.learning_rate),
        max_events=settings.max_events,
        patience=settings.patience,
        checkpoint=checkpoint,
        key=f"{seed} {config} {[(len(s.log.time), s.limit_us) for s in shops]}",
    )
    losses = pretrainer(net, shops, sizes, how, seed=seed, progress=progress, measured=measured)
    deep("event_model.pretrained", "Pretrained")(config, sizes, net.cpu().eval(), max(s.limit_us for s in shops)).save(
        out
    )
    checkpoint.unlink(missing_ok=True)
    return PretrainReport(
        folder=out,
        size=settings.size,
        encoder=config.encoder,
        parameters=sum(p.numel() for p in net.parameters()),
        portable=portable,
        shops=len(shops),
        users=sum(len(s.users()) for s in shops),
        events=sum(int((s.log.time <= s.limit_us).sum()) for s in shops),
        device=last[0].device if last else "cpu",
        losses=tuple(losses),
        speeds=tuple(speeds),
        utilisation=last[0].utilisation if last else None,
    )


def _read(
    workspaces: Sequence[tuple[Config, Path]], config: EventModelConfig, until: datetime | None, progress: Progress
) -> tuple[list[Slices], tuple[int, ...]]:
    """Each workspace's stream, and the sizes of codes that all of them share."""
    shops: list[Slices] = []
    sizes: tuple[int, ...] = ()
    for done, (shop, root) in enumerate(workspaces):
        progress(_READING, done, len(workspaces))
        lake = Places(root).lake()
        stream, sizes = read_stream(lake, ChurnDefinition.from_config(shop.churn), until or newest_moment(lake), config)
        shops.append(stream)
    progress(_READING, len(workspaces), len(workspaces))
    return shops, sizes


def read_stream(
    lake: Lake, definition: ChurnDefinition, until: datetime, config: EventModelConfig
) -> tuple[Slices, tuple[int, ...]]:
    """All that a shop knew at `until`, in tokens of its own vocabulary, and the sizes of the codes."""
    logs = []
    for bucket in lake.buckets():
        encoded = encode(known_events(lake.read_bucket(bucket), until), definition)
        logs.append(EventLog.of(encoded.events.select(READS), encoded.start))
    log = EventLog.joined(logs)
    everybody = Sequences(log, np.arange(len(log)), np.full(len(log), to_us(until)))
    words = Vocabulary.fit(everybody, most_items=config.items, most_others=500 if config.items else 0)
    slices = deep("event_model.slices", "Slices")
    found = slices(words.encode(log), to_us(until), definition.closing_us, config.max_len, words.sizes[0])
    return found, words.sizes
