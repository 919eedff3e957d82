use super::*;
use crate::pattern::Pattern as _;

fn cron(text: &str) -> Cron {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> CronError {
    text.parse::<Cron>().err().unwrap_or_else(|| panic!("{text} was taken"))
}

/// The first `count` local times from 2027-01-01T00:00:00.
fn times(text: &str, count: usize) -> Vec<String> {
    let (cron, mut from) = (cron(text), 20_819 * 86_400);
    (0..count)
        .map(|_| {
            let found = cron.next_local(from).unwrap();
            from = found + 1;
            crate::civil::text(found)
        })
        .collect()
}

#[test]
fn sunday_is_zero_and_seven_and_friday_is_five() {
    assert_eq!(cron("0 9 * * 0"), cron("0 9 * * 7"));
    assert_eq!(cron("0 9 * * sun"), cron("0 9 * * 7"));
    assert_eq!(cron("0 9 * * 5-7"), cron("0 9 * * FRI,SAT,SUN"));
    assert_eq!(cron("0 9 * * FRI-SUN"), cron("0 9 * * 5-7"));
    // 2027-01-01 is a Friday.
    assert_eq!(times("0 9 * * 5", 2), ["2027-01-01 09:00", "2027-01-08 09:00"]);
}

#[test]
fn lists_ranges_steps_and_names_are_those_of_crontab() {
    assert_eq!(cron("0-59/15 * * * *"), cron("*/15 * * * *"));
    assert_eq!(cron("0 0 1 jan,JUL *"), cron("0 0 1 1,7 *"));
    assert_eq!(cron("0 0 1 mar-may *"), cron("0 0 1 3-5 *"));
    assert_eq!(cron("5,5,4-6/2 * * * *"), cron("4,5,6 * * * *"));
    assert_eq!(cron(" 0\t9  * * 1-5 ").as_str(), "0 9 * * 1-5");
    assert_eq!(
        times("10-30/10 8 * * *", 3),
        ["2027-01-01 08:10", "2027-01-01 08:20", "2027-01-01 08:30"]
    );
    // The step of the weekdays starts at Sunday, and seven does not come twice.
    assert_eq!(cron("0 0 * * */2"), cron("0 0 * * 0,2,4,6"));
}

#[test]
fn a_day_is_due_by_either_day_field_unless_one_begins_with_a_star() {
    // The 13th, and every Friday.
    assert_eq!(
        times("0 3 13 * 5", 4),
        [
            "2027-01-01 03:00",
            "2027-01-08 03:00",
            "2027-01-13 03:00",
            "2027-01-15 03:00"
        ]
    );
    // Fridays of odd number only: the first of these fields begins with a star.
    assert_eq!(
        times("0 3 */2 * 5", 3),
        ["2027-01-01 03:00", "2027-01-15 03:00", "2027-01-29 03:00"]
    );
    assert_eq!(times("0 3 13 * */5", 2), ["2027-06-13 03:00", "2027-08-13 03:00"]);
    assert_eq!(times("0 3 1-31 * 5", 2), ["2027-01-01 03:00", "2027-01-02 03:00"]);
}

#[test]
fn last_days_and_counted_weekdays() {
    assert_eq!(times("0 0 L * *", 2), ["2027-01-31 00:00", "2027-02-28 00:00"]);
    assert_eq!(times("0 0 L-2 2 *", 2), ["2027-02-26 00:00", "2028-02-27 00:00"]);
    assert_eq!(times("0 0 1,L 2 *", 2), ["2027-02-01 00:00", "2027-02-28 00:00"]);
    assert_eq!(times("0 0 * * FRI#2", 2), ["2027-01-08 00:00", "2027-02-12 00:00"]);
    assert_eq!(times("0 0 * * 5#5", 2), ["2027-01-29 00:00", "2027-04-30 00:00"]);
    assert_eq!(times("0 0 * * 5#L", 2), ["2027-01-29 00:00", "2027-02-26 00:00"]);
    assert_eq!(cron("0 0 * * 5L"), cron("0 0 * * FRI#L"));
    assert_eq!(cron("0 0 * * 7#1,mon#1"), cron("0 0 * * 0#1,1#1"));
    assert_eq!(
        times("0 0 * * 1,5#1", 3),
        ["2027-01-01 00:00", "2027-01-04 00:00", "2027-01-11 00:00"]
    );
}

#[test]
fn a_sixth_field_is_seconds_and_comes_first() {
    assert_eq!(times("30 15 2 * * *", 1), ["2027-01-01 02:15:30"]);
    assert_eq!(times("*/20 59 23 31 12 *", 3)[2], "2027-12-31 23:59:40");
}

#[test]
fn words_after_an_at_sign() {
    assert_eq!(cron("@daily"), cron("0 0 * * *"));
    assert_eq!(cron("@Annually").to_string(), "@Annually");
    assert_eq!(cron("@weekly"), cron("0 0 * * 7"));
    assert!(error("@reboot").to_string().contains("no time"));
    assert!(error("@often").to_string().contains("@hourly"));
}

#[test]
fn leap_days_wait_for_their_year() {
    assert_eq!(times("0 0 29 2 *", 2), ["2028-02-29 00:00", "2032-02-29 00:00"]);
    // A fifth Monday in February: 2044 and then 2072.
    assert_eq!(times("0 0 * 2 1#5", 2), ["2044-02-29 00:00", "2072-02-29 00:00"]);
}

#[test]
fn what_no_day_meets_is_refused() {
    for text in [
        "0 0 30 2 *",
        "0 3 31 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 L-30 2,4 *",
        "0 0 L-29 2 *",
    ] {
        assert!(matches!(error(text), CronError::NeverFires { .. }), "{text}");
    }
    assert_eq!(
        error("0 3 31 2 *").to_string(),
        "no day ever meets day of month \"31\" and month \"2\": this would never fire"
    );
    // Either day field: every Monday of February is left.
    assert_eq!(times("0 0 31 2 1", 1), ["2027-02-01 00:00"]);
}

#[test]
fn errors_point_at_the_field() {
    let CronError::Field {
        field,
        number,
        column,
        text,
        reason,
    } = error("0  25 * * *")
    else {
        panic!("another error");
    };
    assert_eq!((field, number, column, text.as_str()), (Field::Hour, 2, 3, "25"));
    assert_eq!(reason, "has 25, which is not between 0 and 23");
    assert_eq!(
        error("0  25 * * *").to_string(),
        "field 2, hour: \"25\" has 25, which is not between 0 and 23"
    );

    for (text, field, part) in [
        ("60 * * * *", "minute", "not between 0 and 59"),
        ("60 0 * * * *", "second", "not between 0 and 59"),
        ("* * 0 * *", "day-of-month", "not between 1 and 31"),
        ("* * * 13 *", "month", "not between 1 and 12"),
        (
            "* * * FOO *",
            "month",
            "neither a number from 1 to 12 nor a name as FEB",
        ),
        ("* * * * 8", "weekday", "not between 0 and 7"),
        ("* * * * MON#6", "weekday", "fifth (#5)"),
        ("* * * * MON#0", "weekday", "first (#1)"),
        ("* * * * L", "weekday", "FRI#L"),
        ("* * ? * *", "day-of-month", "write *"),
        ("* * 15W * *", "day-of-month", "not known here"),
        ("* * L-31 * *", "day-of-month", "L-1 to L-30"),
        ("H * * * *", "minute", "write a number"),
        ("* 22-2 * * *", "hour", "write 22-23,0-2"),
        ("5/15 * * * *", "minute", "write 5-59/…"),
        ("*/0 * * * *", "minute", "between 1 and 60"),
        ("*/61 * * * *", "minute", "between 1 and 60"),
        ("*/-1 * * * *", "minute", "between 1 and 60"),
        ("1,,2 * * * *", "minute", "empty part"),
        ("1- * * * *", "minute", "empty part"),
        ("-1 * * * *", "minute", "empty part"),
        ("+1 * * * *", "minute", "no number"),
        ("1.5 * * * *", "minute", "no number"),
        ("* * * * *\n", "weekday", "neither a number"),
        ("* * * * ＭＯＮ", "weekday", "neither a number"),
        ("99999999999999999999 * * * *", "minute", "no number"),
    ] {
        let told = error(text).to_string();
        assert!(told.contains(&format!(", {field}: ")), "{text}: {told}");
        assert!(told.contains(part), "{text}: {told}");
    }
    assert_eq!(error("* * * *"), CronError::Fields(4));
    assert_eq!(error(""), CronError::Fields(0));
    assert_eq!(error("0 0 0 1 1 * 2027"), CronError::Fields(7));
    assert!(error("TZ=UTC 0 0 * * *").to_string().contains("said apart"));
    assert_eq!(error(&"1,".repeat(600)), CronError::TooLong);
}

#[test]
fn only_the_hour_decides_what_is_hourly() {
    for (text, hourly) in [
        ("*/15 * * * *", true),
        ("0 * * * 5", true),
        ("0 0-23 * * *", true),
        ("0 */1 * * *", true),
        ("0 */2 * * *", false),
        ("* 2 * * *", false),
        ("0 0 * * *", false),
    ] {
        assert_eq!(cron(text).is_hourly(), hourly, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn reading_never_fails_otherwise_than_by_an_error(text in "[0-9*,/#LA-z@ \t?-]{0,40}") {
        let _ = text.parse::<Cron>();
    }

    #[test]
    fn looking_back_and_counting_agree_with_looking_forward(
        minute in 0..60u8, hours in "(\\*|[0-9]|\\*/5|7-9)", day in "(\\*|L|[1-9]|\\*/7|29)",
        month in "(\\*|[1-9]|2)", weekday in "(\\*|[0-7]|[1-5]#[1-5]|3#L)", from in -1_000_000_000..4_000_000_000_i64,
    ) {
        let cron = cron(&format!("{minute} {hours} {day} {month} {weekday}"));
        let first = cron.next_local(from).unwrap();
        let second = cron.next_local(first + 1).unwrap();
        proptest::prop_assert!(from <= first && first < second);
        proptest::prop_assert_eq!(cron.previous_local(second - 1), Some(first));
        proptest::prop_assert_eq!(cron.previous_local(second), Some(second));
        proptest::prop_assert_eq!(cron.count_local(from, second + 1), 2);
        proptest::prop_assert_eq!(cron.count_local(first + 1, second), 0);
    }
}
