from django.apps import AppConfig


class PoszhubConfig(AppConfig):
    name = "poszhub"

    def ready(self) -> None:
        # Both register themselves when they are imported.
        from poszhub import checks, openapi  # noqa: F401
