"""What staff did with customers, day by day (联系客户统计). Doc 92132."""

from collections.abc import Iterable
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in, need_one_of

BEHAVIOUR = "/cgi-bin/externalcontact/get_user_behavior_data"
STAFF = DEPARTMENTS = 100
LONGEST_SECONDS = 30 * 86_400


class StatisticCalls(Calls):
    def list_contact_statistics(
        self, *, userids: Iterable[str] = (), departments: Iterable[int] = (), start_time: int, end_time: int
    ) -> list[dict[str, Any]]:
        """Return [{stat_time, new_apply_cnt, new_contact_cnt, chat_cnt, message_cnt, …}], a row for each day in China.

        Of up to 100 staff and 100 departments together: ask for one at a time to tell them apart. Unix times, 30 days
        apart at most, of the last 180 days; a day is there the day after. avg_reply_time is in minutes.
        """
        names = arguments.identifiers("userids", userids, at_most=STAFF, at_least=0)
        parties = [arguments.department("departments", one) for one in departments]
        need_one_of(userids=names, departments=parties)
        arguments.number("the number of departments", len(parties), lowest=0, highest=DEPARTMENTS)
        start, end = arguments.seconds("start_time", start_time), arguments.seconds("end_time", end_time)
        arguments.number("end_time - start_time", end - start, lowest=0, highest=LONGEST_SECONDS)
        body = {"userid": names, "partyid": parties, "start_time": start, "end_time": end}
        return list_in(self._post(BEHAVIOUR, body), "behavior_data", BEHAVIOUR)
