"""A shop's own features: a Python file that ends in a list FEATURES of declarations.

    from ebbtide.features.declarations import Count, Share

    FEATURES = [Count("wishlist_add", days=7), Share("order.weekend", "order", days=90)]

The declarations, not the file, are what a bundle keeps.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from ebbtide.core.errors import EbbtideError, InputError
from ebbtide.features.declarations import KINDS
from ebbtide.features.feature import Feature


def load_user_features(path: Path) -> tuple[Feature, ...]:
    """The features declared in a file. It is run, so it must be the shop's own.

    Raises InputError if the file is missing, fails, has no list FEATURES, or the list holds anything but declarations.
    """
    if not path.is_file():
        raise InputError(
            "the feature file `{name}` does not exist: check features.file in ebbtide.toml",
            "特征文件 `{name}` 不存在：请检查 ebbtide.toml 中的 features.file",
            name=path.name,
        )
    try:
        found = runpy.run_path(str(path)).get("FEATURES")
    except EbbtideError as fault:
        raise InputError(f"`{path.name}`: {fault.text.en}", f"`{path.name}`：{fault.text.zh}") from None
    except (SyntaxError, NameError, ImportError, TypeError, ValueError, AttributeError, LookupError) as fault:
        raise InputError(
            "the feature file `{name}` cannot be run: {kind}: {fault}",
            "特征文件 `{name}` 无法运行：{kind}：{fault}",
            name=path.name,
            kind=type(fault).__name__,
            fault=fault,
        ) from None
    if not isinstance(found, list | tuple) or not found:
        raise InputError(
            'the feature file `{name}` has no list FEATURES: end it with `FEATURES = [Count("order", days=45)]`',
            '特征文件 `{name}` 没有列表 FEATURES：请以 `FEATURES = [Count("order", days=45)]` 结尾',
            name=path.name,
        )
    wrong = [i for i, f in enumerate(found) if type(f) not in KINDS.values()]
    if wrong:
        raise InputError(
            "the feature file `{name}`: entry {number} of FEATURES is no declaration; the kinds are {kinds}",
            "特征文件 `{name}`：FEATURES 的第 {number} 项不是特征声明；可用种类：{kinds}",
            name=path.name,
            number=wrong[0] + 1,
            kinds=", ".join(KINDS),
        )
    return tuple(found)
