"""Uplift's verdict: how often it says "use it" where nothing can be won, and where something can, by rule.

    python benchmarks/uplift_verdict.py [--kinds nothing line corner base] [--sizes .03 .05 .08] [--trials 100] [--rows 3000]

Trials with one mail against none, half each. The chance of an outcome without it is 6 to 40 %, by two of six columns. The
mail adds 5 points on average; how much it adds to whom has the spread `size`:
nothing: everybody gains alike, so that no ranking can win (sizes play no part); line: along a third column; corner: much where
two other columns are high, little elsewhere; base: who has an outcome more often anyway gains more.

Rules: "over all users" asks for 95 % intervals above 0 over all users; the others ask beside it that each half of the users alone,
judged by what was learnt and chosen in the other, wins: with one-sided confidence of 90, 95 or 97.5 % (the last is a 95 %
interval above 0). `gain` is the true one of the ranking over everyone alike, in outcomes per 1,000 users: of all trials, and
of those in which the rule says "use it". `halves alike`: the correlation between what the two halves find, over trials.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from ebbtide.actions.boosters import TreeSizes
from ebbtide.actions.choosing import held_out
from ebbtide.actions.trial import Trial
from ebbtide.actions.uplift import FOLD_LEVEL, Judgement, judge
from ebbtide.evaluation.intervals import Estimate, wilson
from ebbtide.evaluation.policy_value import targeting_terms
from ebbtide.models.base import Vector
from machine import machine_line

SURE, FOLD_SURE = 1.96, float(norm.ppf((1 + FOLD_LEVEL) / 2))
RULES = {"over all users": -np.inf, "each half 90 %": 1.2816, "each half 95 %": 1.6449, "each half 97.5 %": SURE}


@dataclass(frozen=True)
class Outcome:
    """What became of one trial: whether the product follows the ranking, whether each rule would, the win over everyone in
    each half in standard errors, the true gain."""

    followed: bool
    by_rule: tuple[bool, ...]
    halves: tuple[float, ...]
    gain: float


def main() -> None:
    asked = arguments()
    print(machine_line(), flush=True)
    for kind in asked.kinds:
        for size in asked.sizes if kind != "nothing" else [0.0]:
            tell(kind, size, [outcome(kind, size, asked.rows, number) for number in range(asked.trials)])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How often uplift's verdict says that a ranking is to be followed.")
    parser.add_argument("--kinds", nargs="*", default=["nothing", "line", "corner", "base"])
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.03, 0.05, 0.08])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rows", type=int, default=3000)
    return parser.parse_args()


def outcome(kind: str, size: float, rows: int, number: int) -> Outcome:
    """Make a trial, choose among all learners with small trees, judge."""
    trial, effect = planted(kind, size, rows, number)
    judged = judge(trial, held_out(trial, sizes=TreeSizes(rounds=10, seeds=1, leaves=4), seed=number), seed=number)
    truth = np.column_stack([np.zeros(rows), effect])
    gain = targeting_terms(truth, judged.held_out.effect[:, 0], np.ones(rows, np.int64)).mean()
    halves = tuple(errors(f, FOLD_SURE) for f in judged.over_everyone.folds)
    return Outcome(judged.is_followed, tuple(follows(judged, least) for least in RULES.values()), halves, float(gain))


def planted(kind: str, size: float, rows: int, number: int) -> tuple[Trial, Vector]:
    """A trial and the true effect of the mail on each user, (N,)."""
    rng = np.random.default_rng([11, number])
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    base = 0.05 + 0.4 * expit(X[:, 0] + 0.5 * X[:, 1] - 1)
    shapes = {
        "nothing": np.zeros(rows),
        "line": X[:, 2],
        "corner": np.where((X[:, 2] > 0) & (X[:, 3] > 0), 3.0, -1.0) / np.sqrt(3),
        "base": (base - base.mean()) / base.std(),
    }
    effect = np.clip(0.05 + size * shapes[kind], -base, 1 - base)
    arm = (rng.random(rows) < 0.5).astype(np.int64)
    y = (rng.random(rows) < base + effect * arm).astype(np.float64)
    even, user = np.full((rows, 2), 0.5), np.arange(rows, dtype=np.uint64)
    return Trial(X, arm, y, even, tuple("abcdef"), ("nothing", "mail"), user), effect


def follows(judged: Judgement, least: float) -> bool:
    """Whether a rule that asks for `least` standard errors above 0 in each fold would follow the ranking."""
    return all(
        errors(win.overall, SURE) > SURE and min(errors(f, FOLD_SURE) for f in win.folds) > least
        for win in (judged.over_everyone, judged.over_risk)
    )


def errors(figure: Estimate, reach: float) -> float:
    """How many standard errors a figure lies above 0, by the width of its interval of `reach` of them to each side."""
    if figure.value is None or figure.low is None or figure.high is None or figure.high <= figure.low:
        return 0.0
    return 2 * reach * figure.value / (figure.high - figure.low)


def tell(kind: str, size: float, found: list[Outcome]) -> None:
    gains = 1000 * np.array([o.gain for o in found])
    alike = np.corrcoef(np.array([o.halves for o in found]).T)[0, 1]
    print(f"\n{kind}, spread {size:g}: {len(found)} trials, true gain {gains.mean():.2f}; halves alike {alike:.2f}")
    ways = {"the product": [o.followed for o in found]}
    for n, rule in enumerate(RULES):
        ways[rule] = [o.by_rule[n] for o in found]
    for rule, said in ways.items():
        low, high = wilson(sum(said), len(said))
        paid = f", gain there {gains[said].mean():.2f}" if any(said) else ""
        print(f"  {rule:16s} use it in {sum(said)} [{low:.1%}, {high:.1%}]{paid}", flush=True)


if __name__ == "__main__":
    main()
