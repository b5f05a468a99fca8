//! Lifting, held against a reader that holds everything: the same JSON is left, the same bytes are lifted, and nothing
//! is let through that is no JSON.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, Engine};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::lift::{Content, Lift, PIECE, Piece, TooMuch, WHOLE};

type Lifted = (Vec<u8>, BTreeMap<usize, Content>, Vec<Piece>);

/// What is left and lifted of a document that comes in pieces of these sizes, in turn.
fn lifted(document: &[u8], sizes: &[usize]) -> Result<Lifted, TooMuch> {
    let (mut lift, mut pieces, mut at) = (Lift::default(), Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let end = document.len().min(at + size.max(&1));
        lift.pass(&document[at..end], &mut pieces)?;
        at = end;
        if at == document.len() {
            break;
        }
    }
    let (left, contents) = lift.finish();
    Ok((left, contents, pieces))
}

/// What a text means as base64, by another way than the one that is tested.
fn meant(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|it| !" \n\r\t".contains(*it)).collect();
    let letters = text.trim_end_matches('=');
    let plain: String = letters
        .chars()
        .map(|it| {
            if it == '-' {
                '+'
            } else if it == '_' {
                '/'
            } else {
                it
            }
        })
        .collect();
    // Bits that mean nothing are cut off by the next letters: three more make any rest whole.
    let rest = plain.len() % 4;
    if rest == 1 || text.len() - letters.len() > 2 {
        return None;
    }
    let padded = if rest == 0 { plain.clone() } else { format!("{plain}{}", &"AAA"[..4 - rest]) };
    let mut bytes = BASE64_STANDARD_NO_PAD.decode(padded).ok()?;
    bytes.truncate(plain.len() * 3 / 4);
    Some(bytes)
}

/// Lifts everything out of a document that is held whole.
fn by_hand(mut document: Value) -> (Value, BTreeMap<usize, Option<Vec<u8>>>) {
    let mut contents = BTreeMap::new();
    for (at, file) in document.get_mut("attachments").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
        if let Some(Value::String(text)) = file.as_object_mut().and_then(|it| it.get_mut("content")) {
            contents.insert(at, meant(text));
            text.clear();
        }
    }
    (document, contents)
}

fn whole(contents: BTreeMap<usize, Content>) -> BTreeMap<usize, Option<Vec<u8>>> {
    let bytes = |it| match it {
        Content::Whole(bytes) => Some(bytes.to_vec()),
        Content::HandedOn(_) => panic!("a small file was handed on"),
        Content::Unreadable(_) => None,
    };
    contents.into_iter().map(|(at, it)| (at, bytes(it))).collect()
}

