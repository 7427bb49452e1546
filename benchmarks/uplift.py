"""Uplift: Hillstrom's mails beside published learners, and a simulated shop whose true effects are known.

    python benchmarks/uplift.py [--data FOLDER] [--users 8000] [--seeds 1 2 3] [--effect 1] [--part 1] [--kept FOLDER]

Hillstrom: visits, women's and men's mail against none, a 50/50 split by numpy's permutation of seed 0, first half
trains. The learner is chosen by cross-fitting inside the training half; the test half only judges.

Simulated shop: learns from the campaigns whose outcomes had closed, then names the 10 % of users, one action each, that
it would contact on the last possible day. Their true gain comes from replays; the oracle picks by other replays than
those that pay it, so that noise does not flatter it. The oracle sees hidden traits. What the log can show at best is measured
beside it: learners that are told the true effects of all other users, at three moments, and know each user by the columns alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.boosters import TreeSizes, boost
from ebbtide.actions.choosing import compare, cross_fitted, held_out, mean_qini
from ebbtide.actions.learners import CONSIDERED, LEARNERS, expected_outcomes
from ebbtide.actions.trial import CONTROL, Trial
from ebbtide.actions.uplift import judge
from ebbtide.evaluation.policy_value import doubly_robust_scores, targeting_terms, top_choice
from ebbtide.evaluation.uplift import evaluate_uplift, random_qini
from ebbtide.events.simulate import SimulationConfig
from ebbtide.events.table_file import table_of_frame
from ebbtide.models.base import Vector
from ebbtide.pipeline.uplift_sections import told
from ebbtide.pipeline.uplift_table import UpliftQuestion, trial_of_table
from machine import machine_line
from simulated_trial import SimulatedTrial, references, simulated_trial

SHARE = 0.1
CRITERIA = ("Qini", "all budgets", "top tenth")


def main() -> None:
    asked = arguments()
    print(machine_line())
    if asked.data:
        for mail in ("Womens E-Mail", "Mens E-Mail"):
            hillstrom(asked.data / "hillstrom_email" / "hillstrom.parquet", mail)
    for seed in asked.seeds:
        shop(SimulationConfig(users=asked.users, days=asked.days, seed=seed, campaign_effect=asked.effect), asked)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Qini on Hillstrom; the share of the oracle's gain in a simulated shop."
    )
    parser.add_argument("--data", type=Path, default=None, help="folder of public data sets")
    parser.add_argument("--users", type=int, default=8000)
    parser.add_argument("--days", type=int, default=660)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--learners", nargs="*", default=list(LEARNERS))
    parser.add_argument("--effect", type=float, default=1.0, help="factor on what every action does")
    parser.add_argument("--part", type=float, nargs="*", default=[1.0], help="of the exposed users, to learn from")
    parser.add_argument(
        "--kept", type=Path, default=None, help="folder for the arrays of simulated shops, to be used again"
    )
    return parser.parse_args()


def hillstrom(file: Path, mail: str) -> None:
    """Learn on one half, judge on the other."""
    frame = pl.read_parquet(file).filter(pl.col("segment").is_in([mail, "No E-Mail"]))
    question = UpliftQuestion("segment", "No E-Mail", "visit", drop=("conversion", "spend"))
    trial = trial_of_table(table_of_frame(frame), question).trial
    order = np.random.default_rng(0).permutation(len(trial))
    learn, test = trial.take(order[: len(order) // 2]), trial.take(order[len(order) // 2 :])
    started = time.perf_counter()
    compared = compare(learn, tuple(LEARNERS))
    winner = next(name for name in compared.won if name in CONSIDERED)
    print(f"\n{mail}: {len(learn):,} rows train, {len(test):,} test; random {told(random_qini(test.y, test.arm))}")
    for name, won in compared.won.items():
        effect = LEARNERS[name].fit(learn, TreeSizes(), 0).effects(test.X)[:, 0]
        qini = evaluate_uplift(test.y, effect, test.arm).qini
        print(f"  {name:7s} while choosing {1000 * won:+.2f} won per 1,000 over all budgets, Qini {compared.qini[name]:.4f}; test {told(qini)}"
              f"{'  <- chosen' if name == winner else ''}")  # fmt: skip
    verdict = judge(trial, held_out(trial))
    for words, win in (("everyone", verdict.over_everyone), ("risk", verdict.over_risk)):
        print(f"  held out: over {words} {told(win.overall)}, in each half (80 %) {', '.join(map(told, win.folds))}")
    print(f"  {verdict.verdict}")
    print(f"  {time.perf_counter() - started:,.0f} s")


def shop(config: SimulationConfig, asked: argparse.Namespace) -> None:
    """One simulated shop; the learners see each part of the users who were exposed."""
    started = time.perf_counter()
    known = simulated_trial(config, asked.kept)
    oracle = gain(known.paid, known.guide)
    print(f"\nshop of {config.users:,} users, seed {config.seed}, effects x {config.campaign_effect:g}: {len(known.trial):,} exposures in "
          f"{known.campaigns} campaigns, {len(known.trial.names)} columns; {len(known.X):,} users asked about; "
          f"{time.perf_counter() - started:,.0f} s\n  oracle {1000 * oracle:.2f} orders won per 1,000 users", flush=True)  # fmt: skip
    shown = references(known)
    nearest = min(shown, key=lambda name: float(((shown[name] - known.guide) ** 2).sum()))
    won = {name: gain(known.paid, effect) for name, effect in shown.items()}
    lines = [f"{name} {1000 * w:.2f} ({w / oracle:.0%})" for name, w in won.items()]
    print(f"  told the true effects of other users: {', '.join(lines)}; nearest to the truth: {nearest}", flush=True)
    for part in asked.part:
        learn_and_win(
            known, known.trial.take(sampled_part(known.trial.user, part)), asked.learners, oracle, won[nearest]
        )
        print(f"  {time.perf_counter() - started:,.0f} s")


def learn_and_win(known: SimulatedTrial, trial: Trial, learners: list[str], oracle: float, most: float) -> None:
    """What each learner wins among the users asked about, beside risk, the oracle, and the best that the log can show."""
    figures = while_choosing(trial, learners)
    winners = {
        by: max(figures, key=lambda name: figures[name][by]) for by in CRITERIA
    }  # the product chooses by all budgets
    untreated = trial.take(trial.arm == CONTROL)
    chance_of_order = boost(untreated.X, untreated.y, sizes=TreeSizes(rounds=160), seed=0).predict(known.X)
    best = int(np.argmax([trial.y[trial.arm == t].mean() for t in trial.treatments]))
    risk = gain(known.paid, np.where(np.arange(3) == best, 1 - chance_of_order[:, None], -1.0))
    print(
        f"  {len(trial):,} exposures: risk ranking with {trial.arms[1 + best]} {1000 * risk:.2f} ({risk / oracle:.0%})"
    )
    for name, told_by in figures.items():
        won = gain(known.paid, LEARNERS[name].fit(trial, TreeSizes(), 0).effects(known.X))
        mark = ", ".join(by for by, winner in winners.items() if winner == name)
        inside = ", ".join(f"{by} {figure:+.5f}" for by, figure in told_by.items())
        print(f"    {name:7s} while choosing {inside}; {1000 * won:.2f} = {won / oracle:.0%} of the oracle, {won / most:.0%} of what the "
              f"log can show{f'  <- best by {mark}' if mark else ''}", flush=True)  # fmt: skip


def while_choosing(trial: Trial, learners: list[str]) -> dict[str, dict[str, float]]:
    """By learner, on users whom it had not seen: mean Qini, and what targeting by it wins, by doubly robust scores, over all
    budgets, by which the choice is made, and at 10 %."""
    expected = expected_outcomes(trial, TreeSizes(), 0)
    scores = doubly_robust_scores(trial.y, trial.arm, trial.propensity, expected)
    rows, found = np.arange(len(trial)), {}
    for name in learners:
        effect = cross_fitted(trial, LEARNERS[name], TreeSizes(), folds=3, seed=0)
        area = targeting_terms(scores, effect.max(axis=1), effect.argmax(axis=1) + 1).mean()
        top = (scores[rows, top_choice(effect, SHARE)] - scores[:, CONTROL]).mean()
        found[name] = dict(zip(CRITERIA, (mean_qini(trial, effect), float(area), float(top)), strict=True))
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["Qini"]))


def sampled_part(user: NDArray[np.uint64], part: float) -> NDArray[np.bool_]:
    """The rows of a random part of the users, (N,)."""
    distinct, place = np.unique(user, return_inverse=True)
    return np.asarray((np.random.default_rng(0).random(len(distinct)) < part)[place])


def gain(paid: Vector, by: Vector) -> float:
    """True orders won per user if the top share by `by` (N, 3) gets its best action."""
    best = by.max(axis=1)
    top = np.argsort(-best, kind="stable")[: int(SHARE * len(by))]
    top = top[best[top] > 0]
    return float(paid[top, by[top].argmax(axis=1)].sum() / len(by))


if __name__ == "__main__":
    main()
