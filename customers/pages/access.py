"""Who may see which customers in the admin, and who may do what.

| permission                      | allows                                                  |
|---------------------------------|---------------------------------------------------------|
| customers.view_customer         | the list, a customer's page                             |
| customers.change_customer       | mobile, attributes, own tags, notes                     |
| customers.view_mobile           | mobiles in clear, each time with an audit row           |
| customers.export_customer       | the list as a file, each time with an audit row         |
| customers.move_customer         | another home                                            |
| customers.delete_customer       | erasure                                                 |

Superusers have them all.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from customers.access import EVERYTHING, Scope

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def scope_of_user(user: Any) -> Scope:
    """Return which customers a user of the admin may see.

    Until users have roles and departments, whoever has the permission sees everybody; every page asks here, so that
    this is the only place to change.
    """
    return EVERYTHING


def actor_of(request: HttpRequest) -> str:
    """Return what audit rows, notes and jobs call whoever is asking."""
    return str(request.user.get_username())


def requires(permission: str) -> Callable[[View[P]], View[P]]:
    """Answer 403 to whoever is logged in without a permission of `customers`. The admin site sees to the login."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def checked(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.has_perm(f"customers.{permission}"):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return checked

    return decorate
