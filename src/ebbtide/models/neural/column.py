"""A neural net over a user's events that predicts churn: its log-odds as one column, whatever the net is.

Subclasses say only how the net is built. The net may also look at the base columns of the row (on the scale of
`Basis`), and at the vectors of the items where the shop has some.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ebbtide.core.errors import DefectError
from ebbtide.core.language import Text
from ebbtide.core.settings import DeepConfig
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.basis import Basis
from ebbtide.models.columns import ModelColumn
from ebbtide.models.neural.augment import augmented, mixed
from ebbtide.models.neural.fit import Chosen, Fitting, fit_basis, fit_net
from ebbtide.models.neural.loop import memory_in_words
from ebbtide.models.neural.parts import Parts
from ebbtide.models.neural.tensors import Events, choose_device, to_events
from ebbtide.models.setting import Setting
from ebbtide.models.trainable import check_trainable
from ebbtide.sequences.batches import TokenRows, by_length
from ebbtide.sequences.event_log import Sequences
from ebbtide.sequences.items.vectors import ItemVectors
from ebbtide.sequences.tokens import NUMBERS
from ebbtide.sequences.vocabulary import Vocabulary

_INFERENCE_ROWS = 512
_ITEMS = "items"


@dataclass(frozen=True)
class Shape:
    """What a net must know to be built: codes of each token, numbers of an event, base columns (0: none), settings,
    and the vectors of the V known items, (V + 1, D), the first of them that of no item (None: the net learns its own)."""

    sizes: tuple[int, ...]
    numbers: int
    base: int
    deep: DeepConfig
    vectors: NDArray[np.float32] | None = None


class NeuralColumn:
    """The column maker behind a sequence net; a subclass gives `name`, `words`, `build`, and says whether the net
    looks at base columns and items. `space` is that of all nets."""

    name: ClassVar[str]
    words: ClassVar[Text]
    reads_base: ClassVar[bool] = False
    reads_items: ClassVar[bool] = False

    def __init__(self, setting: Setting) -> None:
        self.deep = setting.deep.model_copy(update=setting.values_of(self.name))
        self._setting = setting
        self._items = setting.item_vectors if self.reads_items else None
        self._vocabulary: Vocabulary | None = None
        self._basis: Basis | None = None
        self._net: nn.Module | None = None

    def build(self, shape: Shape) -> nn.Module:
        """A net whose forward(events, base) gives log-odds, (B,)."""
        raise NotImplementedError

    def declarations(self) -> tuple[ModelColumn, ...]:
        """One column."""
        return (ModelColumn(column=f"{self.name}_log_odds", words=self.words, kind="sequence"),)

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Train on all rows but those of every tenth user, who tell when to stop.

        Raises DataError if the rows have one class, or no events; RetryError if memory runs out.
        """
        check_trainable(rows)
        if rows.sequences is None:
            raise DefectError(f"{self.name} needs event sequences", f"{self.name} 需要事件序列")
        self._vocabulary = Vocabulary.fit(rows.sequences, most_items=self.deep.items)
        self._basis = fit_basis(rows) if self.reads_base else None
        torch.manual_seed(seed)
        device = choose_device(self.deep.device)
        with memory_in_words():
            net = self.build(self._shape()).to(device)
        tokens, base = TokenRows.of(rows.sequences, self._vocabulary, self.deep.max_len), self._design(rows.X)
        y = torch.from_numpy(rows.y.astype(np.float32))

        def loss(chosen: Chosen, rng: np.random.Generator | None) -> Tensor:
            events, own = self._inputs(tokens, base, chosen, device, rng=rng)
            target = y[torch.from_numpy(chosen)].to(device)  # (B,)
            if events.mix is not None:
                target, own = events.mix.blend(target), None if own is None else events.mix.blend(own)
            return F.binary_cross_entropy_with_logits(net(events, own).float(), target)

        fit_net(net, rows, loss, Fitting(self.name, self.deep, self._setting, seed), tokens.lengths())
        self._net = net.cpu().double().eval()
        return self

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """Log-odds of churn, (N, 1), worked out in double precision so that company does not matter."""
        if self._net is None or self._vocabulary is None or sequences is None:
            raise DefectError("a neural net is used before it is fitted", "神经网络尚未拟合就被使用")
        tokens = TokenRows.of(sequences, self._vocabulary, self.deep.max_len)
        out, base = np.empty((len(X), 1), np.float32), self._design(X)
        cpu = torch.device("cpu")
        with torch.no_grad():
            for rows in by_length(tokens.lengths(), _INFERENCE_ROWS, None):
                events, own = self._inputs(tokens, base, rows, cpu, torch.float64)
                out[rows, 0] = self._net(events, own).numpy()
        return out

    def save(self, folder: Path) -> None:
        """Weights as safetensors in single precision, the rest as JSON."""
        if self._net is None or self._vocabulary is None:
            raise DefectError("a neural net is saved before it is fitted", "神经网络尚未拟合就被保存")
        folder.mkdir(parents=True, exist_ok=True)
        self._vocabulary.save(folder)
        weights = {name: value.float().contiguous() for name, value in self._net.state_dict().items()}
        save_file(weights, folder / "net.safetensors")
        if self._items is not None:
            (folder / _ITEMS).mkdir()
            self._items.save(folder / _ITEMS)
        about: dict[str, Any] = {"deep": self.deep.model_dump(), "basis": self._basis and self._basis.to_json()}
        (folder / "net.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        about = json.loads((folder / "net.json").read_text(encoding="utf-8"))
        items = ItemVectors.load(folder / _ITEMS) if (folder / _ITEMS).is_dir() else None
        column = cls(Setting(0.0, deep=DeepConfig(**about["deep"]), item_vectors=items))
        column._vocabulary = Vocabulary.load(folder)
        column._basis = Basis.from_json(about["basis"]) if about["basis"] else None
        column._net = column.build(column._shape())
        column._net.load_state_dict(load_file(folder / "net.safetensors"))
        column._net = column._net.double().eval()
        return column

    def parts(self) -> Parts:
        """The fitted net, and what makes its inputs."""
        if self._net is None or self._vocabulary is None:
            raise DefectError("a neural net is used before it is fitted", "神经网络尚未拟合就被使用")
        return Parts(self._net, self._vocabulary, self.deep.max_len, self._basis, self._items)

    def _shape(self) -> Shape:
        if self._vocabulary is None:
            raise DefectError("a neural net is built before its vocabulary", "神经网络先于词表构建")
        base = self._basis.regressors if self._basis else 0
        vectors = None if self._items is None else np.pad(self._items.vector, ((1, 0), (0, 0)))  # (V + 1, D)
        return Shape(self._vocabulary.sizes, len(NUMBERS), base, self.deep, vectors)

    def _design(self, X: Matrix) -> NDArray[np.float32] | None:
        return self._basis.design(X) if self._basis else None

    def _inputs(
        self,
        tokens: TokenRows,
        base: NDArray[np.float32] | None,
        rows: Chosen,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        rng: np.random.Generator | None = None,
    ) -> tuple[Events, Tensor | None]:
        """The events and the base columns (B, P) of some rows on the device; of an item, the version in force at the
        row's moment. With `rng`: changed as `[augment]` says, for training."""
        own = None if base is None else torch.from_numpy(base[rows]).to(device, dtype)
        batch, augment = tokens.batch(rows), self._setting.augment
        if rng is not None:
            batch = augmented(batch, augment, rng)
        events = to_events(batch, device, dtype)
        if self._items is not None:
            places = self._items.rows(batch.item, tokens.at_us[rows][:, None]).astype(np.int64) + 1  # (B, T)
            events = replace(events, item=torch.from_numpy(places).to(device))
        return events if rng is None or not augment.mixup else mixed(events, augment.mixup, rng), own
