"""Look at everything, one subject after the other."""

from collections.abc import Iterator

from django.conf import settings
from django.core import checks

from scrm.doctor import clocks, connection_sums, databases, processes, redis_servers
from scrm.doctor.findings import Finding, Look, registered


def examine() -> Iterator[tuple[str, list[Finding]]]:
    """Yield (subject, findings), subject by subject as they are looked at; raises nothing.

    Databases: a few small queries on each. Time: at most some seconds for each server that does not answer.
    """
    for subject, look in (BUILT_IN | registered()).items():
        try:
            found = list(look())
        except Exception as error:  # one look that fails must not hide what the others see
            found = [Finding(f"This could not be looked at: {type(error).__name__}: {error}", "Mend the others first.")]
        yield subject, found


def find_settings_troubles() -> Iterator[Finding]:
    """Run Django's system checks, and the deployment's where DEBUG is off."""
    for message in checks.run_checks(include_deployment_checks=not settings.DEBUG):
        if not message.is_silenced():
            yield Finding(
                f"{message.id}: {message.msg}", message.hint or "", is_problem=message.is_serious(checks.ERROR)
            )


BUILT_IN: dict[str, Look] = {
    "settings": find_settings_troubles,
    "databases": databases.find_troubles,
    "cache": redis_servers.find_cache_troubles,
    "broker": redis_servers.find_broker_troubles,
    "clocks": clocks.find_troubles,
    "connections": connection_sums.find_troubles,
    "processes": processes.find_troubles,
}
