use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(kind: &str, zone: &str, start: &str) -> Schedule {
    Schedule::new(kind.parse().unwrap(), Zone::named(zone).unwrap(), at(start), None).unwrap()
}

/// The firings in a span, as the zone's clock shows them.
fn shown(kind: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let schedule = schedule(kind, zone, from);
    schedule
        .between(at(from), at(until))
        .map(|due| schedule.describe(due).local)
        .collect()
}

#[test]
fn a_time_in_a_gap_fires_once_right_after_it() {
    for (cron, expected) in [
        ("30 2 * * *", vec!["2027-03-28T03:00:00+02:00"]),
        ("0,30 2 * * *", vec!["2027-03-28T03:00:00+02:00"]),
        ("* 2 * * *", vec!["2027-03-28T03:00:00+02:00"]),
        (
            "*/30 2,3 * * *",
            vec!["2027-03-28T03:00:00+02:00", "2027-03-28T03:30:00+02:00"],
        ),
        ("20 30 2 * * *", vec!["2027-03-28T03:00:00+02:00"]),
    ] {
        let found = shown(
            &format!("cron:{cron}"),
            "Europe/Stockholm",
            "2027-03-28T00:00:00Z",
            "2027-03-28T22:00:00Z",
        );
        assert_eq!(found, expected, "{cron}");
    }
    let cairo = shown(
        "cron:0 0 * * *",
        "Africa/Cairo",
        "2027-04-29T00:00:00Z",
        "2027-05-01T00:00:00Z",
    );
    assert_eq!(cairo, ["2027-04-30T01:00:00+03:00", "2027-05-01T00:00:00+03:00"]);
    // A day that an island never had.
    let apia = shown(
        "cron:0 9 * * *",
        "Pacific/Apia",
        "2011-12-29T00:00:00Z",
        "2012-01-01T00:00:00Z",
    );
    assert_eq!(
        apia,
        [
            "2011-12-29T09:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T09:00:00+14:00",
            "2012-01-01T09:00:00+14:00"
        ]
    );
}

#[test]
fn a_time_that_comes_twice_fires_the_first_time() {
    let stockholm = shown(
        "cron:30 2 * * *",
        "Europe/Stockholm",
        "2027-10-30T23:00:00Z",
        "2027-10-31T23:00:00Z",
    );
    assert_eq!(stockholm, ["2027-10-31T02:30:00+02:00"]);
    let howe = shown(
        "cron:45 1 * * *",
        "Australia/Lord_Howe",
        "2027-04-03T13:00:00Z",
        "2027-04-04T13:00:00Z",
    );
    assert_eq!(howe, ["2027-04-04T01:45:00+11:00"]);
    let even = shown(
        "cron:0 */2 * * *",
        "Europe/Stockholm",
        "2027-10-30T22:00:00Z",
        "2027-10-31T04:00:00Z",
    );
    assert_eq!(
        even,
        [
            "2027-10-31T00:00:00+02:00",
            "2027-10-31T02:00:00+02:00",
            "2027-10-31T04:00:00+01:00"
        ]
    );
}

#[test]
fn what_admits_every_hour_keeps_to_the_clock() {
    let hours = shown(
        "cron:0 * * * *",
        "Europe/Stockholm",
        "2027-10-30T23:00:00Z",
        "2027-10-31T03:00:00Z",
    );
    assert_eq!(
        hours,
        [
            "2027-10-31T01:00:00+02:00",
            "2027-10-31T02:00:00+02:00",
            "2027-10-31T02:00:00+01:00",
            "2027-10-31T03:00:00+01:00"
        ]
    );
    let quarters = shown(
        "cron:*/15 * * * *",
        "Europe/Stockholm",
        "2027-03-28T00:45:00Z",
        "2027-03-28T01:16:00Z",
    );
    assert_eq!(
        quarters,
        [
            "2027-03-28T01:45:00+01:00",
            "2027-03-28T03:00:00+02:00",
            "2027-03-28T03:15:00+02:00"
        ]
    );
}

