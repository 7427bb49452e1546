"""Decisions at one threshold: confusion matrix, precision, recall, F1, accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebbtide.evaluation.tally import Tally, Vector, ratio


@dataclass(frozen=True)
class Confusion:
    """Counts when everybody with a score of at least the threshold is called a churner, each (D,)."""

    true_positive: Vector
    false_positive: Vector
    false_negative: Vector
    true_negative: Vector

    @property
    def precision(self) -> Vector:
        """Share of those called churners who churned; NaN if nobody is called."""
        return ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> Vector:
        """Share of the churned who are called; NaN if nobody churned."""
        return ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> Vector:
        """Harmonic mean of precision and recall; NaN if nobody is called and nobody churned."""
        return ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def accuracy(self) -> Vector:
        """Share of right calls."""
        right = self.true_positive + self.true_negative
        return ratio(right, right + self.false_positive + self.false_negative)


def confusion_of(t: Tally, threshold: float) -> Confusion:
    """The confusion matrix of each draw at `threshold`; a score equal to it is called a churner."""
    called = t.score >= threshold
    return Confusion(
        true_positive=t.churned[:, called].sum(1),
        false_positive=t.retained[:, called].sum(1),
        false_negative=t.churned[:, ~called].sum(1),
        true_negative=t.retained[:, ~called].sum(1),
    )


def best_f1_threshold(t: Tally) -> float:
    """The score at which F1 is highest in the first draw; the higher score if several are equal.

    Chosen on the same rows that it is then judged on, so F1 there is a little too good.

    >>> from ebbtide.evaluation.tally import tally
    >>> best_f1_threshold(tally(np.array([1, 1, 0, 0]), np.array([0.9, 0.6, 0.5, 0.1])))
    0.6
    """
    caught, called = np.cumsum(t.churned[0]), np.cumsum(t.total[0])
    f1 = 2 * caught / (called + t.churned[0].sum())
    return float(t.score[int(np.argmax(f1))])
