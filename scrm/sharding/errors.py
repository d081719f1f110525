"""What can go wrong between a query and its database.

ShardingError
├── InvalidCustomerIdError    (also ValueError) not an id that we could have given: bad input, do not retry
├── HomeError                 this process cannot reach a home now; `home` says which
│   ├── UnknownHomeError      an id or a request names a home that this process does not know: configuration
│   └── HomeUnavailableError  the department database cannot be reached: retry later
├── UnroutableError           a query on a sharded table without using(…): our bug
└── WriteOutsideAtomicError   a write to a sharded table outside sharding.atomic: our bug
"""


class ShardingError(Exception):
    """Base of the tree above."""


class InvalidCustomerIdError(ShardingError, ValueError):
    """A value that is no customer_id. Nothing was asked of any database."""


class HomeStateError(ShardingError):
    """A home that cannot be opened or closed; the message says why."""


class HomeError(ShardingError):
    """A home that this process cannot reach: what is kept there is out of reach, all else is not."""

    home: int


class UnknownHomeError(HomeError):
    """A home that this process has no department database for."""

    def __init__(self, home: int) -> None:
        super().__init__(
            f"No department database is configured for home {home}: "
            "add it to DEPARTMENT_DATABASES and restart this process."
        )
        self.home = home


class HomeUnavailableError(HomeError):
    """The department database of a home cannot be reached now; what it holds is not lost."""

    def __init__(self, home: int) -> None:
        super().__init__(f"The department database dept_{home} cannot be reached.")
        self.home = home


class UnroutableError(ShardingError):
    """A query on a sharded table that names no department database."""


class WriteOutsideAtomicError(ShardingError):
    """A write to a sharded table outside sharding.atomic()."""
