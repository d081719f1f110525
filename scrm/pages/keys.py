"""API keys in the admin: made here, shown once, revoked here."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from customers.audit import record
from customers.organisation import organisation
from customers.pages.access import actor_of
from customers.pages.filters import department_choices
from profiles.pages.rendering import render_page
from scrm.api.keys import DuplicateKeyNameError, InvalidKeyDataError, create_key, revoke_key
from scrm.api.models import ApiKey
from scrm.api.scopes import DEFAULT_SCOPES, SCOPES

INPUT = {"class": "scrm-input"}
# Mobiles in clear are asked for by name.


class KeyForm(forms.Form):
    name = forms.CharField(
        label="名称", max_length=64, widget=forms.TextInput({**INPUT, "placeholder": "如 sidebar、shop-erp"}),
        help_text="谁在用这把密钥。它上报的行为也以这个名称为来源。",
    )  # fmt: skip
    scopes = forms.MultipleChoiceField(label="权限", choices=list(SCOPES.items()), initial=list(DEFAULT_SCOPES))
    departments = forms.TypedMultipleChoiceField(
        label="部门", required=False, coerce=int, help_text="只能访问这些部门（含下级）跟进的客户；不选就是全部。"
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        departments: Any = self.fields["departments"]
        departments.choices = [(value, name.strip()) for value, name in department_choices(organisation())]


def _may(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(f"api.{permission}"):
        raise PermissionDenied


@never_cache
@require_http_methods(["GET", "POST"])
def new_key(request: HttpRequest) -> HttpResponseBase:
    """Make a key, and show its token on the page that answers: nothing can show it again."""
    _may(request, "add_apikey")
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            token = create_key(given["name"], scopes=given["scopes"], department_ids=given["departments"])
        except DuplicateKeyNameError:
            form.add_error("name", "已有同名的密钥，可能已吊销。名称会成为行为的来源，所以不能重用，请换一个。")
        except InvalidKeyDataError:
            form.add_error("name", "名称要有 1 到 64 个可见字符。")
        else:
            record(actor_of(request), "create_api_key", detail={"name": given["name"]})
            return render_page(
                request, "scrm/key_made.html", "密钥已建立", ApiKey, {"token": token, "name": given["name"]}
            )
    return render_page(request, "scrm/key_new.html", "新建 API 密钥", ApiKey, {"form": form})


def key_page(request: HttpRequest, key_id: int) -> HttpResponseBase:
    """Show a key, all but its token."""
    _may(request, "view_apikey")
    key = get_object_or_404(ApiKey, pk=key_id)
    names = organisation().department_names
    return render_page(
        request, "scrm/key.html", key.name, ApiKey,
        {
            "key": key,
            "scopes": [SCOPES.get(scope, scope) for scope in key.scopes],
            "departments": [names.get(number, str(number)) for number in key.department_ids],
            "can_revoke": key.revoked_at is None and request.user.has_perm("api.delete_apikey"),
        },
    )  # fmt: skip


@require_POST
def revoke(request: HttpRequest, key_id: int) -> HttpResponseBase:
    """Revoke a key: within 30 s no process accepts it."""
    _may(request, "delete_apikey")
    key = get_object_or_404(ApiKey, pk=key_id)
    if revoke_key(key.name):
        record(actor_of(request), "revoke_api_key", detail={"name": key.name})
        messages.success(request, f"已吊销「{key.name}」，最迟 30 秒后不再有效。")
    return redirect("admin:api_apikey_change", key_id)
