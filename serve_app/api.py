"""The ASGI application: middleware, error handlers and routers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from serve_app.body_limit import BodyLimit
from serve_app.errors import add_error_handlers
from serve_app.middleware import RequestLog
from serve_app.open_routes import open_routes
from serve_app.openai_routes import openai_routes
from serve_app.page_routes import page_routes
from serve_app.sdapi import sdapi_routes

if TYPE_CHECKING:
    from serve_app.ingress import Ingress


def create_api(ingress: Ingress) -> FastAPI:
    """The ASGI application around one ingress replica."""
    # Its page at /docs brings its script along. FastAPI's own would run another host's beside the page's API key.
    api = FastAPIOffline(
        title="Images", summary="OpenAI's Images API on Stable Diffusion XL", version="1", redoc_url=None
    )
    config = ingress.config
    add_error_handlers(api)
    api.add_middleware(BodyLimit, limits=config.limits)
    api.add_middleware(RequestLog, metrics=ingress.metrics)
    # Outermost, so that a page of another origin can read the errors of the layers inside.
    if config.access.cors_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=config.access.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "x-should-retry", "Retry-After", "Idempotent-Replayed"],
        )
    api.include_router(openai_routes(ingress))
    api.include_router(sdapi_routes(ingress))
    api.include_router(open_routes(ingress))
    api.include_router(page_routes())
    return api
