"""The one error of this package."""


class EmbeddedServersError(RuntimeError):
    """The embedded servers cannot be had; the message says why and what to do."""
