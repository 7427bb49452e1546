"""One configuration for every size of the event model, from minutes on two cores to a cluster of GPUs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from ebbtide.core.errors import InputError

Encoder = Literal["gru", "transformer"]
_WIDTH = 160


@dataclass(frozen=True)
class EventModelConfig:
    """`width`: of an event and of the user state; `layers`, `heads` of the encoder (heads: Transformer only); `items`:
    embeddings of single items (0: none, for transfer between shops); `max_len`: newest events that are read."""

    encoder: Encoder = "gru"
    width: int = 64
    layers: int = 1
    heads: int = 4
    items: int = 500
    max_len: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.encoder not in ("gru", "transformer"):
            raise InputError(
                "the encoder is gru or transformer, not `{found}`", "编码器为 gru 或 transformer，而不是 `{found}`",
                found=self.encoder,
            )  # fmt: skip
        if self.width % (2 * self.heads):
            raise InputError(
                "the width ({width}) must be an even multiple of the heads ({heads})",
                "宽度（{width}）必须是头数（{heads}）的偶数倍",
                width=self.width,
                heads=self.heads,
            )

    def rate(self, learning_rate: float) -> float:
        """The peak learning rate of pretraining: `deep.learning_rate` is that of a net of width 160, wider ones take
        smaller steps in proportion (Yang et al. 2022, Tensor Programs V).

        >>> EventModelConfig(width=64).rate(0.002)
        0.005
        """
        return learning_rate * _WIDTH / self.width

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**data)


SIZES: dict[str, EventModelConfig] = {
    "tiny": EventModelConfig(),
    "small": EventModelConfig(width=256, layers=2, heads=4, items=2_000, max_len=256),
    "base": EventModelConfig("transformer", width=512, layers=8, heads=8, items=10_000, max_len=512, dropout=0.0),
    "large": EventModelConfig("transformer", width=1024, layers=24, heads=16, items=50_000, max_len=512, dropout=0.0),
    "xl": EventModelConfig("transformer", width=1792, layers=26, heads=14, items=60_000, max_len=1024, dropout=0.0),
}
"""About 0.1 million, 1.4 million, 26 million, 0.3 billion and 1 billion parameters."""


def config_of(size: str, encoder: str = "") -> EventModelConfig:
    """The configuration of a size, with another encoder if one is named. Raises InputError for an unknown size."""
    if size not in SIZES:
        raise InputError(
            "no size `{size}` of the event model; the sizes are {known}",
            "事件模型没有规模 `{size}`；可选：{known}",
            size=size,
            known=", ".join(SIZES),
        )
    return replace(SIZES[size], encoder=encoder) if encoder else SIZES[size]  # type: ignore[arg-type]  # checked on making
