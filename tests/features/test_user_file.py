"""A shop's own features from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import InputError
from ebbtide.features.catalogue import Catalogue, default_catalogue
from ebbtide.features.user_file import load_user_features

GOOD = """
from ebbtide.features.declarations import Count, Ratio, Share, Sum

DAYS = 45
FEATURES = [
    Count("wishlist_add", days=DAYS),
    Share("order.weekend", "order", days=90),
    Ratio(Sum("value", "order"), Count("session_start"), days=30),
]
"""


@pytest.fixture
def write(tmp_path: Path) -> object:
    """Write a feature file."""

    def make(text: str) -> Path:
        path = tmp_path / "features.py"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_declarations_of_a_file_extend_the_catalogue(write: object) -> None:
    """They are data like the shipped ones: named, worded, saved in JSON without the file."""
    own = load_user_features(write(GOOD))  # type: ignore[operator]
    catalogue = default_catalogue(ChurnDefinition(), 200).extended(own)
    assert catalogue.names[-3:] == (
        "wishlist_add_count_45d", "order_weekend_share_of_order_90d", "order_value_sum_per_session_start_count_30d",
    )  # fmt: skip
    assert catalogue.features[-1].description.en == "total value of orders for each of the sessions in the last 30 days"
    assert Catalogue.from_json(catalogue.to_json()) == catalogue


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no list FEATURES"),
        ("FEATURES = []", "no list FEATURES"),
        ("FEATURES = 'Count'", "no list FEATURES"),
        ("FEATURES = [1]", "entry 1 of FEATURES is no declaration; the kinds are ActiveBlocks"),
        (
            "from ebbtide.features.declarations import Count\nFEATURES = [Count]",
            "entry 1 of FEATURES is no declaration",
        ),
        ("FEATURES = [Count('order')]", "cannot be run: NameError: name 'Count' is not defined"),
        ("FEATURES = [", "cannot be run: SyntaxError"),
        ("import nowhere_to_be_found", "cannot be run: ModuleNotFoundError"),
        ("from ebbtide.features.declarations import Count\nFEATURES = [Count('ordr', 3)]", "`ordr` selects no events"),
        ("from ebbtide.features.declarations import Count\nFEATURES = [Count('order', dayz=3)]", "TypeError"),
    ],
)
def test_a_bad_file_says_what_is_wrong(text: str, message: str, write: object) -> None:
    """The message names the file and the next step."""
    with pytest.raises(InputError, match=r"features\.py") as caught:
        load_user_features(write(text))  # type: ignore[operator]
    assert message in str(caught.value)
    assert "features.py" in caught.value.text.zh


def test_a_missing_file_says_where_to_look(tmp_path: Path) -> None:
    """The setting that names it."""
    with pytest.raises(InputError, match=r"`own.py` does not exist: check features.file"):
        load_user_features(tmp_path / "own.py")
