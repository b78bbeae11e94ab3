from django.urls import path

from dispatch import till

app_name = "till"
urlpatterns = [path("", till.till, name="till")]
