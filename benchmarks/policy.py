"""A plan under a budget: seconds for a million customers, and how far from the best possible on small instances.

    python benchmarks/policy.py [--users 1000000] [--instances 20]

Our solver uses one thread. Seconds are the median of three runs after compilation. The best possible is what HiGHS proves
(`scipy.optimize.milp`, gap 1e-6) on random instances of 2,000 customers x 5 actions. Three kinds: a budget alone; with
capacities of three actions; with least and largest shares of four groups too. Budgets are drawn between 2 % and 60 %
of what everybody's best action would cost.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, vstack

from ebbtide.actions.limits import Limits
from ebbtide.actions.policy import Assignment, assign
from machine import machine_line

KINDS = ("budget", "capacities", "shares")
SMALL, ACTIONS, GROUPS = 2_000, 5, 4
EFFECTS, COSTS = np.array([0.03, 0.06, 0.12, 0.15, 0.20]), np.array([0.1, 0.5, 2.0, 4.0, 8.0])


def instance(users: int, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, Limits]:
    """Risk x value x effect less cost, with effects and costs that differ by customer; some actions not allowed."""
    rng = np.random.default_rng(seed)
    worth = rng.beta(2, 3, users) * rng.lognormal(3.5, 1.0, users)
    cost = COSTS * rng.uniform(0.8, 1.2, (users, ACTIONS))
    gain = worth[:, None] * EFFECTS * rng.uniform(0.2, 1.8, (users, ACTIONS)) - cost
    allowed = rng.random((users, ACTIONS)) < 0.85
    wanted = np.where(allowed, gain, -np.inf)
    best = wanted.argmax(axis=1)
    dear = float(cost[np.arange(users), best][wanted.max(axis=1) > 0].sum())
    limits = Limits.of(dear * rng.uniform(0.02, 0.6), ACTIONS)
    if kind != "budget":
        capacity = np.append(np.floor(users * rng.uniform(0.005, 0.1, 3)), [np.inf, np.inf])
        limits = Limits(limits.budget, rng.permutation(capacity))
    if kind == "shares":
        limits = limits.with_shares(rng.integers(0, GROUPS, users), 0.05, rng.uniform(0.15, 0.5))
    return gain, cost, allowed, limits


def best_possible(gain: np.ndarray, cost: np.ndarray, allowed: np.ndarray, limits: Limits) -> float:
    """The value that HiGHS finds and proves."""
    rows, actions = np.nonzero(allowed)
    options = np.arange(len(rows))
    one = np.ones(len(rows))
    parts = [coo_array((one, (rows, options)), shape=(len(gain), len(rows)))]
    upper = [np.ones(len(gain))]
    parts.append(coo_array((cost[rows, actions], (np.zeros_like(rows), options)), shape=(1, len(rows))))
    upper.append(np.array([limits.budget]))
    parts.append(coo_array((one, (actions, options)), shape=(ACTIONS, len(rows))))
    upper.append(limits.capacity)
    if limits.groups:
        by_group = coo_array((one, (limits.group[rows], options)), shape=(limits.groups, len(rows)))
        parts += [by_group, -by_group]
        upper += [limits.most, -limits.least]
    found = milp(
        -gain[rows, actions],
        integrality=one,
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(vstack(parts).tocsr(), -np.inf, np.concatenate(upper)),
        options={"mip_rel_gap": 1e-6, "time_limit": 60},
    )
    assert found.x is not None, found.message
    return -float(found.fun)


def check(done: Assignment, limits: Limits) -> None:
    assert done.cost <= limits.budget
    assert limits.holds_but_for_budget(done.choice)


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--users", type=int, default=1_000_000)
    ask.add_argument("--instances", type=int, default=20)
    given = ask.parse_args()
    print(machine_line())
    for kind in KINDS:
        lost, proved = [], []
        for seed in range(given.instances):
            gain, cost, allowed, limits = instance(SMALL, seed, kind)
            done = assign(gain, cost, allowed, limits)
            check(done, limits)
            lost.append(1 - done.gain / best_possible(gain, cost, allowed, limits))
            proved.append(done.gap)
        print(
            f"{kind}: {given.instances} instances of {SMALL:,} x {ACTIONS}: below HiGHS by {np.mean(lost):.5%} on average, "
            f"{max(lost):.5%} at most; own proof of the gap {max(proved):.5%} at most"
        )
    for kind in KINDS:
        gain, cost, allowed, limits = instance(given.users, 0, kind)
        walls, cpus = [], []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            done = assign(gain, cost, allowed, limits)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        check(done, limits)
        print(
            f"{kind}: {given.users:,} x {ACTIONS}: {statistics.median(walls):.2f} s wall, {statistics.median(cpus):.2f} CPU s "
            f"(medians of 3); at most {done.gap:.2e} below the best possible"
        )


if __name__ == "__main__":
    main()
