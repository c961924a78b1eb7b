"""The page at /docs: the OpenAPI document to be read, without a script or a style from any other host."""

from __future__ import annotations

import html
import json
from typing import Any

from fastapi.responses import HTMLResponse

STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{overflow:auto;" \
        "background:#8882;padding:.7rem;border-radius:.4rem}summary{cursor:pointer}code{font-weight:600}"  # fmt: skip


def page(document: dict[str, Any]) -> HTMLResponse:
    """Each operation, and below it what each run can be asked there."""
    parts = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {})
            forms = [one for kind in body.values() for one in kind["schema"].get("oneOf", ())]
            inside = "".join(
                f"<details><summary>{html.escape(one['title'])}</summary><pre>"
                f"{html.escape(json.dumps(one['properties'], indent=1, ensure_ascii=False))}</pre></details>"
                for one in forms
            )
            parts.append(f"<h3><code>{method.upper()} {html.escape(path)}</code></h3>"
                         f"<p>{html.escape(operation.get('summary', ''))}</p>{inside}")  # fmt: skip
    words = html.escape(document["info"]["description"])
    return HTMLResponse(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>Maquette</title><style>{STYLE}</style><h1>Maquette</h1><p>{words} <a href='openapi.json'>"
        f"openapi.json</a></p>{''.join(parts)}</html>"
    )
