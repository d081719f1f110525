"""Count the queries that something costs, on every database."""

from typing import Self

from django.db import connections
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY


class Counted:
    """counts: {alias: statements}; beginnings and ends of transactions are none (BEGIN travels with the first)."""

    def __enter__(self) -> Self:
        self._contexts = {alias: CaptureQueriesContext(connections[alias]) for alias in connections}
        for context in self._contexts.values():
            context.__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        for context in self._contexts.values():
            context.__exit__(None, None, None)
        self.queries = {
            alias: [query["sql"] for query in context.captured_queries if query["sql"] not in ("BEGIN", "COMMIT")]
            for alias, context in self._contexts.items()
        }
        self.counts = {alias: len(queries) for alias, queries in self.queries.items()}


def executed() -> dict[str, int]:
    """Return {alias: statements so far} on the department databases, those of a fan-out's threads included."""
    return {
        str(sample.labels["alias"]): int(sample.value)
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "django_db_execute_total" and sample.labels["alias"].startswith("dept_")
    }
