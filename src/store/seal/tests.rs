//! Sealed bytes open with their key and in their place, and nowhere else.

use proptest::prelude::*;

use super::*;

const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const B: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

fn place() -> Place<'static> {
    Place::numbered("contents", 7).piece(0, 3)
}

#[test]
fn what_is_sealed_opens_in_its_place_only() {
    let seal = Seal::of_text(A).unwrap();
    let sealed = seal.seal(&place(), b"a mail").unwrap();
    assert_eq!(sealed.len(), 6 + OVERHEAD);
    assert_eq!(**seal.open(&place(), &sealed).unwrap(), *b"a mail");
    for elsewhere in [
        Place::numbered("contents", 8).piece(0, 3),
        Place::numbered("contents", 7).piece(0, 4),
        Place::numbered("contents", 7).piece(1, 3),
        Place::numbered("submission_pieces", 7).piece(0, 3),
        Place::named("contents", "07").piece(0, 3),
    ] {
        assert_eq!(seal.open(&elsewhere, &sealed).unwrap_err(), SealError::Damaged, "{elsewhere:?}");
    }
}

#[test]
fn the_same_bytes_are_sealed_differently_every_time() {
    let seal = Seal::of_text(A).unwrap();
    assert_ne!(seal.seal(&place(), b"a mail").unwrap(), seal.seal(&place(), b"a mail").unwrap());
}

#[test]
fn the_first_key_seals_and_all_open() {
    let (old, new) = (Seal::of_text(A).unwrap(), Seal::of_text(&format!("{B} # new\n\n# old\n{A}")).unwrap());
    let sealed = old.seal(&place(), b"a mail").unwrap();
    assert_eq!(**new.open(&place(), &sealed).unwrap(), *b"a mail");
    let sealed = new.seal(&place(), b"a mail").unwrap();
    assert_eq!(old.open(&place(), &sealed).unwrap_err(), SealError::UnknownKey(new.sealing()));
    assert_eq!(open_bytes(None, &place(), sealed).unwrap_err(), SealError::UnknownKey(new.sealing()));
    assert!(new.holds(old.sealing()) && !old.holds(new.sealing()));
}

#[test]
fn a_key_that_another_replica_was_given_first_is_found_in_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), A).unwrap();
    let seal = Seal::of_file(file.path()).unwrap();
    let sealed = Seal::of_text(B).unwrap().seal(&place(), b"a mail").unwrap();
    assert!(matches!(seal.open(&place(), &sealed), Err(SealError::UnknownKey(_))));
    std::fs::write(file.path(), format!("{A}\n{B}\n")).unwrap();
    assert_eq!(**seal.open(&place(), &sealed).unwrap(), *b"a mail");
    std::fs::write(file.path(), "torn").unwrap();
    assert!(seal.refresh().unwrap_err().contains("line 1 "));
    assert_eq!(**seal.open(&place(), &sealed).unwrap(), *b"a mail", "what was read before holds");
}

#[test]
fn of_many_who_meet_a_new_key_at_once_each_finds_it() {
    const READERS: usize = 6;
    let file = tempfile::NamedTempFile::new().unwrap();
    let sealed = Seal::of_text(B).unwrap().seal(&place(), b"a mail").unwrap();
    for round in 0..200 {
        std::fs::write(file.path(), A).unwrap();
        let seal = Seal::of_file(file.path()).unwrap();
        std::fs::write(file.path(), format!("{A}\n{B}\n")).unwrap();
        let together = std::sync::Barrier::new(READERS);
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    together.wait();
                    assert_eq!(**seal.open(&place(), &sealed).unwrap(), *b"a mail", "round {round}");
                });
            }
        });
    }
}

#[test]
fn a_file_that_is_no_key_says_which_line_and_shows_nothing_of_it() {
    for (text, says) in [
        ("", "no key is in it"),
        ("# a comment\n", "no key is in it"),
        ("AAECAwQF", "line 1 holds 6 bytes"),
        (&format!("{A}\nhunter2!"), "line 2 is neither base64 nor hexadecimal"),
        (&format!("{A}\n\n{A}"), "line 3 is the key of line 1 once more"),
        (&"00".repeat(32), "line 1 is one byte over and over"),
        (&B[2..], "line 1 is neither base64 nor hexadecimal"),
    ] {
        let said = Seal::of_text(text).unwrap_err();
        assert!(said.contains(says), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("AAEC"), "{said}");
    }
    let missing = Seal::of_file(Path::new("/nowhere/key")).unwrap_err();
    assert!(missing.starts_with("/nowhere/key: "), "{missing}");
}

#[test]
fn keys_are_read_as_base64_with_or_without_padding_and_as_hexadecimal() {
    let ids: Vec<KeyId> =
        [A, A.trim_end_matches('='), "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"]
            .iter()
            .map(|text| Seal::of_text(text).unwrap().sealing())
            .collect();
    assert!(ids.iter().all(|it| *it == ids[0]));
    assert_eq!(ids[0].to_string().parse(), Ok(ids[0]));
}

#[test]
fn text_that_is_not_sealed_is_read_as_it_is() {
    let seal = Seal::of_text(A).unwrap();
    let sealed = seal.seal_text(&place(), "https://upload").unwrap();
    assert!(sealed.starts_with(SEALED_TEXT) && !sealed.contains("upload"));
    assert_eq!(open_text(Some(&seal), &place(), sealed.clone()).unwrap(), "https://upload");
    assert!(matches!(open_text(None, &place(), sealed), Err(SealError::UnknownKey(_))));
    assert_eq!(open_text(None, &place(), "https://upload".into()).unwrap(), "https://upload");
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", Seal::of_text(A).unwrap()), "Seal(…)");
}

proptest! {
    #[test]
    fn whatever_is_sealed_comes_back(plain: Vec<u8>, row: String, file: i64, seq: i64) {
        let seal = Seal::of_text(A).unwrap();
        let place = Place::named("grants", &row).piece(file, seq);
        let sealed = seal.seal(&place, &plain).unwrap();
        prop_assert_eq!(&**seal.open(&place, &sealed).unwrap(), &plain[..]);
    }

    #[test]
    fn no_changed_byte_goes_unseen(at: prop::sample::Index, flip in 1_u8..) {
        let seal = Seal::of_text(A).unwrap();
        let mut sealed = seal.seal(&place(), b"a mail").unwrap();
        *at.get_mut(&mut sealed) ^= flip;
        prop_assert!(seal.open(&place(), &sealed).is_err());
    }

    #[test]
    fn nothing_that_is_no_seal_panics(bytes: Vec<u8>, text: String) {
        prop_assert!(Seal::of_text(A).unwrap().open(&place(), &bytes).is_err());
        prop_assert!(!text.is_ascii() || Seal::of_text(&text).is_err() || text.len() > 40);
    }
}
