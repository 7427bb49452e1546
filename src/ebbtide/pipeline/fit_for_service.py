"""Whether a bundle can serve a shop: what its features ask for must be in the shop's lake.

A bundle brought from elsewhere, or trained before a source was taken away, would score from columns that are never filled:
its probabilities would look right and mean nothing. So it is refused, with the names of what is missing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ebbtide.core.errors import MissingBundleError
from ebbtide.core.windows import from_us
from ebbtide.events.capabilities import capabilities_of, observed_facts
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.models.bundle import Bundle

_EVER = from_us(2**53)  # later than any event, so that whatever arrived counts


def needed_capabilities(bundle: Bundle) -> frozenset[str]:
    """What the features of a bundle ask of a log."""
    return frozenset(name for feature in bundle.catalogue.features for name in feature.requires)


def missing_capabilities(bundle: Bundle, lake: Lake) -> frozenset[str]:
    """What the features ask for and no event of the lake has; buckets are read file by file until everything is found.

    Nothing is missing from an empty lake: nobody is scored from it either.
    """
    needed, facts = needed_capabilities(bundle), Counter[str]()
    missing: frozenset[str] = frozenset()
    for file in (file for bucket in lake.buckets() for file in lake.files(bucket)):
        facts += observed_facts(lake.read_files([file]), _EVER)
        missing = needed - capabilities_of(facts)
        if not missing:
            break
    return missing


def check_fits(bundle: Bundle, root: Path) -> None:
    """Raise MissingBundleError if the lake of the workspace at `root` cannot fill a bundle; no lake is no reason."""
    if not (lake_folder(root) / "events" / "_delta_log").exists():
        return
    missing = missing_capabilities(bundle, Lake.open(lake_folder(root)))
    if missing:
        raise MissingBundleError(
            "the bundle {name} needs events with {missing}, and this shop's lake has none: ingest them, train on this "
            "shop, or promote another bundle",
            "模型包 {name} 需要具备 {missing} 的事件，而本店数据湖中没有：请导入这些事件、在本店训练，或启用其他模型包",
            name=bundle.id,
            missing=", ".join(sorted(missing)),
        )
