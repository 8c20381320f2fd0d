"""The page, its files, whether the service lives, and its figures for a monitor."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from crossmargin.apps.server.problems import not_found
from crossmargin.apps.server.security import Caller, read
from crossmargin.apps.server.state import state_of

router = APIRouter()
PAGE = Path(str(resources.files("crossmargin") / "apps" / "dashboard"))
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".toml": "application/toml",
    ".csv": "text/csv; charset=utf-8",
}
"""What a file of the page is told to be, and no others are served."""


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """The dashboard."""
    return _file("index.html")


@router.get("/static/plotly.min.js", include_in_schema=False)
async def plotly() -> Response:
    """The charting library, from its installed package."""
    path = Path(str(resources.files("plotly"))) / "package_data" / "plotly.min.js"
    return FileResponse(path, media_type=_KINDS[".js"], headers={"Cache-Control": "public, max-age=86400"})


@router.get("/static/{path:path}", include_in_schema=False)
async def static(path: str) -> Response:
    """A file of the dashboard."""
    return _file(path)


def _file(name: str) -> Response:
    try:
        path = (PAGE / name).resolve()
        there = path.is_relative_to(PAGE.resolve()) and path.suffix in _KINDS and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise not_found("file", name[:100])
    return FileResponse(path, media_type=_KINDS[path.suffix], headers={"Cache-Control": "no-cache"})


@router.get("/health", summary="Whether the service lives and its store can be read.")
async def health(request: Request) -> dict[str, Any]:
    """Asked by anybody; says nothing of any account."""
    store = state_of(request).store

    def work() -> str:
        with store.reading("") as tx:
            store.answered(tx, "", "")
        return "ok"

    return {"status": "ok", "version": request.app.version, "store": await state_of(request).work.run(work)}


@router.get("/metrics", summary="Counts and times, as Prometheus reads them.", response_class=Response)
async def metrics(request: Request, _caller: Annotated[Caller, Depends(read)]) -> Response:
    """Requests by route and status, their times, work that waits, and listeners."""
    return Response(*state_of(request).meter.text())
