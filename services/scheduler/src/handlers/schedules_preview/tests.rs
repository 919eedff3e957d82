use super::*;

fn ask(query: &str) -> Reply<SchedulePreview> {
    let call = OperatorCall {
        method: "GET".into(),
        path: format!("/api/v1/schedules/preview?{query}"),
        body: Vec::new(),
        proof: None,
        peer: String::new(),
    };
    preview(&call, "2027-03-28T00:00:00Z".parse().unwrap())
}

fn times(query: &str) -> Vec<String> {
    let answer = ask(query).unwrap();
    answer.items.iter().map(|firing| firing.at.to_string()).collect()
}

#[test]
fn shows_the_next_twenty_from_now_on() {
    let answer = ask("cron=30%202%20*%20*%20*&zone=europe/stockholm").unwrap();
    assert_eq!((answer.items.len(), answer.more), (20, true));
    assert_eq!(
        (answer.schedule.as_str(), answer.zone.as_str()),
        ("cron:30 2 * * *", "Europe/Stockholm")
    );
    let first = &answer.items[0];
    assert_eq!(first.at.to_string(), "2027-03-28T01:00:00.000Z");
    assert_eq!(first.local, "2027-03-28T03:00:00+02:00");
    assert_eq!(first.change.as_deref(), Some("gap"));
    assert!(
        first
            .note
            .as_deref()
            .unwrap()
            .starts_with("2027-03-28 02:30 does not exist")
    );
    assert_eq!((&answer.items[1].change, &answer.items[1].note), (&None, &None));
}

#[test]
fn a_span_holds_its_first_instant_and_not_its_last() {
    let span = "from=2027-01-01T00:00:00Z&until=2027-01-03T00:00:00Z";
    let expected = ["2027-01-01T00:00:00.000Z", "2027-01-02T00:00:00.000Z"];
    assert_eq!(times(&format!("cron=@daily&{span}")), expected);
    assert_eq!(times(&format!("kind=daily&{span}")), expected);
    assert_eq!(
        times(&format!("cron=@daily&{span}&start=2027-01-01T00:00:01Z")),
        expected[1..]
    );
    assert_eq!(
        times(&format!("cron=@daily&{span}&end=2027-01-02T00:00:00Z")),
        expected[..1]
    );
    assert_eq!(
        times("kind=once&start=2027-05-01T00:00:00Z"),
        ["2027-05-01T00:00:00.000Z"]
    );
    assert_eq!(
        times("cron=0%200%201%201%20*&count=1&from=2027-06-01T00:00:00Z"),
        ["2028-01-01T00:00:00.000Z"]
    );
}

#[test]
fn last_month_is_that_of_the_zone() {
    let answer = ask("cron=0%2012%20*%20*%20*&zone=Asia/Tokyo&period=last_month&count=99").unwrap();
    assert_eq!(answer.from.to_string(), "2027-01-31T15:00:00.000Z");
    assert_eq!(answer.until.unwrap().to_string(), "2027-02-28T15:00:00.000Z");
    assert_eq!((answer.items.len(), answer.more), (28, false));
}

#[test]
fn what_is_wrong_has_its_code() {
    for (query, code, part) in [
        ("cron=0%2025%20*%20*%20*", Code::CronInvalid, "field 2, hour"),
        ("cron=x", Code::CronInvalid, "five fields"),
        ("cron=0%200%2030%202%20*", Code::ScheduleNeverFires, "no day ever"),
        (
            "cron=@daily&start=2027-02-01T00:00:00Z&end=2027-01-01T00:00:00Z",
            Code::ScheduleNeverFires,
            "ends before",
        ),
        ("cron=@daily&zone=Mars/Base", Code::ZoneUnknown, "Mars/Base"),
        ("kind=hourly", Code::InvalidField, "every_hour"),
        ("", Code::InvalidField, "cron or by kind"),
        ("cron=@daily&kind=daily", Code::InvalidField, "cron or by kind"),
        ("cron=@daily&count=0", Code::InvalidField, "count"),
        ("cron=@daily&count=1001", Code::InvalidField, "count"),
        ("cron=@daily&from=yesterday", Code::InvalidField, "from"),
        ("cron=@daily&until=2020-01-01T00:00:00Z", Code::InvalidField, "until"),
        ("cron=@daily&period=last_week", Code::InvalidField, "last_month"),
        (
            "cron=@daily&period=last_month&from=2020-01-01T00:00:00Z",
            Code::InvalidField,
            "period",
        ),
    ] {
        let error = ask(query).unwrap_err();
        assert_eq!(error.code, code, "{query}");
        assert!(error.message.contains(part), "{query}: {}", error.message);
    }
}
