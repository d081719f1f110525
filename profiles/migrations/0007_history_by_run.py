from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations

from scrm.sharding.operations import AddIndexPerPartition


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('profiles', '0006_staff_changes'),
    ]

    operations = [
        AddIndexPerPartition(
            model_name='profilehistory',
            index=BrinIndex(
                autosummarize=True, fields=['run_id'], name='profile_history_by_run',
                opclasses=['int8_minmax_multi_ops'], pages_per_range=32,
            ),
        ),
    ]
