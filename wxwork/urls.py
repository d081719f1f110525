from django.urls import path

from wxwork import callback_views
from wxwork.views import JssdkConfigView

urlpatterns = [
    path("wxwork/callback", callback_views.callback, name="wxwork-callback"),
    path("api/v1/wxwork/jssdk-config/", JssdkConfigView.as_view(), name="wxwork-jssdk-config"),
]
