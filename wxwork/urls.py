from django.urls import path

from wxwork import callback_views

urlpatterns = [
    path("wxwork/callback", callback_views.callback, name="wxwork-callback"),
]
