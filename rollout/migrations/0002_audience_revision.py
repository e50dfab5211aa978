"""An audience counts its changes, so that two operators don't overwrite each other."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0001_tables")]

    operations = [
        migrations.AddField(
            model_name="audience",
            name="revision",
            field=models.PositiveIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.AlterField(
            model_name="audience",
            name="any_of",
            field=models.JSONField(blank=True, default=list, help_text="[[clause, clause], [clause]]"),
        ),
    ]
