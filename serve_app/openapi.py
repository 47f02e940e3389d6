"""What /docs says of requests; the routes read the bodies themselves."""

from __future__ import annotations

from typing import Any

from serve_app.schemas import WireModel


def request_bodies(
    json: type[WireModel] | None = None, form: type[WireModel] | None = None, files: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes `json`, or `form` with `files`, of which the first is required."""
    content: dict[str, Any] = {}
    if json is not None:
        content["application/json"] = {"schema": json.model_json_schema()}
    if form is not None:
        schema = form.model_json_schema()
        schema["properties"] = {name: {"type": "string", "format": "binary"} for name in files} | schema["properties"]
        schema["required"] = [files[0], *schema.get("required", [])]
        content["multipart/form-data"] = {"schema": schema}
    return {"requestBody": {"required": True, "content": content}}
