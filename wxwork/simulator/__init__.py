"""A WeCom in a process: what the client, the callback endpoint and the sync are tested against (contract §8).

It imports nothing of what it checks: no client, no crypto, no errors, no models of ours, and no database.

    company.py      the people, drawn from a seed
    state.py        the corp as it is now         auth.py     apps, tokens, tickets
    endpoints/      the API, by family            paging.py limits.py faults.py
    acts/           what people do                pushing.py  callbacks, sealed by crypto.py
    corp.py         how a call goes through       control.py  /_sim/
    server.py       SimulatorServer
"""

from wxwork.simulator.acts import ActError
from wxwork.simulator.server import SimulatorServer

__all__ = ["ActError", "SimulatorServer"]
