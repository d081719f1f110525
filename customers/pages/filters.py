"""The filters of the list of customers, as they stand in its URL."""

from typing import Any

from django import forms

from customers.access import scope_of
from customers.counts import known_classes
from customers.listing import MAX_QUERY_LENGTH, Filters
from customers.organisation import Organisation, organisation
from customers.segments import segment_names
from customers.tags import tag_library
from scrm import sharding

ANY = ("", "全部")
# No class can be called so: names have no white space at their ends.
UNCLASSIFIED = " "
INPUT = {"class": "scrm-input"}


class FilterForm(forms.Form):
    """home, profile, department, tag, segment (where there are any) and q.

    What is in none of the choices is said to be wrong, not left out.
    """

    q = forms.CharField(
        label="搜索", required=False, max_length=MAX_QUERY_LENGTH,
        widget=forms.TextInput({**INPUT, "placeholder": "姓名（一两个字即可）或完整的外部联系人 ID", "type": "search"}),
    )  # fmt: skip
    home = forms.TypedChoiceField(label="归属库", required=False, coerce=int, empty_value=None)
    profile = forms.CharField(label="画像", required=False, strip=False)
    department = forms.TypedChoiceField(label="跟进部门", required=False, coerce=int, empty_value=None)
    tag = forms.ChoiceField(label="标签", required=False)
    segment = forms.TypedChoiceField(label="客户人群", required=False, coerce=int, empty_value=None)

    def __init__(self, data: Any) -> None:
        super().__init__(data, auto_id="filter_%s")
        self._set_choices("home", [ANY, *((str(home), f"dept_{home}") for home in sharding.shard_map().homes)])
        classes = list(known_classes())
        wanted = data.get("profile", "")
        if wanted.strip() and wanted not in classes:
            classes.append(wanted)  # nobody is in it, or the home that has it is down
        self.fields["profile"].widget = forms.Select(
            INPUT, [ANY, (UNCLASSIFIED, "未分类"), *((name, name) for name in classes)]
        )
        self._set_choices("department", [ANY, *department_choices(organisation())])
        self._set_choices("tag", [ANY, *tag_choices()])
        names = segment_names()
        if names or data.get("segment"):
            self._set_choices("segment", [ANY, *((str(one), name) for one, name in names.items())])
        else:
            del self.fields["segment"]

    def _set_choices(self, name: str, choices: list[Any]) -> None:
        field: Any = self.fields[name]
        field.widget = forms.Select(INPUT)
        field.choices = choices

    def filters(self) -> Filters:
        """Return what to list, of a form that is valid."""
        given = self.cleaned_data
        return Filters(
            home=given["home"],
            department=scope_of([given["department"]]) if given["department"] is not None else None,
            profile=None if not given["profile"] else given["profile"].strip(),
            tag=given["tag"] or None,
            q=given["q"],
            segment=given.get("segment"),
        )

    @property
    def is_filtering(self) -> bool:
        return any(self.data.get(name) for name in self.fields)

    def in_words(self) -> dict[str, Any]:
        """Return what is filtered by, for an audit row."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}


def department_choices(company: Organisation) -> list[tuple[str, str]]:
    """Return the departments as a tree: parents first, those below them indented."""
    below: dict[int | None, list[int]] = {}
    for number, parent in company.parents.items():
        below.setdefault(parent if parent in company.parents else None, []).append(number)
    found: list[tuple[str, str]] = []
    seen: set[int] = set()

    def add(numbers: list[int], depth: int) -> None:
        for number in sorted(numbers):
            if number not in seen:
                seen.add(number)
                found.append((str(number), "\u3000" * depth + company.department_names[number]))
                add(below.get(number, []), depth + 1)

    add(below.get(None, []), 0)
    add([number for number in company.parents if number not in seen], 0)  # a loop in the tree
    return found


def tag_choices() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the tag library, grouped."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for tag in tag_library().values():
        groups.setdefault(tag["group"], []).append((tag["id"], tag["name"]))
    return list(groups.items())
