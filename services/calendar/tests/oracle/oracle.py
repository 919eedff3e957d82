"""What the rule of docs/cron.md gives, found by walking time, for comparison with the crate borealis-calendar.

It shares no code with the crate, and takes another way: minutes of UTC are walked forward, each is mapped to the wall
clock by Python's zoneinfo, and the rule is applied to what the clock shows. Only the data are the same: the TZif files of
the folder that is given.

    oracle.py FOLDER SCHEDULES FROM-YEAR YEARS [minute|hours] [SCHEDULE ZONE]

prints one line for each zone and schedule: zone, number of the schedule, count of firings, CRC-32 of the firings. With a
schedule (its number) and a zone it prints the firings themselves, in seconds since 1970.

The offset of a zone is read at each minute (`minute`), or at each third hour, and at each minute of those three hours whose
ends differ (`hours`, which is what continuous integration has time for). What the clock shows is kept as one bit per
minute in a large number, so that a stretch of even time is one slice of it.
"""

import array
import sys
import zlib
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

EPOCH = date(1970, 1, 1)
DAY = 1440
MARGIN = 2  # days that local time may lie before the first and after the last minute of UTC
START = int(datetime(2026, 1, 31, 1, 30, tzinfo=timezone.utc).timestamp()) // 60
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()


# --- which local minutes a schedule names -----------------------------------------------------------------------------


def numbers(text, low, high, names=(), first=0):
    """Returns the numbers that a plain field names."""
    found = set()

    def number(word):
        return names.index(word.lower()) + first if word.lower() in names else int(word)

    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            begin, end = low, high
        elif "-" in span:
            begin, end = map(number, span.split("-"))
        else:
            begin = end = number(span)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def named_by_day(text, day):
    last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    for part in text.split(","):
        if part[0] in "Ll":
            if day == last - timedelta(days=int(part[2:] or 0)):
                return True
        elif day.day in numbers(part, 1, 31):
            return True
    return False


def named_by_weekday(text, day):
    weekday = day.isoweekday() % 7
    for part in text.split(","):
        name, counted, count = part.partition("#")
        wanted = {number % 7 for number in numbers(name, 0, 6, WEEKDAYS)}
        if weekday not in wanted:
            continue
        if not counted or (count in "Ll" and (day + timedelta(days=7)).month != day.month):
            return True
        if count.isdigit() and (day.day + 6) // 7 == int(count):
            return True
    return False


