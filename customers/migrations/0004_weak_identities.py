from django.db import migrations, models


def weaken(apps, schema_editor):
    """What restricted keys have claimed before there was a difference."""
    if schema_editor.connection.alias != "default":
        return
    keys = apps.get_model("api", "ApiKey").objects.exclude(department_ids=[])
    owners = [f"api:{name}" for name in keys.values_list("name", flat=True)]
    apps.get_model("customers", "Identity").objects.filter(owner__in=owners).update(is_weak=True)


class Migration(migrations.Migration):

    dependencies = [
        ('customers', '0003_identities'),
        ('api', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='identity',
            name='is_weak',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunPython(weaken, migrations.RunPython.noop),
    ]
