"""The table of answers to requests with an Idempotency-Key."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="StoredAnswer",
            fields=[
                (
                    "digest",
                    models.BinaryField(
                        help_text="SHA-256 of the caller's credential and key", primary_key=True, serialize=False
                    ),
                ),
                ("request", models.BinaryField(help_text="SHA-256 of method, address and body")),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        help_text="Null while the first request is being answered", null=True
                    ),
                ),
                ("headers", models.JSONField(default=dict)),
                (
                    "sealed",
                    models.BinaryField(default=b"", help_text="The body, sealed by a key made of credential and key"),
                ),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["created_at"], name="stored_answer_by_age")],
            },
        ),
    ]
