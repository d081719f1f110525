"""The layout of a customer_id: an address that says where its rows live.

    customer_id = home × 10^10 + n          1 ≤ home ≤ 900718, 1 ≤ n < 10^10
    bucket      = customer_id % 10          the table customers_<bucket>

    1000000000042 → home 100, the 42nd, table customers_2
    1000000000000 → refused: n is 0

The home sits in the high decimal digits, so that `% 10` spreads evenly and a person can read it; the largest id stays
below 2^53, so that JavaScript and spreadsheets keep it exact.
"""

from scrm.sharding.errors import InvalidCustomerIdError

PER_HOME = 10**10
BUCKETS = 10
MAX_HOME = 900_718
MAX_CUSTOMER_ID = MAX_HOME * PER_HOME + PER_HOME - 1

# A layout is data that checks itself.
assert MAX_CUSTOMER_ID < 2**53
assert PER_HOME % BUCKETS == 0


def make(home: int, n: int) -> int:
    """Return the customer_id of the n-th customer of a home.

    >>> make(100, 42)
    1000000000042

    Raises InvalidCustomerIdError when either part is out of range.
    """
    if not 1 <= home <= MAX_HOME:
        raise InvalidCustomerIdError(f"A home is a number from 1 to {MAX_HOME}, not {home}.")
    if not 1 <= n < PER_HOME:
        raise InvalidCustomerIdError(f"The number of a customer in a home is from 1 to {PER_HOME - 1}, not {n}.")
    return home * PER_HOME + n


def is_valid(customer_id: object) -> bool:
    """Tell whether a value is an id that some home could have given.

    >>> is_valid(1000000000042), is_valid(0), is_valid(-1), is_valid(2**63), is_valid(True)
    (True, False, False, False, False)
    """
    return (
        isinstance(customer_id, int)
        and not isinstance(customer_id, bool)
        and PER_HOME < customer_id <= MAX_CUSTOMER_ID
        and customer_id % PER_HOME != 0
    )


def parse(text: str) -> int:
    """Return the customer_id that a text of decimal digits spells.

    >>> parse("1000000000042")
    1000000000042

    Raises InvalidCustomerIdError for anything else, signs, spaces, leading zeros and other scripts' digits included.
    """
    is_number = text.isascii() and text.isdigit() and not text.startswith("0")
    if not (is_number and len(text) <= len(str(MAX_CUSTOMER_ID)) and is_valid(int(text))):
        raise InvalidCustomerIdError(f"{text[:40]!r} is not a customer_id.")
    return int(text)


def check(customer_id: int) -> int:
    """Return customer_id unchanged; raise InvalidCustomerIdError when it is none."""
    if not is_valid(customer_id):
        raise InvalidCustomerIdError(f"{customer_id!r:.40} is not a customer_id.")
    return customer_id


def home_of(customer_id: int) -> int:
    """Return the home that gave an id.

    >>> home_of(1000000000042)
    100
    """
    return check(customer_id) // PER_HOME


def bucket_of(customer_id: int) -> int:
    """Return the number of the table that holds an id.

    >>> bucket_of(1000000000042)
    2
    """
    return check(customer_id) % BUCKETS
