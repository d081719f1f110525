"""Django's migrate, able to write to a department database. `migrate_shards` does all of them."""

from scrm.sharding.migrating import MigrateCommand as Command

__all__ = ["Command"]
