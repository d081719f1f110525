"""What the simulator holds and what we hold, in one form, to be compared; and callbacks as it would push them."""

import time
from datetime import UTC, datetime
from typing import Any

from customers.directory import addresses
from customers.lookup import find_customer
from customers.models import Customer
from scrm import sharding
from wxwork.handlers import find_handler
from wxwork.messages import Message, key_of
from wxwork.simulator import SimulatorServer
from wxwork.simulator.state import DELETED_BY_CUSTOMER

FIELDS = ("name", "type", "gender", "corp_name", "position")


def theirs(simulator: SimulatorServer, *, lost: bool = False) -> dict[str, Any]:
    """Return {external_userid: (fields, {userid: follow})} as the corp has them, of customers whom somebody follows.

    lost: say of each follow whether the customer has ended it, too; no read shows that.
    """
    state = simulator.state
    found = {}
    for external_userid, customer in state.customers.items():
        follows = {
            relation.userid: {
                "remark": relation.remark,
                "description": relation.description,
                "mobiles": list(relation.mobiles),
                "tag_ids": list(relation.tag_ids),
                "add_way": relation.add_way,
                "state": relation.state,
                "created_at": relation.createtime,
                **({"is_lost": relation.status == DELETED_BY_CUSTOMER} if lost else {}),
            }
            for relation in state.readable_relations(customer)
        }
        if follows:
            found[external_userid] = ({name: getattr(customer, name) for name in FIELDS}, follows)
    return found


def ours(*, lost: bool = False) -> dict[str, Any]:
    """Return the same of what we hold; with lost, ended follows of members who are still shown count as lost."""
    people = [
        external_userid
        for home in sharding.shard_map().homes
        for external_userid in Customer.objects.using(sharding.alias(home)).values_list("external_userid", flat=True)
    ]
    found = {}
    for external_userid, customer_id in addresses(people).items():
        customer, _ = find_customer(customer_id)
        assert customer is not None
        follows = {
            follow["userid"]: {
                name: follow[name] for name in ("remark", "description", "mobiles", "tag_ids", "add_way", "state")
            }
            | {"created_at": int(datetime.fromisoformat(follow["created_at"]).timestamp())}
            | ({"is_lost": follow["lost_at"] is not None} if lost else {})
            for follow in customer["follows"]
            if follow["lost_at"] is None or follow["lost_by"] == "customer"
        }
        if follows:
            found[external_userid] = ({name: customer[name] for name in FIELDS}, follows)
    return found


def look(external_userid: str) -> dict[str, Any] | None:
    """Return a customer as a lookup finds one, mobiles in clear."""
    customer_id = addresses([external_userid]).get(external_userid)
    return find_customer(customer_id)[0] if customer_id else None


def follow_of(external_userid: str, userid: str) -> dict[str, Any] | None:
    customer = look(external_userid) or {"follows": []}
    return next((one for one in customer["follows"] if one["userid"] == userid), None)


def tell(event: str, change_type: str, *, at: float | None = None, **fields: Any) -> None:
    """Have a callback handled. at: WeCom's time, now if it is not given."""
    texts = {name: str(value) for name, value in fields.items()}
    message = Message(
        event,
        change_type,
        datetime.fromtimestamp(int(time.time() if at is None else at), tz=UTC),
        texts,
        key_of(event, change_type, texts),
        texts.get("ExternalUserID", ""),
    )
    handler = find_handler(message)
    assert handler is not None
    handler(message)


def tell_of_customer(
    change_type: str, userid: str, external_userid: str, *, at: float | None = None, **more: Any
) -> None:
    tell("change_external_contact", change_type, at=at, UserID=userid, ExternalUserID=external_userid, **more)


def a_relation(simulator: SimulatorServer, *, among: int = 0) -> tuple[str, str]:
    """Return (external_userid, userid) of a relation that both sides keep, of a customer with just one follower."""
    alone = [
        (external_userid, relation.userid)
        for external_userid, customer in simulator.state.customers.items()
        if len(customer.relations) == 1 and (relation := customer.relations[0]).status == "full"
    ]
    return alone[among]
