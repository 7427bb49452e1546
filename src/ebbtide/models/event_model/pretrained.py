"""A pretrained event net with all that is needed to go on: its configuration and what it was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file

from ebbtide.core.errors import InputError, MissingError
from ebbtide.core.progress import Progress, silent
from ebbtide.core.settings import DeepConfig
from ebbtide.core.windows import from_us
from ebbtide.models.base import Rows
from ebbtide.models.event_model.encoder import EventNet
from ebbtide.models.event_model.pretrain import PretrainConfig, pretrain
from ebbtide.models.event_model.sizes import EventModelConfig, config_of
from ebbtide.models.event_model.slices import Slices
from ebbtide.models.neural.tensors import choose_device
from ebbtide.sequences.tokens import NUMBERS
from ebbtide.sequences.vocabulary import Vocabulary


@dataclass(frozen=True)
class Pretrained:
    """`sizes`: the numbers of codes of each token; a vocabulary must have the same for the net to read its events.
    `until_us`: the moment up to which it has seen events; 0 where nobody needs to know."""

    config: EventModelConfig
    sizes: tuple[int, ...]
    net: EventNet
    until_us: int = 0

    def fresh(self) -> EventNet:
        """A copy of the net, to be trained on."""
        net = EventNet(self.config, self.sizes, len(NUMBERS))
        net.load_state_dict(self.net.state_dict())
        return net

    def save(self, folder: Path) -> None:
        """Weights as safetensors, the rest as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.float().contiguous() for name, value in self.net.state_dict().items()}
        save_file(weights, folder / "event_net.safetensors")
        about = {
            "config": self.config.to_json(),
            "sizes": list(self.sizes),
            "until_us": self.until_us,
            "numbers": NUMBERS,
        }
        (folder / "event_net.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises MissingError if there is nothing, or something of an earlier version."""
        if not (folder / "event_net.json").is_file():
            raise MissingError(
                "no pretrained event model in the folder that deep.pretrained names: run `ebbtide pretrain` first",
                "deep.pretrained 所指文件夹中没有预训练的事件模型：请先运行 `ebbtide pretrain`",
            )
        about = json.loads((folder / "event_net.json").read_text(encoding="utf-8"))
        if about.get("numbers") != list(NUMBERS):
            raise MissingError(
                "the pretrained event model is of a version that read the times of events differently: run `ebbtide "
                "pretrain` again",
                "该预训练事件模型来自以另一种方式读取事件时间的版本：请重新运行 `ebbtide pretrain`",
            )
        config, sizes = EventModelConfig.from_json(about["config"]), tuple(about["sizes"])
        net = EventNet(config, sizes, len(NUMBERS))
        net.load_state_dict(load_file(folder / "event_net.safetensors"))
        return cls(config, sizes, net.eval(), about["until_us"])

    def check_known(self, rows: Rows) -> None:
        """Raises InputError if it has seen what happened after the outcome windows of `rows`: a rehearsal of that past
        would look into its future."""
        limit = int(rows.as_of_us.max()) + rows.embargo_us
        if self.until_us > limit:
            raise InputError(
                "the pretrained event model knows what happened until {until:%Y-%m-%d}, but the past is rehearsed as known at "
                "{limit:%Y-%m-%d}: pretrain with `--until` that day or earlier (earlier moments are rehearsed too), or leave "
                "deep.pretrained empty",
                "该预训练事件模型知道截至 {until:%Y-%m-%d} 的事件，而演练的过去只应知道截至 {limit:%Y-%m-%d}：请用 `--until` "
                "预训练到该日或更早（更早的时点也会演练），或将 deep.pretrained 留空",
                until=from_us(self.until_us),
                limit=from_us(limit),
            )

    def vocabulary(self, rows: Rows) -> Vocabulary:
        """A vocabulary of another shop's rows in this net's sizes. Raises InputError if its sizes differ."""
        own = shop_vocabulary(rows, self.config)
        if own.sizes != self.sizes:
            raise InputError(
                "the pretrained event model knows single items or categories of its own shop: pretrain with "
                "`--portable` for use in another one",
                "该预训练事件模型含有其自身店铺的商品或类目：若要用于其他店铺，请用 `--portable` 预训练",
            )
        return own


def new_net(config: EventModelConfig, sizes: tuple[int, ...], device: str, seed: int) -> EventNet:
    """An untrained net on its device; the same seed gives the same weights."""
    torch.manual_seed(seed)
    net = EventNet(config, sizes, len(NUMBERS))
    net.to(choose_device(device))
    return net


def shop_vocabulary(rows: Rows, config: EventModelConfig) -> Vocabulary:
    """The vocabulary of the rows' events; without item embeddings, names of categories and channels are left out too."""
    if rows.sequences is None:
        raise ValueError("a vocabulary needs event sequences")
    return Vocabulary.fit(rows.sequences, most_items=config.items, most_others=500 if config.items else 0)


def shop_slices(rows: Rows, vocabulary: Vocabulary, config: EventModelConfig) -> Slices:
    """What pretraining draws from: nothing after the newest row's outcome window."""
    if rows.sequences is None:
        raise ValueError("slices need event sequences")
    limit = int(rows.as_of_us.max()) + rows.embargo_us
    return Slices(vocabulary.encode(rows.sequences.log), limit, rows.embargo_us, config.max_len, vocabulary.sizes[0])


def pretrain_here(
    rows: Rows,
    vocabulary: Vocabulary,
    deep: DeepConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    key: str = "",
    progress: Progress = silent,
) -> Pretrained:
    """Pretrain on the rows' own histories, as `[deep]` says, with half of its events: the other half is for fine-tuning."""
    config = config_of(deep.size, deep.encoder)
    net = new_net(config, vocabulary.sizes, deep.device, seed)
    how = PretrainConfig(
        epochs=deep.epochs,
        learning_rate=config.rate(deep.learning_rate),
        max_events=deep.max_events // 2,
        patience=deep.patience,
        checkpoint=checkpoint,
        key=key,
    )
    pretrain(net, [shop_slices(rows, vocabulary, config)], vocabulary.sizes, how, seed=seed, progress=progress)
    return Pretrained(config, vocabulary.sizes, net.cpu().eval())
