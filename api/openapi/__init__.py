"""The OpenAPI 3.1 document, generated from the routes and their types, and served by two routes."""

from perdure.api.openapi.document import document
from perdure.api.openapi.routes import routes

__all__ = ["document", "routes"]
