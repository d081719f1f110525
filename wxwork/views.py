"""REST endpoints of the WeCom link: parse, call, answer. docs/api.md is the guide."""

import structlog
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from scrm.api.endpoints import Endpoint, answer
from scrm.api.parsing import read_text, refuse_unknown
from scrm.api.problems import ForbiddenError, InvalidError, UnavailableError
from scrm.api.schema import problems
from scrm.api.scopes import WXWORK_JSSDK
from wxwork import jssdk, tickets, tokens
from wxwork.errors import ConfigError, WxworkError

logger = structlog.get_logger(__name__)


class Signed(serializers.Serializer):
    timestamp = serializers.IntegerField(help_text="Unix seconds, as they were signed.")
    nonceStr = serializers.CharField()  # noqa: N815 - as the JSSDK spells them, here and below
    signature = serializers.CharField(help_text="SHA-1 in small hexadecimal digits.")


class ConfigSigned(Signed):
    appId = serializers.CharField(help_text="The company's id.")  # noqa: N815


class AgentConfigSigned(Signed):
    corpId = serializers.CharField(help_text="The company's id; `corpid` of wx.agentConfig.")  # noqa: N815
    agentId = serializers.CharField(help_text="The application's id; `agentid` of wx.agentConfig.")  # noqa: N815


class JssdkAnswer(serializers.Serializer):
    url = serializers.CharField(help_text="What was signed: the page without its fragment.")
    config = ConfigSigned()
    agent_config = AgentConfigSigned()


class JssdkConfigView(Endpoint):
    required_scopes = {"GET": WXWORK_JSSDK}

    @extend_schema(
        operation_id="wxwork_jssdk_config",
        parameters=[
            OpenApiParameter(
                "url", str, OpenApiParameter.QUERY, required=True, description="location.href of the page, encoded."
            )
        ],
        responses={200: JssdkAnswer, **problems(400)},
    )
    def get(self, request: Request) -> HttpResponse:
        """Sign a page for WeCom's JSSDK: for wx.config, and for wx.agentConfig or ww.register.

        Only pages of the origins in WXWORK_JSSDK_ORIGINS are signed (403 origin_not_allowed).
        """
        given = request._request.GET
        refuse_unknown(given, ("url",))
        url = read_text(given, "url", max_length=jssdk.MAX_URL)
        if url is None:
            raise InvalidError.of("url", "required", "url is the page to sign.")
        try:
            page = jssdk.page_of(url, settings.WXWORK_JSSDK_ORIGINS)
        except jssdk.PageError as error:
            if error.code == "origin_not_allowed":
                raise ForbiddenError(str(error), code=error.code) from None
            raise InvalidError.of("url", error.code, str(error)) from None
        try:
            signed = jssdk.configure(
                page,
                corp_id=tokens.credential().corp_id,
                agent_id=settings.WXWORK_AGENT_ID,
                get_ticket=tickets.get,
            )
        except WxworkError as error:
            logger.warning("jssdk_not_signed", reason=str(error))
            code = "wecom_refused" if isinstance(error, ConfigError) else "wecom_unavailable"
            raise UnavailableError("WeCom gives no ticket to sign with now.", code=code) from None
        return answer(signed)
