from django.db import migrations


def add_endpoints(apps, _schema_editor):
    """Without its row an endpoint is never looked at, and these have something to send."""
    endpoint = apps.get_model("webhooks", "Endpoint")
    waiting = apps.get_model("webhooks", "Delivery").objects.values_list("integration_id", flat=True)
    endpoint.objects.bulk_create(
        [endpoint(integration_id=item) for item in waiting.distinct().order_by()],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0002_delivery_engine")]
    operations = [migrations.RunPython(add_endpoints, migrations.RunPython.noop)]
