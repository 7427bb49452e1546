"""Evidence put into sentences: direction, value, and what is usual for this user or the cohort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.language import Language, Text
from ebbtide.explain.amounts import say
from ebbtide.explain.phrase import Phrase

RAISES, LOWERS = Text("raises: ", "推高风险："), Text("lowers: ", "降低风险：")
_OWN = Text(" (usually {usual} for this customer)", "（该顾客通常{usual}）")
_COHORT = Text(" (typical customer: {usual})", "（一般顾客{usual}）")
_FIRST_HAN = "\u4e00"
"""Chinese typesetting: a space stands between a Chinese character and a figure, not between two characters."""

Floats = NDArray[np.float64]


def sentences(
    phrases: Sequence[Phrase],
    column: NDArray[np.int64],
    value: Floats,
    usual: Floats,
    is_own: NDArray[np.bool_],
    raises: NDArray[np.bool_],
    language: Language,
    currency: str = "",
) -> NDArray[np.object_]:
    """One sentence an entry, (M,). Entry i speaks of `phrases[column[i]]`.

    `usual` is left out where it is NaN, or reads the same as the value. Equal evidence is worded once.
    """
    said: dict[tuple[int, float | None, float | None, bool, bool], str] = {}
    texts = np.empty(len(column), object)
    facts = zip(column.tolist(), value.tolist(), usual.tolist(), is_own.tolist(), raises.tolist(), strict=True)
    for i, (c, v, u, own, up) in enumerate(facts):
        key = (c, None if v != v else v, None if u != u else u, own, up)
        text = said.get(key)
        if text is None:
            text = said[key] = sentence(phrases[c], v, u, is_own=own, raises=up, language=language, currency=currency)
        texts[i] = text
    return texts


def sentence(
    phrase: Phrase, value: float, usual: float, *, is_own: bool, raises: bool, language: Language, currency: str = ""
) -> str:
    """One piece of evidence in words.

    >>> from ebbtide.features.declarations import Recency
    >>> from ebbtide.explain.phrases import phrase_of
    >>> sentence(phrase_of(Recency("order")), 47.0, 21.0, is_own=True, raises=True, language="en")
    'raises: 47 days since the last order (usually 21 days for this customer)'
    """
    opening = (RAISES if raises else LOWERS)[language]
    if value != value:
        return opening + phrase.unknown[language]
    amount = say(value, phrase.unit, language, currency=currency)
    text = opening + phrase.about(value)[language].format(value=amount)
    if usual != usual or not phrase.has_usual:
        return text
    typical = say(usual, phrase.unit, language, currency=currency)
    if typical == amount:
        return text
    spaced = f" {typical}" if language == "zh" and typical[0] < _FIRST_HAN else typical
    return text + (_OWN if is_own else _COHORT)[language].format(usual=spaced)
