"""System checks of the settings of calls and pages."""

import pytest

from wxwork.checks import limits_are_below_wecoms, origins_are_origins


@pytest.mark.parametrize("origin", ["sidebar.example.com", "https://", "https://a.example.com/page", "ftp://a", "*"])
def test_what_is_no_origin_is_named(settings, origin):
    settings.WXWORK_JSSDK_ORIGINS = ["https://good.example.com", origin]
    (found,) = origins_are_origins()
    assert found.id == "wxwork.E004"
    assert repr(origin) in found.msg


def test_limits_above_wecoms_are_warned_of(settings):
    assert limits_are_below_wecoms() == []
    settings.WXWORK_CALLS_PER_MINUTE, settings.WXWORK_CALLS_PER_HOUR = 20_000, 0
    assert [found.id for found in limits_are_below_wecoms()] == ["wxwork.W001", "wxwork.W001"]
