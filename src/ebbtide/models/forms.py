"""The forms in which a trained stack can be served.

full        as it was trained
onnx        its neural nets as ONNX graphs in single precision, run without PyTorch
int8        the same with weights in 8 bits
distilled   one small LightGBM on the base columns that learnt what the stack says; reads no events
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from ebbtide.models.base import Rows, Vector
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.distilled import DistilledModel
from ebbtide.models.makers import MAKERS, all_columns, deep
from ebbtide.models.neural.exported import ExportedColumn
from ebbtide.models.stack import StackModel

Form = Literal["full", "onnx", "int8", "distilled"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Served:
    """A stack and the makers whose columns it reads, in one of the forms."""

    form: Form
    stack: StackModel
    makers: tuple[ColumnMaker, ...]

    def margin(self, rows: Rows) -> Vector:
        """Log-odds of churn of rows that hold the base columns, (N,)."""
        return self.stack.margin(all_columns(self.makers, rows.X, rows.sequences))


def forms_of(makers: Sequence[ColumnMaker]) -> tuple[Form, ...]:
    """The forms that a stack with these makers has; only neural nets can be exported."""
    return FORMS if any(MAKERS[m.name].exports for m in makers) else ("full", "distilled")


def compressed(full: Served, form: Form, rows: Rows, *, seed: int, folder: Path) -> Served:
    """The full form in another one. `rows` hold the base columns: a student learns from them, their outcomes unread.

    `folder`: an empty one, which must stay as long as the result is used. Raises MissingExtraError where exporting needs PyTorch.
    """
    if form == "full":
        return full
    if form == "distilled":
        student = DistilledModel().fit(replace(rows, y=full.margin(rows)), seed=seed)
        base = ((0, rows.X.shape[1]),)
        return Served(form, StackModel([student], [1.0], reads=[base]), ())
    export = deep("neural.export", "export")
    makers: list[ColumnMaker] = []
    for maker in full.makers:
        if not MAKERS[maker.name].exports:
            makers.append(maker)
            continue
        export(maker, folder / maker.name, int8=form == "int8")
        makers.append(ExportedColumn.load(folder / maker.name))
    return Served(form, full.stack, tuple(makers))