#[test]
fn a_day_that_comes_back_for_an_hour_is_not_passed_over() {
    // At midnight Beirut's clocks go back to 23:00 of the day before, the last one of the month that is named.
    let found = shown(
        "cron:20 * 30 10 *",
        "Asia/Beirut",
        "2027-10-30T19:00:00Z",
        "2027-11-30T00:00:00Z",
    );
    assert_eq!(
        found,
        [
            "2027-10-30T22:20:00+03:00",
            "2027-10-30T23:20:00+03:00",
            "2027-10-30T23:20:00+02:00"
        ]
    );
    let schedule = schedule("cron:20 * 30 10 *", "Asia/Beirut", "2027-01-01T00:00:00Z");
    assert_eq!(
        schedule.previous(at("2027-12-01T00:00:00Z")),
        Some(at("2027-10-30T21:20:00Z"))
    );
}

#[test]
fn notes_say_what_the_clock_has_to_do_with_it() {
    let note = |cron: &str, from: &str| {
        let schedule = schedule(&format!("cron:{cron}"), "Europe/Stockholm", from);
        let due = schedule.next_after(at(from)).unwrap();
        schedule
            .describe(due)
            .note
            .map(|note| (note.as_str(), note.to_string()))
    };
    assert_eq!(
        note("30 2 * * *", "2027-03-28T00:00:00Z").unwrap(),
        (
            "gap",
            "2027-03-28 02:30 does not exist: the clock goes from 02:00 to 03:00; fires right after".to_owned()
        )
    );
    assert_eq!(note("30 2 * * *", "2027-10-31T00:00:00Z").unwrap().0, "overlap_first");
    assert_eq!(note("30 * * * *", "2027-10-31T00:45:00Z").unwrap().0, "overlap_again");
    for quiet in ["2027-03-27T00:00:00Z", "2027-03-28T02:00:00Z", "2027-10-31T02:00:00Z"] {
        assert_eq!(note("30 2 * * *", quiet), None, "{quiet}");
    }
    assert_eq!(note("0 3 * * *", "2027-03-28T00:00:00Z"), None);
    assert_eq!(note("0 3 * * *", "2027-10-31T00:00:00Z"), None);
    assert_eq!(note("30 1 * * *", "2027-10-30T23:00:00Z"), None);
}

#[test]
fn kinds_of_the_calendar_keep_their_time_on_the_wall() {
    let days = shown(
        "daily",
        "Europe/Stockholm",
        "2027-03-27T01:30:00Z",
        "2027-03-30T00:00:00Z",
    );
    assert_eq!(
        days,
        [
            "2027-03-27T02:30:00+01:00",
            "2027-03-28T03:00:00+02:00",
            "2027-03-29T02:30:00+02:00"
        ]
    );
    let weeks = shown(
        "weekly",
        "Europe/Stockholm",
        "2027-10-24T00:30:00Z",
        "2027-11-08T00:00:00Z",
    );
    assert_eq!(
        weeks,
        [
            "2027-10-24T02:30:00+02:00",
            "2027-10-31T02:30:00+02:00",
            "2027-11-07T02:30:00+01:00"
        ]
    );
    let months = shown("monthly", "UTC", "2027-12-31T10:00:00Z", "2028-05-01T00:00:00Z");
    assert_eq!(
        months,
        [
            "2027-12-31T10:00:00+00:00",
            "2028-01-31T10:00:00+00:00",
            "2028-02-29T10:00:00+00:00",
            "2028-03-31T10:00:00+00:00",
            "2028-04-30T10:00:00+00:00"
        ]
    );
    let years = shown("yearly", "UTC", "2028-02-29T00:00:00Z", "2033-01-01T00:00:00Z");
    assert_eq!(years.len(), 5);
    assert_eq!(
        years[1..4],
        [
            "2029-02-28T00:00:00+00:00",
            "2030-02-28T00:00:00+00:00",
            "2031-02-28T00:00:00+00:00"
        ]
    );
    assert_eq!(years[4], "2032-02-29T00:00:00+00:00");
}

