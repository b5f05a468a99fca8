//! When each credential is worth an exchange, and what is told of it, second by second.

use super::*;
use crate::model::secret::Secret;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn credentials(first: &std::path::Path) -> Credentials {
    let configured = [
        CredentialConfig::ClientSecret {
            secret: None,
            secret_file: Some(first.to_path_buf()),
            expires: "1970-01-31".parse().ok(),
        },
        CredentialConfig::ClientSecret { secret: Some(Secret::new("second")), secret_file: None, expires: None },
    ];
    Credentials::new(&configured, &|_| None).unwrap()
}

fn candidate(credentials: &mut Credentials, index: usize, now: UnixMillis) -> Candidate {
    credentials.candidates(now).into_iter().find(|it| it.index == index).unwrap()
}

fn refuse(credentials: &mut Credentials, index: usize, now: UnixMillis) {
    let candidate = candidate(credentials, index, now);
    credentials.refused(&candidate, Some(7_000_222), "expired".into(), now);
}

fn accept(credentials: &mut Credentials, index: usize, now: UnixMillis) -> bool {
    let candidate = candidate(credentials, index, now);
    credentials.accepted(&candidate, now)
}

fn indices(candidates: Vec<Candidate>) -> Vec<usize> {
    candidates.into_iter().map(|it| it.index).collect()
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn a_refused_credential_is_tried_again_after_an_hour_or_when_it_was_replaced() {
    let file = file("first");
    let mut credentials = credentials(file.path());
    assert_eq!(indices(credentials.candidates(0)), [0, 1]);
    refuse(&mut credentials, 0, 0);
    assert_eq!(indices(credentials.candidates(1000)), [1]);
    assert_eq!(indices(credentials.candidates(HOUR)), [0, 1]);
    assert!(!credentials.changed(1000));
    std::fs::write(file.path(), "rotated").unwrap();
    assert!(!credentials.changed(1500), "looked at once a second at most");
    assert!(credentials.changed(2000));
    assert_eq!(indices(credentials.candidates(2000)), [0, 1]);
}

#[test]
fn when_all_are_refused_all_are_tried() {
    let file = file("first");
    let mut credentials = credentials(file.path());
    refuse(&mut credentials, 0, 0);
    refuse(&mut credentials, 1, 0);
    assert_eq!(indices(credentials.candidates(1000)), [0, 1]);
    assert_eq!(credentials.complaints(), "credential 1: expired; credential 2: expired");
}

#[test]
fn who_is_in_use_changes_only_when_another_takes_over() {
    let mut credentials = credentials(file("first").path());
    assert!(accept(&mut credentials, 1, 5));
    assert!(!accept(&mut credentials, 1, 9));
    assert_eq!(credentials.in_use(), Some(InUse { index: 1, since: 5 }));
}

#[test]
fn a_spare_is_tried_daily_a_refused_one_hourly_and_a_replaced_one_at_once() {
    let file = file("first");
    let mut credentials = credentials(file.path());
    assert_eq!(indices(credentials.due_for_trial(0)), [0; 0], "none serves yet: a renewal tries them all");
    accept(&mut credentials, 0, 0);
    assert_eq!(indices(credentials.due_for_trial(0)), [1], "a spare nobody has tried");
    let spare = candidate(&mut credentials, 1, 0);
    credentials.not_tried(&spare, 0);
    assert_eq!(indices(credentials.due_for_trial(899_999)), [0; 0]);
    assert_eq!(indices(credentials.due_for_trial(900_000)), [1], "Entra could not be asked");
    credentials.tried(&spare, 900_000);
    assert_eq!(indices(credentials.due_for_trial(899_999 + DAY)), [0; 0]);
    assert_eq!(indices(credentials.due_for_trial(900_000 + DAY)), [1]);
    assert_eq!(indices(credentials.due_for_trial(899_999)), [1], "a clock that was set back puts nothing off");
    refuse(&mut credentials, 1, 2 * DAY);
    assert_eq!(indices(credentials.due_for_trial(2 * DAY + HOUR - 1)), [0; 0]);
    assert_eq!(indices(credentials.due_for_trial(2 * DAY + HOUR)), [1]);
    std::fs::write(file.path(), "rotated").unwrap();
    assert_eq!(indices(credentials.due_for_trial(2 * DAY + 1)), [0], "the one in use was replaced");
}

#[test]
fn an_end_that_comes_near_is_told_once_for_each_day_of_warning() {
    let mut credentials = credentials(file("first").path());
    let days = |news: Vec<News>| -> Vec<i64> {
        let days = news.into_iter().map(|it| match it {
            News::Expires { index: 0, days, .. } => days,
            other => panic!("{other:?}"),
        });
        days.collect()
    };
    // The end is the beginning of day 30.
    for (now, expected) in [
        (-DAY, &[][..]),
        (0, &[30]),
        (DAY, &[]),
        (16 * DAY, &[14]),
        (17 * DAY, &[]),
        (23 * DAY, &[7]),
        (29 * DAY, &[1]),
        (29 * DAY + HOUR, &[]),
        (30 * DAY, &[0]),
        (90 * DAY, &[]),
    ] {
        assert_eq!(days(credentials.look(now)), expected, "{now}");
    }
}

#[test]
fn a_secret_that_is_replaced_has_no_known_day_and_an_unusable_one_is_told_of_once() {
    let file = file("first");
    let mut credentials = credentials(file.path());
    assert_eq!(credentials.look(-DAY), []);
    std::fs::write(file.path(), "second").unwrap();
    assert_eq!(credentials.look(29 * DAY), [News::Replaced { index: 0, day_unknown: true }]);
    assert_eq!(credentials.states()[0].expires_at, None);
    std::fs::write(file.path(), "").unwrap();
    let news = credentials.look(29 * DAY);
    let [News::Trouble { index: 0, trouble }] = &news[..] else { panic!("{news:?}") };
    assert!(trouble.contains("empty"), "{trouble}");
    assert_eq!(credentials.look(29 * DAY), []);
    let Ok(Proof::Secret(kept)) = candidate(&mut credentials, 0, 0).proof else { panic!() };
    assert_eq!(kept.expose(), "second", "what was read before stays in service");
    std::fs::write(file.path(), "second").unwrap();
    assert_eq!(credentials.look(29 * DAY), []);
    assert_eq!(credentials.states()[0].trouble, None);
}

#[test]
fn no_secret_shows_in_debug() {
    let mut credentials = credentials(file("first").path());
    refuse(&mut credentials, 1, 0);
    let shown = format!("{credentials:?}");
    assert!(!shown.contains("second") && !shown.contains("\"first"), "{shown}");
}
