"""What can go wrong with the cache, by what the caller can do about it.

CacheUnreachableError        carry on without the cache; a writer records what it could not delete
└── CacheRefusedError        the same, but the server answered: look at it (read-only, out of memory, a wrong type)
"""


class CacheUnreachableError(Exception):
    """Redis did not answer, or has not lately so that it was not asked."""


class CacheRefusedError(CacheUnreachableError):
    """Redis answered with an error."""
