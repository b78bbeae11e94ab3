from django.apps import AppConfig


class PoszhubConfig(AppConfig):
    name = "poszhub"
