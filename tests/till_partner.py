"""A merchant of its own on a running hub, where one partner of the sandbox has every capability."""

MERCHANT = """
from catalog.models import Integration
from installs import lifecycle
from installs.access import Actor
from installs.models import Location, Membership, Merchant, Role, User
merchant, is_new = Merchant.objects.get_or_create(name="Kopi Coba", email="halo@kopicoba.id")
if is_new:
    outlet, _ = (
        Location.objects.create(merchant=merchant, name=name, city="Bali", timezone="Asia/Makassar")
        for name in ("Sanur", "Amed")
    )
    for role in (Role.OWNER, Role.VIEWER):
        user = User.objects.create_user(f"{role}@kopicoba.id", "maple-oat-demo-2026", name=str(role))
        Membership.objects.create(user=user, merchant=merchant, role=role)
    partner = Integration.objects.get(slug="demo-partner")
    lifecycle.install(Actor(merchant.pk, "test", Role.OWNER), partner, location_id=outlet.pk)
print("outlet", merchant.locations.get(name="Sanur").pk)
"""
