"""Say in words what is wrong with this installation, and what to do about it: `manage.py doctor`.

    subject      looked at
    settings     Django's system checks
    databases    reachable, migrated, complete, as the settings say (time zone); homes registered and open; durable; no
                 embedded servers with DEBUG off
    cache        reachable, forgets
    broker       reachable, keeps
    clocks       databases and Redis against this machine
    connections  what all processes may open against what each server allows
    processes    the keeper's heartbeat, a worker that answers

An app adds its own in AppConfig.ready(): `doctor.register("wecom", find_wecom_troubles)`.
"""

from scrm.doctor.findings import Finding, register

__all__ = ["Finding", "register"]