#[test]
fn intervals_count_real_minutes_from_their_start() {
    let hours = shown(
        "every_2_hours",
        "Europe/Stockholm",
        "2027-03-27T23:10:00Z",
        "2027-03-28T04:00:00Z",
    );
    assert_eq!(
        hours,
        [
            "2027-03-28T00:10:00+01:00",
            "2027-03-28T03:10:00+02:00",
            "2027-03-28T05:10:00+02:00"
        ]
    );
    let schedule = schedule("every_5_minutes", "UTC", "2027-01-01T00:00:00.250Z");
    assert_eq!(
        schedule.next_after(at("2027-01-01T00:00:00.250Z")),
        Some(at("2027-01-01T00:05:00.250Z"))
    );
    assert_eq!(
        schedule.next_after(at("2020-01-01T00:00:00Z")),
        Some(at("2027-01-01T00:00:00.250Z"))
    );
    assert_eq!(
        schedule.previous(at("2027-01-01T00:05:00.250Z")),
        Some(at("2027-01-01T00:00:00.250Z"))
    );
    assert_eq!(schedule.previous(at("2027-01-01T00:00:00.250Z")), None);
}

#[test]
fn once_and_immediately_are_due_at_their_start_alone() {
    for kind in ["once", "immediately"] {
        let schedule = schedule(kind, "UTC", "2027-01-01T00:00:00.5Z");
        let start = schedule.start();
        assert_eq!(schedule.next_after(start.plus_ms(-1)), Some(start));
        assert_eq!(schedule.next_after(start), None);
        assert_eq!(schedule.previous(start), None);
        assert_eq!(schedule.previous(start.plus_ms(1)), Some(start));
        assert_eq!(schedule.count_between(start, start.plus_ms(1)), 1);
        assert_eq!(schedule.count_between(start.plus_ms(1), start.plus_ms(9)), 0);
    }
}

#[test]
fn nothing_is_due_before_the_start_or_at_the_end() {
    let kind: Kind = "cron:0 0 * * *".parse().unwrap();
    let (start, end) = (at("2027-01-02T00:00:00Z"), at("2027-01-04T00:00:00Z"));
    let schedule = Schedule::new(kind.clone(), Zone::utc(), start, Some(end)).unwrap();
    let found: Vec<_> = schedule.due_after(at("2020-01-01T00:00:00Z")).collect();
    assert_eq!(found, [start, at("2027-01-03T00:00:00Z")]);
    assert_eq!(
        schedule.previous(at("2030-01-01T00:00:00Z")),
        Some(at("2027-01-03T00:00:00Z"))
    );
    assert_eq!(schedule.previous(start), None);
    assert_eq!(
        schedule.count_between(at("2020-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z")),
        2
    );
    assert_eq!(
        Schedule::new(kind, Zone::utc(), end, Some(end)),
        Err(ScheduleError::EndsFirst)
    );
}

#[test]
fn a_start_in_the_second_pass_of_an_overlap_is_kept() {
    // 02:30 the second time.
    let schedule = schedule("daily", "Europe/Stockholm", "2027-10-31T01:30:00Z");
    let found: Vec<_> = schedule.due_after(at("2027-10-01T00:00:00Z")).take(2).collect();
    assert_eq!(found, [at("2027-10-31T01:30:00Z"), at("2027-11-01T01:30:00Z")]);
    assert_eq!(
        schedule.previous(at("2027-11-01T01:30:00Z")),
        Some(at("2027-10-31T01:30:00Z"))
    );
}

