"""An empty FastAPI route under the server settings of `ebbtide serve`: the other side of `serve_risk.py`."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Response

app = FastAPI(docs_url=None, redoc_url=None)


@app.get("/empty/{user_id}")
async def empty(user_id: str) -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


@app.get("/healthz")
async def healthz() -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)
