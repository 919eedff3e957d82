use super::*;
use chrono::TimeZone as _;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

/// A clock that a test sets; local time is two hours before UTC, so that local and UTC days differ.
#[derive(Clone)]
pub(crate) struct FakeClock(Arc<Mutex<DateTime<FixedOffset>>>);

impl FakeClock {
    pub(crate) fn at(text: &str) -> Self {
        Self(Arc::new(Mutex::new(instant(text))))
    }

    pub(crate) fn set(&self, text: &str) {
        *self.0.lock().unwrap() = instant(text);
    }
}

impl Clock for FakeClock {
    fn now_local(&self) -> DateTime<FixedOffset> {
        *self.0.lock().unwrap()
    }
}

fn instant(text: &str) -> DateTime<FixedOffset> {
    let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    FixedOffset::west_opt(2 * 3600)
        .unwrap()
        .from_local_datetime(&naive)
        .unwrap()
}

struct Case {
    clock: FakeClock,
    logs: TempDir,
}

impl Case {
    fn at(now: &str) -> Self {
        Self {
            clock: FakeClock::at(now),
            logs: TempDir::new().unwrap(),
        }
    }

    fn open(&self) -> LogFile {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<LogFile, LogError> {
        LogFile::open(self.logs.path(), Side::Server, "access", Arc::new(self.clock.clone()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join("Server").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file that was last changed at a local time.
    fn left_behind(&self, name: &str, text: &str, changed: &str) {
        fs::create_dir_all(self.path("")).unwrap();
        fs::write(self.path(name), text).unwrap();
        let file = File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(instant(changed).into()).unwrap();
    }

    /// The names of the logs, without the hidden lock.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }
}

#[test]
fn lines_of_one_day_share_one_private_file() {
    let case = Case::at("2026-03-01 08:00:00");
    let log = case.open();
    log.write_line("one");
    log.write_line("two\n");
    log.write_line("three\r\nfour");
    assert_eq!(case.read("access.log"), "one\ntwo\nthree\r\nfour\n");
    assert_eq!(case.names(), ["access.log"]);
    assert_eq!(log.path(), log_path(case.logs.path(), Side::Server, "access"));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(case.path("access.log")), 0o600);
    assert_eq!(mode(case.path("")), 0o700);
}

#[test]
fn a_folder_that_stood_open_is_closed() {
    let case = Case::at("2026-03-01 08:00:00");
    fs::create_dir(case.path("")).unwrap();
    fs::set_permissions(case.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    case.open();
    assert_eq!(fs::metadata(case.path("")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_folder_that_an_administrator_shares_stays_shared() {
    let case = Case::at("2026-03-01 08:00:00");
    fs::create_dir(case.path("")).unwrap();
    fs::set_permissions(case.path(""), fs::Permissions::from_mode(0o2770)).unwrap();
    case.open();
    assert_eq!(
        fs::metadata(case.path("")).unwrap().permissions().mode() & 0o7777,
        0o2770
    );
    assert_eq!(
        fs::metadata(case.path("access.log")).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn the_side_is_a_folder() {
    let case = Case::at("2026-03-01 08:00:00");
    let log = LogFile::open(case.logs.path(), Side::Agent, "agent", Arc::new(case.clock.clone())).unwrap();
    assert_eq!(log.path(), case.logs.path().join("Agent/agent.log"));
}

#[test]
fn at_midnight_the_file_takes_the_name_of_its_day() {
    let case = Case::at("2026-02-28 23:59:59");
    let log = case.open();
    log.write_line("before");
    case.clock.set("2026-03-01 00:00:00");
    log.write_line("after");
    assert_eq!(case.names(), ["access.log", "access.log.2026-02-28"]);
    assert_eq!(case.read("access.log.2026-02-28"), "before\n");
    assert_eq!(case.read("access.log"), "after\n");
    case.clock.set("2026-03-01 23:59:59");
    log.write_line("same day");
    assert_eq!(case.read("access.log"), "after\nsame day\n");
}

#[test]
fn the_day_is_the_local_one() {
    let case = Case::at("2026-02-28 22:30:00"); // already March in UTC
    let log = case.open();
    log.write_line("before");
    case.clock.set("2026-02-28 23:30:00");
    log.write_line("same day");
    assert_eq!(case.names(), ["access.log"]);
}

#[test]
fn two_skipped_days_leave_no_files() {
    let case = Case::at("2026-03-01 12:00:00");
    let log = case.open();
    log.write_line("first");
    case.clock.set("2026-03-04 12:00:00");
    log.write_line("fourth");
    assert_eq!(case.names(), ["access.log", "access.log.2026-03-01"]);
    assert_eq!(case.read("access.log.2026-03-01"), "first\n");
    assert_eq!(case.read("access.log"), "fourth\n");
}

#[test]
fn a_silent_program_renames_on_a_timer() {
    let case = Case::at("2026-03-01 12:00:00");
    let log = case.open();
    log.write_line("first");
    case.clock.set("2026-03-02 00:00:01");
    log.roll_if_due();
    assert_eq!(case.read("access.log.2026-03-01"), "first\n");
    assert_eq!(case.read("access.log"), "");
    case.clock.set("2026-03-03 00:00:01");
    log.roll_if_due();
    assert_eq!(
        case.names(),
        ["access.log", "access.log.2026-03-01"],
        "an empty file gets no date"
    );
}

#[test]
fn a_restart_over_midnight_renames_first() {
    let case = Case::at("2026-03-02 00:00:05");
    case.left_behind("access.log", "yesterday\n", "2026-03-01 23:59:58");
    let log = case.open();
    log.write_line("today");
    assert_eq!(case.names(), ["access.log", "access.log.2026-03-01"]);
    assert_eq!(case.read("access.log.2026-03-01"), "yesterday\n");
    assert_eq!(case.read("access.log"), "today\n");
}

#[test]
fn a_restart_on_the_same_day_appends() {
    let case = Case::at("2026-03-02 10:00:00");
    case.left_behind("access.log", "one\n", "2026-03-02 00:00:00");
    case.open().write_line("two");
    assert_eq!(case.read("access.log"), "one\ntwo\n");
}

#[test]
fn a_name_that_is_taken_is_appended_to() {
    let case = Case::at("2026-03-01 23:00:00");
    case.left_behind("access.log.2026-03-01", "kept\n", "2026-03-01 12:00:00");
    let log = case.open();
    log.write_line("late");
    case.clock.set("2026-03-02 00:00:00");
    log.write_line("next");
    assert_eq!(case.read("access.log.2026-03-01"), "kept\nlate\n");
    assert_eq!(case.read("access.log"), "next\n");
}

#[test]
fn a_name_that_is_taken_at_start_is_appended_to() {
    let case = Case::at("2026-03-02 00:10:00");
    case.left_behind("access.log", "late\n", "2026-03-01 23:00:00");
    case.left_behind("access.log.2026-03-01", "kept, cut o", "2026-03-01 12:00:00");
    case.open().write_line("next");
    assert_eq!(case.read("access.log.2026-03-01"), "kept, cut o\nlate\n");
    assert_eq!(case.read("access.log"), "next\n");
}

#[test]
fn lines_appended_before_a_crash_are_not_appended_again() {
    let case = Case::at("2026-03-02 00:10:00");
    case.left_behind("access.log", "late\n", "2026-03-01 23:00:00");
    case.left_behind("access.log.2026-03-01", "kept\nlate\n", "2026-03-01 12:00:00");
    case.open();
    assert_eq!(case.read("access.log.2026-03-01"), "kept\nlate\n");
}

#[test]
fn a_clock_set_back_loses_nothing() {
    let case = Case::at("2026-03-02 00:00:01");
    let log = case.open();
    log.write_line("a");
    case.clock.set("2026-03-01 23:59:59");
    log.write_line("b");
    case.clock.set("2026-03-02 00:00:02");
    log.write_line("c");
    case.clock.set("2026-03-03 00:00:00");
    log.write_line("d");
    assert_eq!(case.read("access.log.2026-03-01"), "b\n");
    assert_eq!(case.read("access.log.2026-03-02"), "a\nc\n");
    assert_eq!(case.read("access.log"), "d\n");
}

#[test]
fn a_line_cut_off_by_a_crash_does_not_join_the_next() {
    let case = Case::at("2026-03-02 10:00:00");
    case.left_behind("access.log", "whole\ncut o", "2026-03-02 09:00:00");
    case.open().write_line("next");
    assert_eq!(case.read("access.log"), "whole\ncut o\nnext\n");
}

#[test]
fn a_rename_that_fails_is_tried_again_and_loses_nothing() {
    let case = Case::at("2026-03-01 23:00:00");
    let log = case.open();
    log.write_line("a");
    fs::create_dir(case.path("access.log.2026-03-01")).unwrap(); // nothing can be appended to a folder
    case.clock.set("2026-03-02 00:00:00");
    log.write_line("b");
    assert_eq!(case.read("access.log"), "a\nb\n");
    fs::remove_dir(case.path("access.log.2026-03-01")).unwrap();
    case.clock.set("2026-03-02 00:00:30");
    log.write_line("c");
    assert_eq!(case.read("access.log"), "a\nb\nc\n", "not tried at each line");
    case.clock.set("2026-03-02 00:01:00");
    log.write_line("d");
    assert_eq!(case.read("access.log.2026-03-01"), "a\nb\nc\n");
    assert_eq!(case.read("access.log"), "d\n");
}

#[test]
fn lines_that_the_disk_refused_are_counted() {
    let case = Case::at("2026-03-01 23:00:00");
    let log = case.open();
    {
        let mut state = log.state.lock().unwrap();
        state.file = File::options().append(true).open("/dev/full").unwrap();
    }
    log.write_line("lost");
    log.write_line("lost too");
    {
        let mut state = log.state.lock().unwrap();
        state.file = open_for_append(&case.path("access.log")).unwrap();
    }
    log.write_line("kept");
    let text = case.read("access.log");
    assert!(text.contains("2 lines before this one could not be written"), "{text}");
    assert!(text.ends_with("\nkept\n"), "{text}");
}

#[test]
fn a_log_has_one_owner() {
    let case = Case::at("2026-03-01 23:00:00");
    let log = case.open();
    let error = case.try_open().unwrap_err();
    assert!(
        matches!(error, LogError::Owned { owner: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("access.log is owned by another running process"),
        "{error}"
    );
    drop(log);
    case.open();
}

#[test]
fn a_name_cannot_leave_the_folder() {
    let case = Case::at("2026-03-01 23:00:00");
    for name in ["", "../access", "a/b", "Access", ".hidden", "a b"] {
        let result = LogFile::open(case.logs.path(), Side::Server, name, Arc::new(case.clock.clone()));
        assert!(matches!(result, Err(LogError::Name { .. })), "{name}");
    }
}

#[test]
fn threads_do_not_mix_their_lines() {
    let case = Case::at("2026-03-01 23:59:59");
    let log = case.open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for line in 0..100 {
                    log.write_line(&format!("{thread}-{line}-{}", "x".repeat(200)));
                }
            });
        }
        case.clock.set("2026-03-02 00:00:00");
    });
    let yesterday = fs::read_to_string(case.path("access.log.2026-03-01")).unwrap_or_default();
    let text = yesterday + &fs::read_to_string(case.path("access.log")).unwrap_or_default();
    assert_eq!(text.lines().count(), 800);
    assert!(
        text.lines()
            .all(|line| line.ends_with(&"x".repeat(200)) && line.len() < 210)
    );
}
