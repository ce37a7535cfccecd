"""The policy of schedules by brute force: every minute around every change of a zone's clock, one by one.

`python -m tests.engine.calendar_oracle` holds `engine.calendar` against it, for all zones and all changes from 2000 to
2040; `python3 dev.py calendar` runs that in two processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from perdure.engine.calendar import parse_cron, zone_names

MINUTE = timedelta(minutes=1)
BEGIN, END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
NEAR = timedelta(days=2)

CORPUS = (
    *("* * * * *", "*/15 * * * *", "30 * * * *", "0 */2 * * *", "7,37 */3 * * *", "30 0-23 * * *"),
    *("0 0 * * *", "30 0 * * *", "59 23 * * *", "30 1 * * *", "0 2 * * *", "30 2 * * *", "0,30 2,3 * * *"),
    *("15 1-3 * * *", "0 3 * * *", "0 9 * * 1-5", "30 2 * * sun", "0 0 1 * *", "30 2 1-7 * sun", "0 12 30 12 *"),
    *("5 0 * mar,oct 0", "*/20 0-3 * * 6,7", "0 0 29 2 *", "45 2 31 3,10 *"),
)


def changes(zone: ZoneInfo) -> list[datetime]:
    """The instants at which the clock of a zone is set, to the minute."""
    found, at = [], BEGIN
    step = timedelta(hours=6)
    while at < END:
        if at.astimezone(zone).utcoffset() != (at + step).astimezone(zone).utcoffset():
            low, high = at, at + step
            while high - low > MINUTE:
                middle = low + (high - low) // 2 // MINUTE * MINUTE
                is_later = middle.astimezone(zone).utcoffset() == (at + step).astimezone(zone).utcoffset()
                low, high = (low, middle) if is_later else (middle, high)
            found.append(high)
        at += step
    return found


class Expression:
    """A cron expression as sets, read without any library."""

    NAMES = ("sun mon tue wed thu fri sat", "jan feb mar apr may jun jul aug sep oct nov dec")

    def __init__(self, text: str) -> None:
        minute, hour, day, month, weekday = text.split()
        self.minutes, self.hours = self._read(minute, 0, 59), self._read(hour, 0, 23)
        self.days, self.months = self._read(day, 1, 31), self._read(month, 1, 12)
        self.weekdays = {number % 7 for number in self._read(weekday, 0, 7)}
        self.is_fixed = "*" not in hour
        self.is_either = day != "*" and weekday != "*"

    def _read(self, text: str, low: int, high: int) -> set[int]:
        for names, first in zip(self.NAMES, (0, 1), strict=True):
            for number, name in enumerate(names.split(), first):
                text = text.replace(name, str(number))
        found: set[int] = set()
        for part in text.split(","):
            span, _, step = part.partition("/")
            start, _, end = span.partition("-")
            first, last = (low, high) if span == "*" else (int(start), int(end or start))
            found |= set(range(first, last + 1, int(step or 1)))
        return found

    def fits(self, local: datetime) -> bool:
        """Whether a local time is one of its times."""
        if local.minute not in self.minutes or local.hour not in self.hours or local.month not in self.months:
            return False
        in_month, in_week = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return in_month or in_week if self.is_either else in_month and in_week


def minutes_near(zone: ZoneInfo, change: datetime) -> list[tuple[datetime, datetime, bool, list[datetime]]]:
    """Each minute of UTC with its local time, whether that comes a second time, and the local times left out before."""
    found = []
    at = change - NEAR
    while at < change + NEAR:
        local = at.astimezone(zone)
        bare = local.replace(tzinfo=None)
        before = (at - MINUTE).astimezone(zone).replace(tzinfo=None)
        left_out = [before + number * MINUTE for number in range(1, (bare - before) // MINUTE)]
        found.append((at, bare, bool(local.fold), left_out))
        at += MINUTE
    return found


def slots(expression: Expression, minutes: Sequence[tuple[datetime, datetime, bool, list[datetime]]]) -> Iterator[int]:
    """The slots among these minutes, by the policy as it is written."""
    for at, local, is_second, left_out in minutes:
        is_due = expression.fits(local) and not (expression.is_fixed and is_second)
        if is_due or (expression.is_fixed and any(map(expression.fits, left_out))):
            yield round(at.timestamp() * 1000)


def differences(name: str, corpus: Sequence[str] = CORPUS, changes_max: int | None = None) -> list[str]:
    """Where the calendar and the oracle differ, for one zone."""
    found = []
    zone = ZoneInfo(name)
    expressions = {text: Expression(text) for text in corpus}
    calendars = {text: parse_cron(text, name, now=0) for text in corpus}
    at_changes = changes(zone)
    for change in at_changes if changes_max is None else at_changes[:: max(1, len(at_changes) // changes_max)]:
        minutes = minutes_near(zone, change)
        begin, end = (round(each.timestamp() * 1000) for each in (minutes[0][0], minutes[-1][0]))
        for text in corpus:
            wanted = list(slots(expressions[text], minutes))
            given = []
            for slot in calendars[text].after(begin - 1):
                if slot > end:
                    break
                given.append(slot)
            if given != wanted or calendars[text].count(begin - 1, end) != len(wanted):
                found.append(f"{name} {change} {text!r}: {sorted(set(given) ^ set(wanted))[:4]}")
    return found


def main() -> int:
    """Check all zones; gives an exit status."""
    alike: dict[object, str] = {}
    for name in sorted(zone_names()):  # many are other names of the same zone
        zone = ZoneInfo(name)
        offsets = [(change, change.astimezone(zone).utcoffset()) for change in [BEGIN, *changes(zone)]]
        alike.setdefault(tuple(offsets), name)
    names = sorted(alike.values())
    wrong = 0
    with ProcessPoolExecutor(2) as pool:
        for number, (name, found) in enumerate(zip(names, pool.map(differences, names), strict=True), 1):
            wrong += len(found)
            for line in found[:3]:
                sys.stdout.write(f"{line}\n")
            if number % 50 == 0:
                sys.stdout.write(f"{number} of {len(names)} zones, {wrong} differences ({name})\n")
                sys.stdout.flush()
    sys.stdout.write(f"{len(names)} zones, {wrong} differences\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
