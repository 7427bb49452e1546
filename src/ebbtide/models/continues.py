"""Going on from a fitted model instead of starting anew: what a model may offer beside the protocol of `base.py`."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from ebbtide.core.errors import MissingBundleError
from ebbtide.models.base import Rows


@runtime_checkable
class Continues(Protocol):
    """A model that can learn from more rows without forgetting what it knows.

    `ways`: names of the ways in which it can; which of them is taken is decided by how each did at past moments.
    `fit_more` gives a new model and leaves this one as it is. `rows` are all rows whose labels are known now, the old
    ones included, so that a neural net can replay some of them; a model that wants only the new ones remembers its
    newest moment (`newer_than`). The same rows, seed and way give the same model.
    """

    ways: ClassVar[tuple[str, ...]]

    def fit_more(self, rows: Rows, *, seed: int, way: str) -> Self: ...


def ways_of(model: Any) -> tuple[str, ...]:
    """The ways in which a model can go on; none for most models."""
    return model.ways if isinstance(model, Continues) else ()


def newer_than(rows: Rows, seen_us: int | None) -> Rows:
    """The rows of later moments than the newest one that a model has learnt from.

    Raises MissingBundleError if the model does not know it: it was saved by a version that did not keep it.
    """
    if seen_us is None:
        raise cannot_continue()
    return rows.take(rows.as_of_us > seen_us)


def cannot_continue() -> MissingBundleError:
    """The refusal of a model that was saved without what going on needs."""
    return MissingBundleError(
        "the bundle was trained by a version that did not keep what continuing needs: run `ebbtide train` once",
        "该模型由较早版本训练，未保存继续训练所需的信息：请先运行一次 `ebbtide train`",
    )
