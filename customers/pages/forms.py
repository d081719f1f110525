"""The form that edits a customer. Only what was changed is written, so that two editors undo nothing of each other."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from django import forms
from django.http import QueryDict

from customers.attributes import (
    MAX_BYTES,
    MAX_KEY_LENGTH,
    MAX_KEYS,
    InvalidAttributesError,
    check_attributes,
    is_same,
    is_too_large,
)
from customers.identity import mask_mobile
from customers.models import Customer
from customers.pages.person import attribute_text
from customers.records import CustomerData
from customers.tags import tag_library

MOBILE = re.compile(r"\+?[0-9][0-9 \-]{4,30}")
INPUT = {"class": "scrm-input"}


class CustomerForm(forms.Form):
    """mobile, attributes (lists `key` and `value`) and own tags; name and the like as long as WeCom does not own them.

    The mobile there is, is not in the form: to see it is a thing of its own (changes.reveal_mobile).
    """

    version = forms.IntegerField(widget=forms.HiddenInput)
    mobile = forms.CharField(
        label="手机号", required=False, max_length=32,
        widget=forms.TextInput({**INPUT, "type": "tel", "autocomplete": "off"}),
    )  # fmt: skip
    clear_mobile = forms.BooleanField(label="清空手机号", required=False)
    name = forms.CharField(label="姓名", required=False, max_length=128, widget=forms.TextInput(INPUT))
    gender = forms.TypedChoiceField(
        label="性别", coerce=int, choices=Customer.Gender.choices, widget=forms.Select(INPUT)
    )
    corp_name = forms.CharField(label="所在企业", required=False, max_length=128, widget=forms.TextInput(INPUT))
    position = forms.CharField(label="职位", required=False, max_length=128, widget=forms.TextInput(INPUT))
    tags = forms.MultipleChoiceField(label="我们的标签", required=False, widget=forms.CheckboxSelectMultiple)

    WECOM = ("name", "gender", "corp_name", "position")

    def __init__(self, customer: Mapping[str, Any], data: QueryDict | None = None) -> None:
        self.customer = customer
        self._sent = data
        initial = {name: customer[name] for name in ("version", *self.WECOM)}
        super().__init__(data, initial={**initial, "tags": customer["own_tag_ids"]}, auto_id="customer_%s")
        if customer["mobile"]:
            self.fields["mobile"].widget.attrs["placeholder"] = f"现为 {mask_mobile(customer['mobile'])}，不修改请留空"
        else:
            del self.fields["clear_mobile"]
        if customer["synced_at"] is not None:
            for name in self.WECOM:
                del self.fields[name]
        groups: dict[str, list[tuple[str, str]]] = {}
        library = tag_library()
        for number in (*library, *(tag for tag in customer["own_tag_ids"] if tag not in library)):
            tag = library.get(number)
            groups.setdefault(tag["group"] if tag else "不在标签库", []).append(
                (number, tag["name"] if tag else number)
            )
        choices: Any = self.fields["tags"]
        choices.choices = list(groups.items())
        self.changed: list[str] = []

    @property
    def tag_options(self) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        """The tag library by group: (id, name, is it on)."""
        on = set(self._sent.getlist("tags") if self._sent is not None else self.customer["own_tag_ids"])
        tags: Any = self.fields["tags"]
        return [(group, [(number, name, number in on) for number, name in found]) for group, found in tags.choices]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The attributes as they stand in the form."""
        if self._sent is not None:
            return list(zip(self._sent.getlist("key"), self._sent.getlist("value"), strict=False))
        return [(key, attribute_text(value)) for key, value in sorted(self.customer["attributes"].items())]

    def clean_version(self) -> int:
        version: int = self.cleaned_data["version"]
        if version != self.customer["version"] and self._sent is not None:
            shown = self._sent.copy()
            shown["version"] = str(self.customer["version"])
            self.data = shown
            raise forms.ValidationError("这位客户的资料刚刚有变化，请核对后再保存一次。")
        return version

    def clean_mobile(self) -> str:
        mobile: str = self.cleaned_data["mobile"].strip()
        if mobile and not MOBILE.fullmatch(mobile):
            raise forms.ValidationError("请填写手机号，只能含数字、空格、- 和开头的 +。")
        return mobile

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["attributes"] = self._attributes()
        return cleaned

    def _attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in ((key.strip(), value.strip()) for key, value in self.pairs):
            if not key and not value:
                continue
            if not key:
                raise forms.ValidationError(f"自定义属性的值「{value[:20]}」没有名称。")
            if key in found:
                raise forms.ValidationError(f"自定义属性「{key[:20]}」写了两次。")
            if len(key) > MAX_KEY_LENGTH:
                raise forms.ValidationError(f"自定义属性的名称最多 {MAX_KEY_LENGTH} 个字。")
            found[key] = self._attribute(key, value)
        if len(found) > MAX_KEYS:
            raise forms.ValidationError(f"自定义属性最多 {MAX_KEYS} 个，这里有 {len(found)} 个。")
        if is_too_large(found):
            raise forms.ValidationError(f"自定义属性合计最多 {MAX_BYTES} 字节（一个汉字 3 字节）。")
        try:
            return check_attributes(found)
        except InvalidAttributesError as error:
            raise forms.ValidationError(f"自定义属性不能保存：{error}") from None

    def _attribute(self, key: str, text: str) -> Any:
        """Return a value of the kind that it was before: a number stays one; what is new is text."""
        before = self.customer["attributes"].get(key)
        if before is None or isinstance(before, str):
            return text
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise forms.ValidationError(
                f"自定义属性「{key[:20]}」要写成 JSON，如 3 或 true；文字要加双引号。"
            ) from None

    def data_to_write(self) -> CustomerData | None:
        """Return what was changed, or None when nothing was."""
        given = self.cleaned_data
        changed = {
            name: given[name] for name in self.WECOM if name in self.fields and given[name] != self.customer[name]
        }
        mobile = given["mobile"] or ("" if given.get("clear_mobile") else self.customer["mobile"])
        if mobile != self.customer["mobile"]:
            changed["mobile"] = mobile
        stored, attributes = self.customer["attributes"], given["attributes"]
        differing = {
            key: attributes.get(key)
            for key in {*stored, *attributes}
            if not is_same({"": attributes.get(key)}, {"": stored.get(key)})
        }
        if differing:
            changed["attributes"] = differing
        tags = tuple(given["tags"]) if set(given["tags"]) != set(self.customer["own_tag_ids"]) else None
        self.changed = [*changed, *(["tags"] if tags is not None else [])]
        if not self.changed:
            return None
        return CustomerData(
            self.customer["external_userid"],
            fields=changed,
            tag_ids=tags,
            merge_attributes="attributes" in changed,
            if_version=given["version"],
        )
