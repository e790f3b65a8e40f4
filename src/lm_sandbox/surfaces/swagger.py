"""The Swagger page at /docs, with its scripts from this server: a machine may not reach others."""

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

ASSETS = "/docs/assets"
# The package whose files are served; it carries the Swagger UI as its makers publish it.
PACKAGE = ("fastapi_swagger", "resources")


def add_swagger(app: FastAPI) -> None:
    """Puts the page of an app's own routes at /docs."""
    app.mount(ASSETS, StaticFiles(packages=[PACKAGE]))

    @app.get("/docs", include_in_schema=False)
    async def swagger() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=app.title,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
            swagger_ui_parameters={"displayRequestDuration": True, "filter": True},
        )
