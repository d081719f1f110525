"""Which homes there are, and how their databases are called. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from scrm.sharding import ids
from scrm.sharding.errors import InvalidCustomerIdError, UnknownHomeError

PREFIX = "dept_"


@dataclass(frozen=True)
class ShardMap:
    """The homes that this process knows, in ascending order.

    >>> ShardMap.of([101, 100]).alias(100)
    'dept_100'
    >>> ShardMap.of([100]).alias_of_customer(1010000000001)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    scrm.sharding.errors.UnknownHomeError: No department database is configured for home 101: add it to ...
    """

    homes: tuple[int, ...]

    @classmethod
    def of(cls, homes: Iterable[int]) -> "ShardMap":
        """Return the map of these homes. Raises InvalidCustomerIdError for a number that cannot be a home."""
        ordered = tuple(sorted(set(homes)))
        for home in ordered:
            if not 1 <= home <= ids.MAX_HOME:
                raise InvalidCustomerIdError(f"A home is a number from 1 to {ids.MAX_HOME}, not {home}.")
        return cls(ordered)

    @classmethod
    def of_aliases(cls, aliases: Iterable[str]) -> "ShardMap":
        """Return the map of the department databases among these database aliases.

        >>> ShardMap.of_aliases(["default", "dept_100"]).homes
        (100,)
        """
        numbers = [alias.removeprefix(PREFIX) for alias in aliases if alias.startswith(PREFIX)]
        for number in numbers:
            if not (number.isascii() and number.isdigit()) or number.startswith("0"):
                raise InvalidCustomerIdError(f"The database alias {PREFIX}{number} does not end in a home's number.")
        return cls.of(map(int, numbers))

    def __contains__(self, home: object) -> bool:
        return home in self.homes

    def alias(self, home: int) -> str:
        """Return the database alias of a home. Raises UnknownHomeError."""
        if home not in self.homes:
            raise UnknownHomeError(home)
        return f"{PREFIX}{home}"

    def alias_of_customer(self, customer_id: int) -> str:
        """Return the database alias that holds a customer. Raises InvalidCustomerIdError, UnknownHomeError."""
        return self.alias(ids.home_of(customer_id))

    def home_of_alias(self, alias: str) -> int | None:
        """Return the home of a database alias, or None when it is not a department's."""
        return next((home for home in self.homes if f"{PREFIX}{home}" == alias), None)
