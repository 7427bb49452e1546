"""LightGBM's model text, read into plain arrays: the splits, leaves and training counts of every tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError

ZERO_WIDTH = np.float64(np.float32(1e-35))
"""LightGBM reads every value within this distance of zero as zero (`kZeroThreshold`)."""

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_NONE, _MISSING_IS_ZERO = 0, 1


@dataclass(frozen=True)
class Tree:
    """One regression tree of S splits and S + 1 leaves. A parent's index is below those of its children.

    feature, left, right (S,): `left` is taken where `value <= threshold`; a child >= 0 is a split, else leaf `~child`.
    nan_left (S,): unknown values go left. zero_flips (S,): zero goes to the other side than the threshold says.
    value, count (S + 1,): output and number of training rows of each leaf.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    nan_left: NDArray[np.bool_]
    zero_flips: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    count: NDArray[np.float64]


def read_trees(text: str) -> tuple[list[Tree], int]:
    """The trees of `Booster.model_to_string()` in their order, and the number of features the booster expects.

    A random forest averages its trees: their outputs are divided by their number here, so that they add up like others.
    Raises InputError if the text is no LightGBM model, or one with categorical or linear splits or several classes.
    """
    header, *blocks = text.split("\nTree=")
    fields = dict(_fields(header))
    if "max_feature_idx" not in fields or not blocks:
        raise _refuse("it is no LightGBM model text with trees", "它不是含有树的 LightGBM 模型文本")
    if fields.get("num_tree_per_iteration", "1") != "1":
        raise _refuse("it predicts several classes", "它预测多个类别")
    share = 1.0 / len(blocks) if "\naverage_output" in header else 1.0
    trees = [_tree(dict(_fields(block))) for block in blocks]
    return [replace(t, value=t.value * share) for t in trees], int(fields["max_feature_idx"]) + 1


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        if line == "end of trees":
            return
        name, sign, value = line.partition("=")
        if sign:
            yield name, value


def _tree(fields: dict[str, str]) -> Tree:
    if fields.get("num_cat", "0") != "0":
        raise _refuse("it has categorical splits; train on numbers only", "它含有类别分裂；请只用数值特征训练")
    if fields.get("is_linear", "0") != "0":
        raise _refuse("it has linear models in its leaves", "它的叶子中含有线性模型")
    leaves = int(fields["num_leaves"])
    value = _numbers(fields, "leaf_value", leaves)
    if leaves == 1:
        none = np.zeros(0, np.int32)
        empty = none.astype(bool)
        return Tree(none, none.astype(np.float64), empty, empty, none, none, value, np.ones(1))
    threshold = _numbers(fields, "threshold", leaves - 1)
    decision = _numbers(fields, "decision_type", leaves - 1).astype(np.int32)
    if (decision & _CATEGORICAL).any():
        raise _refuse("it has categorical splits; train on numbers only", "它含有类别分裂；请只用数值特征训练")
    missing, default_left = decision >> 2 & 3, (decision & _DEFAULT_LEFT) > 0
    left, right = (_numbers(fields, f"{side}_child", leaves - 1).astype(np.int32) for side in ("left", "right"))
    if not _is_ordered(left, right):
        raise _refuse("its splits are not in growing order", "它的分裂不是按生长顺序排列")
    zero_left = threshold >= 0
    return Tree(
        feature=_numbers(fields, "split_feature", leaves - 1).astype(np.int32),
        threshold=threshold,
        # Where unknown is no case of its own, LightGBM reads it as zero.
        nan_left=np.where(missing == _MISSING_NONE, zero_left, default_left),
        zero_flips=(missing == _MISSING_IS_ZERO) & (zero_left != default_left),
        left=left,
        right=right,
        value=value,
        count=_numbers(fields, "leaf_count", leaves),
    )


def _is_ordered(left: NDArray[np.int32], right: NDArray[np.int32]) -> bool:
    children = np.concatenate([left, right])
    parents = np.tile(np.arange(len(left)), 2)
    return bool((children[children >= 0] > parents[children >= 0]).all())


def _numbers(fields: dict[str, str], name: str, length: int) -> NDArray[np.float64]:
    values = np.array(fields.get(name, "").split(), np.float64)
    if len(values) != length:
        raise _refuse(f"`{name}` of a tree is incomplete", f"某棵树的 `{name}` 不完整")
    return values


def _refuse(en: str, zh: str) -> InputError:
    return InputError(f"this tree model cannot be used: {en}", f"无法使用此树模型：{zh}")
