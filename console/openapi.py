"""The OpenAPI document of the API: what each operation takes and answers, with an example of every body.

Rules kept here:

* Each operation names every status that can come, its own and those of the gate before it (token, limit, database).
* Each body in and out has an example; a test validates them all against their schemas.
* An operation's `security` names the scopes that may use it. (OpenAPI 3.1 lets a bearer scheme name roles so.)
* Nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from console.schemas import (
    CASE_EXAMPLE,
    CaseAnswer,
    CaseIn,
    CaseOut,
    CasePatchIn,
    CentreStatusIn,
    CentreStatusOut,
    ErrorKind,
    ErrorOut,
    EvaluationsPage,
    StatisticsOut,
)
from console.tokens import Scope

__all__ = ["REFUSED", "UNREAD", "body_of", "document_of", "operation", "ref", "responses"]

_SHOWN: tuple[type[BaseModel], ...] = (
    *(CaseIn, CasePatchIn, CaseAnswer, CaseOut, EvaluationsPage, StatisticsOut),
    *(CentreStatusIn, CentreStatusOut, ErrorOut),
)
_GATE = (401, 403, 429, 503)
UNREAD = (400, 408, 413)
"""What can come of a body before it is looked at."""
REFUSED = (404, 409, 422)
"""What the desk answers of a case in the words of a case's answer."""
_JSON = "application/json"
_MEANS = {
    400: "The body is no JSON text in UTF-8",
    401: "No token, or one that is not known",
    403: "The token's scope may not do this",
    404: "Not known, or not to be seen by this token",
    408: "The body did not come in time",
    409: "Known with another content, or what cannot be changed any more; fields says which",
    410: "The database was restored to a time before this cursor: begin again without one",
    413: "The body is too large",
    422: "A field or filter cannot be taken; fields says which, and why",
    429: "Too many requests of this token in a minute",
    503: "The database does not answer; ask again, which changes nothing where it was written",
}
_SECONDS = {"schema": {"type": "string", "pattern": "^[0-9]+$"}, "description": "Seconds.", "required": True}
_CHALLENGE = {"schema": {"type": "string"}, "description": "RFC 6750.", "required": True}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _CHALLENGE},
    403: {"WWW-Authenticate": _CHALLENGE},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}
_FIELDS: dict[int, list[dict[str, str]]] = {
    409: [{"field": "agent", "message": "differs from what is known"}],
    422: [{"field": "phone", "message": "is no telephone number"}],
}
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "A token of `huiyin token add`; an operation's security names the scopes that may use it."
        " intake: posts, changes, withdraws and reads its own cases; read: the GETs, perhaps of some departments or"
        " areas only; centre: the centre's word. 600 requests a minute."
    ),
}


def ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def body_of(schema: Mapping[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body; `examples`: by what they show."""
    content = {"schema": dict(schema), "examples": {name: {"value": value} for name, value in examples.items()}}
    return {"required": True, "content": {_JSON: content}}


def operation(*scopes: Scope, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What FastAPI cannot know of an operation: who may use it, and the body that the handler reads itself."""
    extra: dict[str, Any] = {"security": [{"token": [scope.value]} for scope in scopes]}
    if body is not None:
        extra["requestBody"] = dict(body)
    return extra


def _error_example(status: int) -> dict[str, Any]:
    return {
        "status": status,
        "error": ErrorKind.of(status).value,
        "message": _MEANS[status],
        "fields": _FIELDS.get(status, []),
    }


def _case_example(status: int) -> dict[str, Any]:
    refused = {"invitation": "none", "reason": None, "deadline": None, "provisional": False}
    return {**_error_example(status), "case_no": CASE_EXAMPLE["case_no"], "service_number": None, **refused}


def _response(description: str, schema: Mapping[str, Any], examples: Sequence[Any], status: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": description,
        "content": {
            _JSON: {
                "schema": dict(schema),
                "examples": {f"{place}": {"value": value} for place, value in enumerate(examples, 1)},
            }
        },
    }
    if status in _HEADERS:
        told["headers"] = _HEADERS[status]
    return told


def responses(
    good: Mapping[int, tuple[str, Mapping[str, Any], Any]], *errors: int, of_case: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The answers of an operation.

    Args:
        good: status → what it means, its schema, an example.
        errors: further statuses; those of the gate are always among them.
        of_case: a refused case is answered like one that is taken, with the fields that are wrong.
    """
    found: dict[int | str, dict[str, Any]] = {
        status: _response(sentence, schema, [example], status) for status, (sentence, schema, example) in good.items()
    }
    for status in sorted({*errors, *_GATE}):
        schema: dict[str, Any] = dict(ref(ErrorOut))
        examples = [_error_example(status)]
        if of_case and status in REFUSED:
            schema = {"anyOf": [ref(CaseAnswer), ref(ErrorOut)]}
            examples.append(_case_example(status))
        found[status] = _response(_MEANS[status], schema, examples, status)
    return found


def _put_bodies(item: dict[str, Any], route: APIRoute) -> None:
    """The bodies as they were written here: FastAPI leaves out what is null in their examples."""
    for method in route.methods or ():
        described = item[method.lower()]
        for status, told in route.responses.items():
            described["responses"][str(status)] = dict(told)
        if route.openapi_extra and "requestBody" in route.openapi_extra:
            described["requestBody"] = route.openapi_extra["requestBody"]


def document_of(app: FastAPI, prefix: str) -> dict[str, Any]:
    """The document, with the paths as a client writes them. Made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="Huiyin 回音",
            version="1",
            description="Closed cases of a 12345 hotline come in, evaluations go out. Times are RFC 3339.",
            routes=app.routes,
        )
        for route in app.routes:
            if isinstance(route, APIRoute):
                _put_bodies(document["paths"][route.path_format], route)
        document["paths"] = {f"{prefix}{path}": item for path, item in document["paths"].items()}
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for model in _SHOWN:
            schema: dict[str, Any] = model.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, inner in schema.pop("$defs", {}).items():
                schemas.setdefault(name, inner)
            schemas.setdefault(model.__name__, schema)
        components["securitySchemes"] = {"token": _SCHEME}
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema
