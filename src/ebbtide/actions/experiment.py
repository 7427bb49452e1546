"""Who gets an action and who is left alone, by chance that can be repeated: keyed hashes instead of dice.

A user's bucket in a layer is a keyed hash of the resolved user id. It does not depend on who else takes part, on order,
or on when the user joins; nobody can guess it without the workspace's secret; two layers are independent. Campaigns
that share a layer share its buckets, so a user is control in all of them or in none.
"""

from __future__ import annotations

import hmac
import os
import secrets
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

BUCKETS = 10_000
HOLDOUT_LAYER = "holdout"
"""The layer of the global holdout; a layer that is named by a user stands behind `campaign/`."""
TREATMENT, CONTROL = "treatment", "control"
_SECRET_BYTES = 32


def workspace_secret(home: Path) -> bytes:
    """The secret of the workspace's draws, made at first use and readable by its owner only.

    Whoever loses it loses who was control: it is kept beside the campaigns and copied with them.
    """
    file = home / "assignment.secret"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        aside = home / f".assignment.secret-{os.getpid()}"
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(secrets.token_bytes(_SECRET_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(aside, file)  # the first of two processes wins
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return file.read_bytes()


def resolve_users(user_ids: pl.Series) -> pl.Series:
    """The identity that is drawn: the lake's own user id, however a list spells it (blanks around it, composition).

    >>> resolve_users(pl.Series(["a ", "a"])).n_unique()
    1
    """
    return pl.Series(
        user_ids.name, [None if u is None else unicodedata.normalize("NFC", u).strip() for u in user_ids], pl.String
    )


def buckets_in(layer: str, user_ids: pl.Series, secret: bytes) -> NDArray[np.int64]:
    """The bucket of each user in a layer, (N,) in [0, 10,000): HMAC-SHA256 under the layer's own salt.

    >>> users = pl.Series(["u1", "u2", "u3"])
    >>> both = buckets_in("a", users, b"secret"), buckets_in("a", users.reverse(), b"secret")[::-1]
    >>> (both[0] == both[1]).all().item()
    True
    """
    salt = hmac.digest(secret, f"layer\x1f{layer}".encode(), "sha256")
    spans = (hmac.digest(salt, str(user).encode(), "sha256")[:8] for user in user_ids)
    return np.fromiter((int.from_bytes(s, "big") % BUCKETS for s in spans), np.int64, len(user_ids))


def is_held_out(user_ids: pl.Series, share: float, secret: bytes) -> NDArray[np.bool_]:
    """Who belongs to the global holdout, (N,): the lowest buckets of its layer. A larger share keeps all of a smaller."""
    return buckets_in(HOLDOUT_LAYER, user_ids, secret) < buckets_of_share(share)


def draw_arms(user_ids: pl.Series, control: float, layer: str, secret: bytes) -> pl.DataFrame:
    """Draw each user into control (the lowest buckets) or treatment.

    Out: user_id, bucket, arm, and `chance`: the probability with which this user came into this arm.
    """
    bucket = buckets_in(f"campaign/{layer}", user_ids, secret)
    lowest = buckets_of_share(control)
    kept = bucket < lowest
    return pl.DataFrame(
        {
            "user_id": user_ids,
            "bucket": bucket,
            "arm": pl.Series(np.where(kept, CONTROL, TREATMENT), dtype=pl.String),
            "chance": np.where(kept, lowest, BUCKETS - lowest) / BUCKETS,
        }
    )


def buckets_of_share(share: float) -> int:
    """A share in whole buckets: at least one if it is above 0, never all if it is below 1.

    >>> buckets_of_share(0.2), buckets_of_share(0.00001), buckets_of_share(0.0), buckets_of_share(0.99999)
    (2000, 1, 0, 9999)
    """
    if share <= 0:
        return 0
    return BUCKETS if share >= 1 else min(max(round(share * BUCKETS), 1), BUCKETS - 1)
