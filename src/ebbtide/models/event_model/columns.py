"""The event model behind the column makers: its frozen state as columns, and its fine-tuned log-odds of churn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ebbtide.core.errors import DefectError
from ebbtide.core.language import Text
from ebbtide.core.settings import DeepConfig
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.columns import ModelColumn
from ebbtide.models.event_model.encoder import EventNet
from ebbtide.models.event_model.heads import Heads
from ebbtide.models.event_model.pretrained import Pretrained, new_net, pretrain_here, shop_vocabulary
from ebbtide.models.event_model.sizes import config_of
from ebbtide.models.event_model.targets import Targets
from ebbtide.models.neural.fit import Fitting, fingerprint
from ebbtide.models.neural.loop import LoopConfig, Work, train_loop
from ebbtide.models.neural.parts import Parts
from ebbtide.models.neural.tensors import Events, choose_device, to_events
from ebbtide.models.setting import Setting
from ebbtide.models.trainable import check_trainable
from ebbtide.sequences.batches import TokenRows, by_length
from ebbtide.sequences.event_log import Sequences
from ebbtide.sequences.vocabulary import Vocabulary

UNTRAINED = "none"
"""`deep.pretrained` for a net that starts from nothing."""
_PRETRAINING = "event_pretraining"  # of both makers: what one has pretrained, the other goes on from
_INFERENCE_ROWS = 512
_HELD_OUT = 10
_FEW_ROWS = 1000
_MANY_ROWS = 3000


class _EventColumns:
    """What both makers share: a vocabulary, an event net, and states worked out in double precision."""

    name: ClassVar[str]

    def __init__(self, setting: Setting) -> None:
        self.deep = setting.deep
        self._setting = setting
        self._vocabulary: Vocabulary | None = None
        self._net: EventNet | None = None

    def _start(self, rows: Rows, seed: int) -> Pretrained:
        """The net to start from: the one that `deep.pretrained` names, or untrained, or pretrained on these rows'
        histories."""
        if rows.sequences is None:
            raise DefectError(f"{self.name} needs event sequences", f"{self.name} 需要事件序列")
        if self.deep.pretrained == UNTRAINED:
            config = config_of(self.deep.size, self.deep.encoder)
            self._vocabulary = shop_vocabulary(rows, config)
            return Pretrained(config, self._vocabulary.sizes, new_net(config, self._vocabulary.sizes, "cpu", seed))
        if self.deep.pretrained:
            found = Pretrained.load(Path(self.deep.pretrained))
            found.check_known(rows)
            self._vocabulary = found.vocabulary(rows)
            return found
        self._vocabulary = shop_vocabulary(rows, config_of(self.deep.size, self.deep.encoder))
        folder, key = (
            self._setting.checkpoints,
            fingerprint(rows, Fitting(_PRETRAINING, self.deep, self._setting, seed)),
        )
        return pretrain_here(
            rows,
            self._vocabulary,
            self.deep,
            seed=seed,
            checkpoint=folder and folder / f"{_PRETRAINING}-{key[:16]}.safetensors",
            key=key,
            progress=self._setting.progress,
        )

    def _states(self, sequences: Sequences | None) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Row numbers and their states (B, W), batch by batch."""
        if self._net is None or self._vocabulary is None or sequences is None:
            raise DefectError("the event model is used before it is fitted", "事件模型尚未拟合就被使用")
        tokens = TokenRows.of(sequences, self._vocabulary, self._net.config.max_len)
        with torch.no_grad():
            for rows in by_length(tokens.lengths(), _INFERENCE_ROWS, None):
                yield rows, self._net.state(to_events(tokens.batch(rows), torch.device("cpu"), torch.float64))

    def _parts(self, tell: nn.Module) -> Parts:
        """The net followed by what tells the columns of its state."""
        if self._net is None or self._vocabulary is None:
            raise DefectError("the event model is used before it is fitted", "事件模型尚未拟合就被使用")
        return Parts(_Told(self._net, tell), self._vocabulary, self._net.config.max_len)

    def _save(self, folder: Path) -> None:
        if self._net is None or self._vocabulary is None:
            raise DefectError("the event model is saved before it is fitted", "事件模型尚未拟合就被保存")
        folder.mkdir(parents=True, exist_ok=True)
        self._vocabulary.save(folder)
        Pretrained(self._net.config, self._vocabulary.sizes, self._net).save(folder)
        (folder / "deep.json").write_text(self.deep.model_dump_json(), encoding="utf-8")

    @classmethod
    def _load(cls, folder: Path) -> Self:
        deep = DeepConfig.model_validate_json((folder / "deep.json").read_text(encoding="utf-8"))
        made = cls(Setting(0.0, deep=deep))
        made._vocabulary = Vocabulary.load(folder)
        made._net = Pretrained.load(folder).net.double().eval()
        return made


