"""The entries of next best actions in the admin: the rules, what is bought together. For the work list see urls.py."""

from typing import Any

from django.contrib import admin
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin
from unfold.decorators import display

from customers.admin import ReadOnlyAdmin
from profiles.models import ItemAffinity, RecommendationRule
from profiles.pages import recommendations

LABELS = {"启用": "success", "停用": None, "条件有误": "danger"}


@admin.register(RecommendationRule)
class RecommendationRuleAdmin(ModelAdmin):
    list_display = (
        "name", "action_label", "state_label", "base_score", "score_now", "accepted", "dismissed", "share",
        "expires_days", "changed_at",
    )  # fmt: skip
    list_filter = ("action", "is_active")
    search_fields = ("name", "reason")
    list_per_page = 50
    actions = None

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "add/": ("add", recommendations.add_rule_page),
            "<int:rule_id>/change/": ("change", recommendations.rule_page),
            "<int:rule_id>/switch/": ("switch", recommendations.switch_rule),
            "<int:rule_id>/delete/": ("delete", recommendations.delete_rule_page),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"profiles_recommendationrule_{name}")
            for route, (name, view) in pages.items()
        ] + super().get_urls()

    @display(description="动作", ordering="action")
    def action_label(self, rule: Any) -> str:
        return str(rule.get_action_display())

    @display(description="状态", label=LABELS)
    def state_label(self, rule: RecommendationRule) -> str:
        return "停用" if not rule.is_active else "条件有误" if rule.error else "启用"

    @display(description="现在的分数")
    def score_now(self, rule: RecommendationRule) -> str:
        return str(recommendations.feedback_of(rule)["score"])

    @display(description="采纳率")
    def share(self, rule: RecommendationRule) -> str:
        percent = recommendations.feedback_of(rule)["percent"]
        return "—" if percent is None else f"{percent}%"


@admin.register(ItemAffinity)
class ItemAffinityAdmin(ReadOnlyAdmin):
    list_display = ("item", "other", "together", "similarity")
    search_fields = ("item_id", "name", "other_id", "other_name")
    list_per_page = 100
    ordering = ("-score", "item_id", "other_id")

    @display(description="商品", ordering="name")
    def item(self, one: ItemAffinity) -> str:
        return one.name or one.item_id

    @display(description="常一起买", ordering="other_name")
    def other(self, one: ItemAffinity) -> str:
        return one.other_name or one.other_id

    @display(description="相似度", ordering="score")
    def similarity(self, one: ItemAffinity) -> str:
        return f"{one.score:.2f}"
