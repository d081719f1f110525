"""Forms of the tag library: what they change goes through customers.library, so that WeCom is asked first."""

import re
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from customers import library
from customers.library import LibraryError
from customers.models import Tag, TagGroup


class _LibraryForm(forms.ModelForm):
    """Do what the form asks for as the last step of its validation, so that a refusal is told beside the form."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            self.apply()
        except LibraryError as error:
            self.add_error(None, str(error))

    def apply(self) -> None:
        raise NotImplementedError


class TagForm(_LibraryForm):
    class Meta:
        model = Tag
        fields = ("name", "group", "order")

    def apply(self) -> None:
        given = self.cleaned_data
        if self.instance._state.adding:
            self.instance = library.add_tag(given["group"], given["name"], order=given["order"])
        else:
            library.change(self.instance, name=given["name"], order=given["order"])


class TagGroupForm(_LibraryForm):
    class Meta:
        model = TagGroup
        fields = ("name", "order")

    def apply(self) -> None:
        library.change(self.instance, name=self.cleaned_data["name"], order=self.cleaned_data["order"])


class NewTagGroupForm(_LibraryForm):
    """A group with its first tags; is_wecom only where there is a WeCom to make it in."""

    tag_names = forms.CharField(
        label="标签", required=False, widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="每行一个，或用逗号分开。企业微信的标签组至少要有一个标签。",
    )  # fmt: skip

    class Meta:
        model = TagGroup
        fields = ("name", "order", "is_wecom")
        help_texts = {"is_wecom": "勾选后先在企业微信里新建，员工在企业微信里也能使用。"}

    def apply(self) -> None:
        given: dict[str, Any] = self.cleaned_data
        names = [name.strip() for name in re.split(r"[\n,，、]", given["tag_names"]) if name.strip()]
        is_wecom = given.get("is_wecom", False)
        self.instance = library.add_group(given["name"], names, is_wecom=is_wecom, order=given["order"])