class EventState(_EventColumns):
    """`event_state`: the frozen user state of a model that was trained without labels, one column a dimension."""

    name: ClassVar[str] = "event_state"

    def declarations(self) -> tuple[ModelColumn, ...]:
        """One column a dimension of the state."""
        width = self._net.state_width if self._net else 0
        return tuple(
            ModelColumn(
                column=f"event_state_{k}",
                words=Text(f"habits read from the event stream, part {k}", f"从事件流读出的习惯，第 {k} 部分"),
                kind="sequence",
            )
            for k in range(1, width + 1)
        )

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Pretrain on the rows' histories, or take the net that `deep.pretrained` names. Labels are not looked at."""
        self._net = self._start(rows, seed).fresh().double().eval()
        return self

    def parts(self) -> Parts:
        """The net up to its state."""
        return self._parts(nn.Identity())

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """The states, (N, S)."""
        out = np.empty((len(X), self._net.state_width if self._net else 0), np.float32)
        for rows, states in self._states(sequences):
            out[rows] = states.numpy()
        return out

    def save(self, folder: Path) -> None:
        """Weights, vocabulary, settings."""
        self._save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls._load(folder)


class EventModel(_EventColumns):
    """`event_model`: pretrained, then fine-tuned with a head for churn and four tasks beside it."""

    name: ClassVar[str] = "event_model"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._heads: Heads | None = None

    def declarations(self) -> tuple[ModelColumn, ...]:
        """One column."""
        words = Text("what the stream of recent events says (event model)", "近期事件流的含义（事件模型）")
        return (ModelColumn(column="event_model_log_odds", words=words, kind="sequence"),)

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Fine-tune with the half of `deep.max_events` that pretraining left: everything at the full rate where there are
        3,000 rows or more, or where the net is untrained; with fewer rows the heads alone first, then everything at a
        fifth of the rate. With 1,000 rows or more, every tenth user is held out and tells when to stop.

        Raises DataError if the rows have one class, or no events.
        """
        check_trainable(rows)
        begun = self._start(rows, seed)
        if self._vocabulary is None or rows.sequences is None:
            raise DefectError("the event model has no vocabulary", "事件模型没有词表")
        device, targets = choose_device(self.deep.device), Targets.of(rows)
        torch.manual_seed(seed)
        net = begun.fresh().to(device)
        heads = Heads(net.state_width, targets.horizon_days).to(device)
        tuning = _Tuning(
            net, heads, TokenRows.of(rows.sequences, self._vocabulary, net.config.max_len), targets, device
        )
        watched = rows.user % np.uint64(_HELD_OUT) == np.uint64(seed % _HELD_OUT)
        if len(rows) < _FEW_ROWS or not 0 < rows.y[watched].sum() < watched.sum():
            watched[:] = False
        key = fingerprint(rows, Fitting(self.name, self.deep, self._setting, seed))
        self._tune(tuning, np.flatnonzero(~watched), np.flatnonzero(watched), seed, key)
        self._net, self._heads = net.cpu().double().eval(), heads.cpu().double().eval()
        return self

    def _tune(self, tuning: _Tuning, learnt: NDArray[np.int64], held: NDArray[np.int64], seed: int, key: str) -> None:
        deep, lengths = self.deep, tuning.tokens.lengths()
        share = min(1.0, deep.max_events / 2 / deep.epochs / max(int(lengths[learnt].sum()), 1))
        count = max(1, int(len(learnt) * share))
        size = min(deep.batch, max(16, count // 8))

        def batches(epoch: int) -> Iterator[NDArray[np.int64]]:
            rng = np.random.default_rng((seed, epoch))
            drawn = learnt if count == len(learnt) else rng.choice(learnt, count, replace=False)
            yield from (drawn[part] for part in by_length(lengths[drawn], size, rng))

        def held_out() -> float:
            parts = [held[i] for i in by_length(lengths[held], deep.batch, None)]
            return sum(float(tuning(part)) * len(part) for part in parts) / len(held)

        work = Work(batches, -(-count // size), tuning, held_out if len(held) else None)
        folder = self._setting.checkpoints
        at_once = deep.pretrained == UNTRAINED or len(tuning.tokens) >= _MANY_ROWS
        timid = ((True, 1.0, max(1, deep.epochs // 3)), (False, 0.2, deep.epochs))
        for frozen, rate, epochs in ((False, 1.0, deep.epochs),) if at_once else timid:
            tuning.freeze(frozen)
            how = LoopConfig(
                epochs=epochs,
                learning_rate=deep.learning_rate * rate,
                patience=deep.patience,
                checkpoint=folder and folder / f"{self.name}-tuning-{frozen}-{key[:16]}.safetensors",
                key=key,
            )
            stage = Text("fine-tuning the event model", "微调事件模型")
            train_loop(tuning, work, how, progress=self._setting.progress, stage=stage)

    def parts(self) -> Parts:
        """The net and its head for churn."""
        if self._heads is None:
            raise DefectError("the event model is used before it is fitted", "事件模型尚未拟合就被使用")
        return self._parts(_Churn(self._heads))

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """Log-odds of churn, (N, 1)."""
        if self._heads is None:
            raise DefectError("the event model is used before it is fitted", "事件模型尚未拟合就被使用")
        out = np.empty((len(X), 1), np.float32)
        with torch.no_grad():
            for rows, states in self._states(sequences):
                out[rows, 0] = self._heads.churn(states).numpy()
        return out

    def outlook(self, sequences: Sequences) -> dict[str, NDArray[np.float64]]:
        """What the other heads expect within the horizon: orders, money, and the median days to the next order, (N,)."""
        if self._heads is None:
            raise DefectError("the event model is used before it is fitted", "事件模型尚未拟合就被使用")
        found: dict[str, NDArray[np.float64]] = {}
        with torch.no_grad():
            for rows, states in self._states(sequences):
                for name, values in self._heads.outlook(states).items():
                    found.setdefault(name, np.empty(len(sequences)))[rows] = values.numpy()
        return found

    def save(self, folder: Path) -> None:
        """Weights of net and heads, vocabulary, settings."""
        self._save(folder)
        if self._heads is None:
            raise DefectError("the event model is saved before it is fitted", "事件模型尚未拟合就被保存")
        weights = {name: value.float().contiguous() for name, value in self._heads.state_dict().items()}
        save_file(weights, folder / "heads.safetensors")
        (folder / "heads.json").write_text(json.dumps({"horizon_days": self._heads.horizon_days}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        made = cls._load(folder)
        about = json.loads((folder / "heads.json").read_text(encoding="utf-8"))
        if made._net is None:
            raise DefectError("the event model has no net", "事件模型没有网络")
        made._heads = Heads(made._net.state_width, about["horizon_days"])
        made._heads.load_state_dict(load_file(folder / "heads.safetensors"))
        made._heads = made._heads.double().eval()
        return made


class _Told(nn.Module):
    """A net and what is told of its states, as one module."""

    def __init__(self, net: EventNet, tell: nn.Module) -> None:
        super().__init__()
        self.net, self.tell = net, tell

    def forward(self, events: Events, base: Tensor | None) -> Tensor:
        return self.tell(self.net.state(events))  # (B,) or (B, W)


class _Churn(nn.Module):
    """The head for churn alone."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, state: Tensor) -> Tensor:
        return self.heads.churn(state)  # (B,)


class _Tuning(nn.Module):
    """Net and heads as one module; called with row numbers it gives their loss."""

    def __init__(self, net: EventNet, heads: Heads, tokens: TokenRows, targets: Targets, device: torch.device) -> None:
        super().__init__()
        self.net, self.heads = net, heads
        self.tokens, self._targets, self._device = tokens, targets, device

    def freeze(self, frozen: bool) -> None:
        """Whether the net stays as it is."""
        for weight in self.net.parameters():
            weight.requires_grad_(not frozen)

    def forward(self, rows: NDArray[np.int64]) -> Tensor:
        state = self.net.state(to_events(self.tokens.batch(rows), self._device))  # (B, W)
        target = {k: torch.from_numpy(v).to(self._device) for k, v in self._targets.take(rows).items()}
        return self.heads.loss(state, target)  # ()