/// Documents with the names that matter in every place, right and wrong.
fn documents() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[A-Za-z0-9+/_ =\n-]{0,12}", "[\"\\\\/\u{e9}\u{1f600}a-c{}\\[\\],:]{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let any = leaf.prop_recursive(6, 40, 5, |inner| {
        let name = prop_oneof!["attachments", "content", "[a-c\"\\\\\u{e9}]{0,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    });
    let file = prop_oneof![
        3 => ("[A-Za-z0-9+/_ =\n-]{0,16}", any.clone()).prop_map(|(text, more)| json!({ "content": text, "name": more })),
        1 => any.clone(),
    ];
    prop_oneof![
        3 => (any.clone(), prop::collection::vec(file, 0..5)).prop_map(|(more, files)| json!({ "attachments": files, "text": more })),
        1 => any,
    ]
}

/// The same document written otherwise: blanks between, letters as escapes.
fn written(document: &Value, pretty: bool, escaped: u8) -> Vec<u8> {
    let text = if pretty { format!("{document:#}") } else { document.to_string() };
    let mut out = String::new();
    let (mut within, mut after_backslash) = (false, false);
    for (at, letter) in text.char_indices() {
        let is_plain = within && !after_backslash && letter.is_ascii_alphanumeric();
        if is_plain && escaped > 0 && at % usize::from(escaped) == 0 {
            out += &format!("\\u{:04x}", u32::from(letter));
        } else if within && !after_backslash && letter == '/' && escaped % 2 == 1 {
            out += "\\/";
        } else {
            out.push(letter);
        }
        match (within, after_backslash, letter) {
            (true, false, '\\') => after_backslash = true,
            (true, true, 'u') => after_backslash = false,
            (_, false, '"') => within = !within,
            _ => after_backslash = false,
        }
    }
    out.into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_left_and_what_is_lifted_is_what_stands_there(
        document in documents(), pretty: bool, escaped in 0..4_u8, sizes in prop::collection::vec(1..40_usize, 1..6),
    ) {
        let bytes = written(&document, pretty, escaped);
        prop_assert_eq!(&serde_json::from_slice::<Value>(&bytes).unwrap(), &document);
        let (left, contents, pieces) = lifted(&bytes, &sizes).unwrap();
        let (expected_left, expected) = by_hand(document);
        prop_assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), expected_left);
        prop_assert_eq!(whole(contents), expected);
        prop_assert!(pieces.is_empty());
    }

    #[test]
    fn what_is_no_json_stays_none(
        document in documents(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(), sizes in prop::collection::vec(1..40_usize, 1..6),
    ) {
        let mut bytes = written(&document, false, 0);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let was_json = serde_json::from_slice::<Value>(&bytes).is_ok();
        let (left, contents, _) = lifted(&bytes, &sizes).unwrap();
        let is_json = serde_json::from_slice::<Value>(&left).is_ok();
        let is_unreadable = contents.values().any(|it| matches!(it, Content::Unreadable(_)));
        prop_assert!(is_json == was_json || (is_json && is_unreadable), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_large_file_is_handed_on_in_pieces_and_small_ones_stay_whole() {
    let large: Vec<u8> = (0..WHOLE + 3 * PIECE + 17).map(|it| (it % 251) as u8).collect();
    let fits: Vec<u8> = vec![7; WHOLE];
    let document = json!({ "subject": "x", "attachments": [
        { "name": "a", "content": BASE64_STANDARD.encode(b"small") },
        { "name": "b", "content": BASE64_URL_SAFE.encode(&large) },
        { "name": "c", "content": BASE64_STANDARD.encode(&fits) },
        { "name": "d" },
        { "name": "e", "content": 3 },
    ] });
    let (left, mut contents, pieces) = lifted(document.to_string().as_bytes(), &[65_536, 1, 16_384]).unwrap();
    assert!(left.len() < 200, "{}", left.len());
    assert_eq!(contents.remove(&0), Some(Content::Whole("small".into())));
    assert_eq!(contents.remove(&1), Some(Content::HandedOn(large.len() as u64)));
    assert_eq!(contents.remove(&2), Some(Content::Whole(fits.into())));
    assert!(contents.is_empty());
    assert!(pieces.iter().all(|it| it.file == 1 && it.bytes.len() <= PIECE));
    assert!(pieces.iter().flat_map(|it| it.bytes.iter().copied()).eq(large));
}

#[test]
fn what_stands_there_twice_is_not_guessed_at() {
    for document in [
        r#"{"attachments":[{"content":"aA==","content":"aQ=="}]}"#,
        r#"{"attachments":[{"content":"aA=="}],"attachments":[{"content":"aQ=="}]}"#,
    ] {
        let (_, contents, _) = lifted(document.as_bytes(), &[7]).unwrap();
        assert_eq!(contents.into_values().collect::<Vec<_>>(), [Content::Unreadable("stands there twice")]);
    }
}

#[test]
fn nothing_grows_without_end() {
    let files = format!("{{\"attachments\":[{}]}}", vec![r#"{"content":""}"#; 1_001].join(","));
    assert_eq!(lifted(files.as_bytes(), &[1_000]).unwrap_err(), TooMuch::Files);
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(21 << 20));
    assert_eq!(lifted(long.as_bytes(), &[1 << 16]).unwrap_err(), TooMuch::Json);
    let deep = "[".repeat(100_000);
    assert_eq!(lifted(deep.as_bytes(), &[999]).unwrap().0.len(), 100_000);
}
