"""The recommendation rules that the project begins with, for migration 0002. Frozen: what follows is another migration."""

from typing import Any


def _is(field: str, value: str) -> dict[str, Any]:
    return {"field": field, "operator": "is", "value": value}


def _is_not(field: str, value: str) -> dict[str, Any]:
    return {"field": field, "operator": "is_not", "value": value}


def _at_least(field: str, value: int | str, window_days: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"field": field, "operator": ">=", "value": value}
    return found if window_days is None else {**found, "window_days": window_days}


DEFAULT_RULES: list[dict[str, Any]] = [
    {
        "name": "高消费客户流失预警",
        "action": "win_back",
        "groups": [[_is("loss_warning", "high"), _at_least("monetary_score", 4)]],
        "reason": "流失预警为高：已 {days_since_last_purchase} 天没有购买，此前买过 {purchase_count} 次、累计消费 "
        "{total_amount}，建议尽快召回",
        "base_score": 75,
        "expires_days": 14,
        "cooldown_days": 30,
    },
    {
        "name": "沉睡老客召回",
        "action": "win_back",
        "groups": [[_is("lifecycle", "dormant"), _at_least("purchase_count", 2)]],
        "reason": "买过 {purchase_count} 次、累计消费 {total_amount}，已 {days_since_last_purchase} 天没有购买，"
        "可以用优惠或新品请回来",
        "base_score": 55,
        "expires_days": 14,
        "cooldown_days": 30,
    },
    {
        "name": "回流客户感谢",
        "action": "thank",
        "groups": [[_is("lifecycle", "returned"), _at_least("purchase_count", 1, 30)]],
        "reason": "沉睡之后又回来了：近 30 天买了 {purchase_count[30d]} 次、{total_amount[30d]}，适合表示感谢",
        "base_score": 60,
        "expires_days": 7,
        "cooldown_days": 60,
    },
    {
        "name": "新客首月高消费感谢",
        "action": "thank",
        "groups": [[_is("lifecycle", "new"), _at_least("total_amount", "1000.00")]],
        "reason": "新客，已经消费 {total_amount}（{purchase_count} 次），适合表示感谢、介绍会员权益",
        "base_score": 65,
        "expires_days": 7,
        "cooldown_days": 60,
    },
    {
        "name": "有人跟进却久未互动",
        "action": "remind_staff",
        "groups": [
            [
                _is("lifecycle", "dormant"),
                _at_least("follow_count", 1),
                {"field": "interaction_count", "operator": "==", "value": 0, "window_days": 30},
            ]
        ],
        "reason": "有 {follow_count} 位员工在跟进，近 30 天却没有一次互动；客户累计消费 {total_amount}，请主动联系",
        "base_score": 50,
        "expires_days": 7,
        "cooldown_days": 14,
    },
    {
        "name": "常买搭配推荐",
        "action": "cross_sell",
        "groups": [[_at_least("purchase_count", 1, 90), _is_not("lifecycle", "lost")]],
        "reason": "近 90 天买过 {purchase_count[90d]} 次；买「{because}」的客户也常买{items}",
        "base_score": 45,
        "expires_days": 14,
        "cooldown_days": 14,
    },
]
