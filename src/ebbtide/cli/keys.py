"""`ebbtide keys ...`: make, list and revoke the API keys of the live service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.opened_store import opened_store
from ebbtide.cli.wiring import Edge, edge_of
from ebbtide.core.language import Text
from ebbtide.core.windows import parse_duration, to_us

if TYPE_CHECKING:
    from ebbtide.store.keys import Keys

app = make_app(Text("make, list and revoke the keys of the live service", "创建、列出和吊销实时服务的密钥"))


@app.command(cls=Command, help=both("make a key and show it once", "创建密钥并仅显示一次"))
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Option(metavar="NAME", help=both("whose key it is", "密钥归属"))],
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE",
            help=both(
                "what it may do: events:write, risk:read, alerts:read, alerts:write, alerts:*, campaigns:*, admin; may be repeated",
                "权限范围：events:write、risk:read、alerts:read、alerts:write、alerts:*、campaigns:*、admin；可重复",
            ),
        ),
    ],
    days: Annotated[
        str,
        typer.Option(
            "--expires", metavar="DURATION", help=both("ends after so long, for example 90d", "多久后到期，例如 90d")
        ),
    ] = "",
) -> None:
    with edge_of(ctx) as edge, _keys(edge) as (keys, shop_id):
        from ebbtide.pipeline.key_list import MadeKey  # noqa: PLC0415 - needs the extra
        from ebbtide.pipeline.live_shop import system_clock  # noqa: PLC0415

        now = system_clock()
        ends = to_us(now + parse_duration(days)) if days else None
        edge.show(MadeKey(keys.create(shop_id, name, scope, now_us=to_us(now), expires_us=ends)))


@app.command(
    "list", cls=Command, help=both("all keys of the shop, without their secrets", "列出店铺全部密钥（不含密文）")
)
def list_(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge, _keys(edge) as (keys, shop_id):
        _show(edge, keys, shop_id)


@app.command(cls=Command, help=both("end a key now", "立即吊销密钥"))
def revoke(
    ctx: typer.Context,
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help=both("its id, from `keys list`", "密钥 id，见 `keys list`"))
    ],
) -> None:
    with edge_of(ctx) as edge, _keys(edge) as (keys, shop_id):
        from ebbtide.pipeline.live_shop import system_clock  # noqa: PLC0415

        keys.revoke(shop_id, key_id, now_us=to_us(system_clock()))
        _show(edge, keys, shop_id)


def _show(edge: Edge, keys: Keys, shop_id: str) -> None:
    from ebbtide.pipeline.key_list import KeyList  # noqa: PLC0415
    from ebbtide.pipeline.live_shop import system_clock  # noqa: PLC0415

    edge.show(KeyList(tuple(keys.listed(shop_id)), system_clock()))


@contextmanager
def _keys(edge: Edge) -> Iterator[tuple[Keys, str]]:
    """The keys of the workspace's shop; the store is made if it is not there yet."""
    with opened_store(edge) as (database, shop_id):
        from ebbtide.store.keys import Keys  # noqa: PLC0415 - needs the extra

        yield Keys(database), shop_id