#[test]
fn the_years_1_and_9999_are_the_ends() {
    for (cron, zone) in [
        ("30 2 * * *", "Europe/Stockholm"),
        ("*/5 * * * *", "Pacific/Apia"),
        ("0 0 29 2 1#5", "UTC"),
    ] {
        let schedule = schedule(&format!("cron:{cron}"), zone, "0001-01-01T00:00:00Z");
        assert!(schedule.next_after(Timestamp::from_unix_ms(i64::MIN)).is_some());
        assert_eq!(schedule.next_after(Timestamp::from_unix_ms(i64::MAX)), None);
        assert_eq!(schedule.previous(Timestamp::from_unix_ms(i64::MIN)), None);
        assert!(schedule.previous(Timestamp::from_unix_ms(i64::MAX)).is_some());
        assert!(schedule.count_between(Timestamp::from_unix_ms(i64::MIN), Timestamp::from_unix_ms(i64::MAX)) > 90);
    }
}

#[test]
fn what_counts_minutes_ends_with_the_year_9999_too() {
    let schedule = schedule("every_6_hours", "UTC", "9999-12-28T00:00:00Z");
    let all: Vec<_> = schedule.due_after(Timestamp::from_unix_ms(0)).collect();
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(all.last().unwrap().to_string(), "9999-12-29T00:00:00.000Z");
    let ever = Timestamp::from_unix_ms(i64::MAX / 2);
    assert_eq!(schedule.count_between(Timestamp::from_unix_ms(0), ever), 5);
}

#[test]
fn kinds_have_their_words() {
    for word in [
        "immediately",
        "once",
        "every_5_minutes",
        "every_10_minutes",
        "every_15_minutes",
        "every_30_minutes",
        "every_hour",
        "every_6_hours",
        "daily",
        "every_2_days",
        "weekly",
        "every_2_weeks",
        "monthly",
        "every_3_months",
        "yearly",
        "every_2_years",
        "cron:0 9 * * 5",
    ] {
        assert_eq!(word.parse::<Kind>().unwrap().to_string(), word);
    }
    for word in [
        "",
        "hourly",
        "every_0_minutes",
        "every_-1_days",
        "every_10001_days",
        "every_x_days",
        "every_2_moons",
    ] {
        assert!(matches!(word.parse::<Kind>(), Err(ScheduleError::Kind(_))), "{word}");
    }
    assert!(matches!("cron:x".parse::<Kind>(), Err(ScheduleError::Cron(_))));
}

proptest::proptest! {
    #[test]
    fn previous_and_count_agree_with_next(
        kind in 0..9usize, zone in 0..6usize, start in 0..4_000_000_000_i64, from in 0..4_000_000_000_i64,
    ) {
        let kind = ["cron:30 2 * * *", "cron:*/20 * * * *", "cron:0 */3 L * 1#1", "cron:59 23 * * 6", "daily",
            "every_2_weeks", "monthly", "every_7_minutes", "cron:10,20 15 1 * * *"][kind];
        let zone = ["Europe/Stockholm", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "America/Santiago"][zone];
        let schedule = Schedule::new(
            kind.parse().unwrap(), Zone::named(zone).unwrap(), Timestamp::from_unix_ms(start * 1000 + start % 7), None).unwrap();
        let from = Timestamp::from_unix_ms(from * 1000 + from % 3);
        let found: Vec<_> = schedule.due_after(from).take(60).collect();
        proptest::prop_assert!(found.is_sorted() && found[0] > from);
        for pair in found.windows(2) {
            proptest::prop_assert_eq!(schedule.next_after(pair[0]), Some(pair[1]));
            proptest::prop_assert_eq!(schedule.previous(pair[1]), Some(pair[0]));
            proptest::prop_assert_eq!(schedule.previous(pair[0].plus_ms(1)), Some(pair[0]));
            proptest::prop_assert_eq!(schedule.next_after(pair[1].plus_ms(-1)), Some(pair[1]));
        }
        for (index, due) in found.iter().enumerate() {
            proptest::prop_assert_eq!(schedule.count_between(found[0], *due), index as u64);
        }
    }
}
