"""BG/NBD on all 23,570 CDNOW customers: our fit beside the same likelihood in plain SciPy, and beside lifetimes.

    python benchmarks/bgnbd.py [--data FOLDER] [--lifetimes PYTHON] [--repeats 5]

FOLDER holds `cdnow/transactions.parquet` (default: EBBTIDE_TEST_DATA, or shared/data beside the repository). PYTHON is
an interpreter that can import lifetimes; it pins old libraries, so give it an environment of its own:

    python -m venv lifetimes-env && lifetimes-env/bin/pip install lifetimes

Every side gets the same columns x, t_x, T in days at 1998-04-01, and the least of the repeats counts; the first fit
of each side, which may compile or warm up, does not. Peers are run in the same process order in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

from ebbtide.models.bgnbd import fit_bgnbd

Column = NDArray[np.float64]
PUBLISHED = {"r": 0.2723, "alpha": 41.584, "a": 0.463, "b": 1.9185, "log_likelihood": -225_797.478}
PREDICTED_USERS = 200_000

LIFETIMES = """
import json, sys, time, warnings
import numpy as np
from lifetimes import BetaGeoFitter
warnings.simplefilter("ignore")
x, t_x, age = np.load(sys.argv[1])
least = float("inf")
for k in range(int(sys.argv[2]) + 1):
    start = time.perf_counter()
    fitter = BetaGeoFitter(penalizer_coef=0.0).fit(x, t_x, age)
    if k:
        least = min(least, time.perf_counter() - start)
print(json.dumps({"seconds": least, "parameters": [float(fitter.params_[n]) for n in ("r", "alpha", "a", "b")]}))
"""


def main() -> None:
    asked = arguments()
    x, t_x, age = cdnow(asked.data)
    ours = timed(lambda: fit_bgnbd(x, t_x, age), asked.repeats)
    fit = ours["result"]
    print(f"{len(x):,} customers, {fit.message.en}")
    for name, value in PUBLISHED.items():
        print(f"  {name:15} {getattr(fit, name):14.4f}   published {value}")
    show("ebbtide", ours["seconds"], ours["seconds"], fit.log_likelihood)
    for method in ("L-BFGS-B", "Nelder-Mead"):
        peer = timed(lambda method=method: plain_scipy(x, t_x, age, method), asked.repeats)
        show(f"SciPy {method}", peer["seconds"], ours["seconds"], -peer["result"].fun)
    if asked.lifetimes:
        peer = lifetimes(asked.lifetimes, x, t_x, age, asked.repeats)
        likelihood = float(-textbook(np.log(peer["parameters"]), x, t_x, age))
        show("lifetimes", peer["seconds"], ours["seconds"], likelihood)
    many = [np.resize(c, PREDICTED_USERS) for c in (x, t_x, age)]
    predicted = timed(lambda: fit.expected_orders(*many, 90.0), asked.repeats)
    print(f"expected orders of {PREDICTED_USERS:,} users: {predicted['seconds']:.3f} s")


def arguments() -> argparse.Namespace:
    default = os.environ.get("EBBTIDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--lifetimes", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def cdnow(folder: Path) -> tuple[Column, ...]:
    """x, t_x, T in days at 1998-04-01; purchases of one day count once."""
    day, end = pl.col("date").cast(pl.Date), pl.date(1998, 4, 1)
    log = pl.read_parquet(folder / "cdnow" / "transactions.parquet").filter(day <= end)
    users = log.group_by("customer_id").agg(
        x=day.n_unique() - 1, t_x=(day.max() - day.min()).dt.total_days(), age=(end - day.min()).dt.total_days()
    )
    users = users.sort("customer_id")
    return tuple(users[c].to_numpy().astype(np.float64) for c in ("x", "t_x", "age"))


def timed(run: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """The least seconds of `repeats` runs after a first one, and the last result."""
    run()
    least, result = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        least = min(least, time.perf_counter() - start)
    return {"seconds": least, "result": result}


def textbook(logs: Column, x: Column, t_x: Column, age: Column) -> float:
    """Minus the log-likelihood, equation 6 of Fader, Hardie, Lee (2005), as one writes it down."""
    r, alpha, a, b = np.exp(logs)
    left = np.where(x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + t_x), -np.inf)
    terms = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    terms += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    return float(-np.sum(terms + np.logaddexp(-(r + x) * np.log(alpha + age), left)))


def plain_scipy(x: Column, t_x: Column, age: Column, method: str) -> Any:
    """The textbook likelihood in SciPy's optimiser, without gradient, from (1, mean age, 1, 1)."""
    start = np.log([1.0, age.mean(), 1.0, 1.0])
    options = {"maxiter": 4000, "maxfev": 8000} if method == "Nelder-Mead" else {"maxiter": 4000}
    return minimize(textbook, start, (x, t_x, age), method=method, options=options)


def lifetimes(python: Path, x: Column, t_x: Column, age: Column, repeats: int) -> dict[str, Any]:
    """The same fit in an interpreter that has lifetimes."""
    columns = Path(os.environ.get("TMPDIR", "/tmp")) / f"bgnbd-{os.getpid()}.npy"
    np.save(columns, np.stack([x, t_x, age]))
    try:
        command = [str(python), "-c", LIFETIMES, str(columns), str(repeats)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    finally:
        columns.unlink()


def show(name: str, seconds: float, ours: float, log_likelihood: float) -> None:
    print(f"{name:20} {seconds:8.4f} s   {seconds / ours:6.1f} times ours   log-likelihood {log_likelihood:.3f}")


if __name__ == "__main__":
    main()
