from django.db import migrations

CATEGORIES = [
    ("order_channel", "Order channels", "Kanal pesanan",
     "Inbound orders, order status and menu push",
     "Pesanan masuk, status pesanan, dan kirim menu"),
    ("reservations", "Reservations", "Reservasi",
     "Bookings and waitlist sync", "Sinkronisasi reservasi dan daftar tunggu"),
    ("payments", "Payments", "Pembayaran",
     "Methods, pay-at-table, tax invoice provider",
     "Metode bayar, bayar di meja, penyedia faktur pajak"),
    ("receipt", "Receipt", "Struk",
     "Anything attached to the printed or digital receipt",
     "Apa pun yang menempel pada struk cetak atau digital"),
    ("loyalty", "Loyalty", "Loyalitas",
     "Points and rewards programs", "Program poin dan hadiah"),
    ("crm", "CRM", "CRM",
     "Customer and event export to marketing tools",
     "Ekspor pelanggan dan event ke alat pemasaran"),
    ("notifications", "Notifications", "Notifikasi",
     "Outbound channel provider swap", "Ganti penyedia kanal pesan keluar"),
    ("accounting", "Accounting", "Akuntansi",
     "Order and refund export to bookkeeping",
     "Ekspor pesanan dan pengembalian dana ke pembukuan"),
    ("hr", "HR", "SDM", "Staff and scheduling sync", "Sinkronisasi karyawan dan jadwal"),
    ("inventory", "Inventory", "Inventaris",
     "Replenishment and supplier APIs", "Pengisian stok dan API pemasok"),
    ("analytics", "Analytics", "Analitik", "Data exports to BI", "Ekspor data ke BI"),
]


def seed(apps, schema_editor):
    Category = apps.get_model("catalog", "Category")
    for position, row in enumerate(CATEGORIES, 1):
        slug, name_en, name_id, description_en, description_id = row
        Category.objects.get_or_create(
            slug=slug,
            defaults={
                "name_en": name_en,
                "name_id": name_id,
                "description_en": description_en,
                "description_id": description_id,
                "position": position * 10,
            },
        )
    apps.get_model("catalog", "CatalogStamp").objects.get_or_create(pk=1)


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
