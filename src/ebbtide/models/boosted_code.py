"""Boosted trees that also read the code of a variational autoencoder (`vae.py`), and how unlike others a user is."""

from __future__ import annotations

from typing import ClassVar

from ebbtide.models.lightgbm import LightGbmModel


class BoostedCodeModel(LightGbmModel):
    """`vae`: the trees of `lightgbm` on more columns."""

    name: ClassVar[str] = "vae"