class Text:
    """Cron text: the local minutes it names, and the seconds of each."""

    def __init__(self, text):
        fields = text.split()
        self.seconds = sorted(numbers(fields.pop(0), 0, 59)) if len(fields) == 6 else None
        minute, hour, self.day, month, self.weekday = fields
        self.minutes, self.hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
        self.months = numbers(month, 1, 12, MONTHS, 1)
        self.every_hour = len(self.hours) == 24

    def names(self, day):
        if day.month not in self.months:
            return False
        by_day, by_weekday = named_by_day(self.day, day), named_by_weekday(self.weekday, day)
        if self.day[0] == "*" or self.weekday[0] == "*":
            return by_day and by_weekday
        return by_day or by_weekday

    def local_minutes(self, first, last, _start):
        times = sum(1 << hour * 60 + minute for hour in self.hours for minute in self.minutes)
        due, idle = times.to_bytes(DAY // 8, "little"), bytes(DAY // 8)
        days = (first + timedelta(days=number) for number in range((last - first).days))
        return int.from_bytes(b"".join(due if self.names(day) else idle for day in days), "little")


class Word:
    """A kind that comes again at the wall-clock time of its start."""

    seconds = None
    every_hour = False
    STEPS = {"daily": (1, 0), "weekly": (7, 0), "monthly": (0, 1), "yearly": (0, 12)}

    def __init__(self, word):
        if word in self.STEPS:
            self.days, self.months = self.STEPS[word]
        else:
            _, number, unit = word.split("_")
            self.days, self.months = (int(number), 0) if unit == "days" else (0, int(number))

    def local_minutes(self, first, last, start):
        """All after the start itself, which is no matter of the clock."""
        begin, time = EPOCH + timedelta(days=start // DAY), start % DAY
        bits, number = 0, 1
        while True:
            if self.days:
                day = begin + timedelta(days=self.days * number)
            else:
                month = begin.month - 1 + self.months * number
                year, month = begin.year + month // 12, month % 12 + 1
                for wanted in (begin.day, 30, 29, 28):
                    try:
                        day = date(year, month, min(wanted, begin.day))
                        break
                    except ValueError:
                        continue
            if day >= last:
                return bits
            bits |= 1 << (day - first).days * DAY + time
            number += 1


# --- what the clock shows ---------------------------------------------------------------------------------------------


def offset(zone, minute):
    seconds = datetime.fromtimestamp(minute * 60, zone).utcoffset() // timedelta(seconds=1)
    if seconds % 60:
        raise ValueError(f"{zone} is off by {seconds} s, no whole minutes")
    return seconds // 60


def walk(zone, begin, end, step):
    """Walks time and returns [first minute, minute after the last, offset] of each stretch of even time."""
    stretches = []
    for minute in range(begin, end, step):
        now = offset(zone, minute)
        if not stretches:
            stretches.append([minute, end, now])
        elif now != stretches[-1][2]:
            for finer in range(minute - step + 1, minute + 1):
                now = offset(zone, finer)
                if now != stretches[-1][2]:
                    stretches[-1][1] = finer
                    stretches.append([finer, end, now])
    return stretches


# --- the rule ---------------------------------------------------------------------------------------------------------


class Minutes:
    """A set of minutes from `begin` on, one bit each, of which stretches are cut out and put in."""

    def __init__(self, begin, size, bits=0):
        self.begin = begin
        self.data = bytearray(bits.to_bytes(size // 8 + 2, "little"))

    def cut(self, begin, end):
        """Returns what lies in a stretch, its first minute as lowest bit."""
        begin, end = begin - self.begin, end - self.begin
        data = int.from_bytes(self.data[begin // 8 : end // 8 + 1], "little")
        return data >> begin % 8 & (1 << end - begin) - 1

    def put(self, begin, bits):
        first, rest = divmod(begin - self.begin, 8)
        bits = bits << rest | self.data[first]
        data = bits.to_bytes(bits.bit_length() // 8 + 1, "little")
        self.data[first : first + len(data)] = data

    def bits(self):
        return int.from_bytes(self.data, "little")


def fired(schedule, local, stretches):
    """Returns two sets of minutes: those at their time, and those at the end of a gap."""
    size = stretches[-1][1] - stretches[0][0]
    at_time, after_gap = (Minutes(stretches[0][0], size) for _ in range(2))
    # The next local minute that the clock has never shown; none changes in the first days that are compared.
    shown = stretches[0][0] + stretches[0][2]
    for first, last, ahead in stretches:
        start, end = first + ahead, last + ahead
        if not schedule.every_hour:
            if start > shown and local.cut(shown, start):
                after_gap.put(first, 1)
            start = max(start, shown)
            shown = max(shown, end)
        if start < end:
            at_time.put(start - ahead, local.cut(start, end))
    return at_time.bits(), after_gap.bits()


def ones(bits):
    text = bin(bits)[:1:-1]
    found = text.find("1")
    while found >= 0:
        yield found
        found = text.find("1", found + 1)


class Oracle:
    def __init__(self, lines, year, years):
        self.schedules = [line if line.startswith("every_") and line.endswith(("minutes", "hours"))
                          else Text(line) if " " in line else Word(line) for line in lines]
        first, last = date(year, 1, 1), date(year + years, 1, 1)
        self.begin, self.end = ((day - EPOCH).days * DAY for day in (first, last))
        self.first, self.last = first - timedelta(days=MARGIN), last + timedelta(days=MARGIN)
        self.base = (self.first - EPOCH).days * DAY
        self.cache = {}

    def local(self, number, start):
        schedule = self.schedules[number]
        key = (number, start if isinstance(schedule, Word) else None)
        if key not in self.cache:
            bits = schedule.local_minutes(self.first, self.last, start)
            self.cache[key] = Minutes(self.base, (self.last - self.first).days * DAY, bits)
        return self.cache[key]

    def counted(self, word):
        """Returns each so many minutes of UTC, whatever the zone."""
        if word not in self.cache:
            _, count, unit = word.split("_")
            every = int(count) * (60 if unit == "hours" else 1)
            digits = ["0"] * (self.end - self.begin)
            digits[START - self.begin :: every] = "1" * len(range(START, self.end, every))
            data = bytes(int("".join(digits[at : at + 8])[::-1], 2) for at in range(0, len(digits), 8))
            self.cache[word] = int.from_bytes(data, "little")
        return self.cache[word]

    def firings(self, number, stretches):
        """Returns the firings as a set of minutes and, where the schedule has seconds, as a list of those."""
        schedule = self.schedules[number]
        if isinstance(schedule, str):
            return self.counted(schedule), None
        ahead = next(ahead for first, last, ahead in stretches if first <= START < last)
        local = self.local(number, START + ahead)
        at_time, after_gap = fired(schedule, local, stretches)
        if isinstance(schedule, Word):
            after_gap |= 1 << START - self.begin
        if schedule.seconds is None:
            return at_time | after_gap, None
        seconds = {(self.begin + minute) * 60 + second for minute in ones(at_time) for second in schedule.seconds}
        seconds |= {(self.begin + minute) * 60 for minute in ones(after_gap)}
        return at_time | after_gap, sorted(seconds)

    def digest(self, number, stretches):
        bits, seconds = self.firings(number, stretches)
        if seconds is not None:
            return len(seconds), zlib.crc32(array.array("q", seconds).tobytes())
        return bits.bit_count(), zlib.crc32(bits.to_bytes((self.end - self.begin + 7) // 8, "little"))


def main(folder, schedules, year, years, step="hours", number=None, name=None):
    assert sys.byteorder == "little"
    text = Path(schedules).read_text(encoding="utf-8").splitlines()
    oracle = Oracle([line for line in text if line and not line.startswith("#")], int(year), int(years))
    step = 1 if step == "minute" else 180

    def stretches_of(path):
        with open(path, "rb") as file:
            zone = ZoneInfo.from_file(file)
        return walk(zone, oracle.begin, oracle.end, step)

    if name:
        bits, seconds = oracle.firings(int(number), stretches_of(Path(folder) / name))
        for second in seconds or ((oracle.begin + minute) * 60 for minute in ones(bits)):
            print(second)
        return
    # Zones whose files are the same are one; what two zones' clocks show is worked out once where it is the same.
    walked, digests, lines = {}, {}, []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        data = path.read_bytes()
        if data not in walked:
            walked[data] = tuple(map(tuple, stretches_of(path)))
        stretches = walked[data]
        if stretches not in digests:
            digests[stretches] = [oracle.digest(number, stretches) for number in range(len(oracle.schedules))]
        for number, (count, crc) in enumerate(digests[stretches]):
            lines.append(f"{path.relative_to(folder)} {number} {count} {crc}")
    print("\n".join(lines))
    print(f"{len(walked)} files, {len(digests)} clocks", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
