//! Byte ranges as RFC 9110 §14 has them: one range at a time; what asks for several, or makes no sense, gets the whole.

use axum::http::{HeaderMap, header};

/// What of a content is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// From a byte up to but not including another.
    Part(u64, u64),
    /// Something that lies behind its end.
    Nothing,
}

/// What these headers ask for of a content of `size` bytes with this entity tag.
pub(super) fn wanted(headers: &HeaderMap, size: u64, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Wanted::Whole };
    // A weak tag or a date proves nothing about bytes (§13.1.5).
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return Wanted::Whole;
    }
    parse(range, size)
}

/// Whether the asker has this content already.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|it| it.to_str().ok());
    tags.flat_map(|it| it.split(',')).map(str::trim).any(|it| it == "*" || it.trim_start_matches("W/") == tag)
}

fn parse(range: &str, size: u64) -> Wanted {
    let Some((unit, set)) = range.split_once('=') else { return Wanted::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::Whole;
    }
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        // More than can be counted is more than there is.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(0)) if first.trim().is_empty() => Wanted::Nothing,
        (None, Some(count)) if first.trim().is_empty() && size > 0 => Wanted::Part(size - count.min(size), size),
        (None, Some(_)) if first.trim().is_empty() => Wanted::Nothing,
        (Some(first), Some(last)) if last < first => Wanted::Whole,
        (Some(first), _) if first >= size && (number(last).is_some() || last.trim().is_empty()) => Wanted::Nothing,
        (Some(first), Some(last)) => Wanted::Part(first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.trim().is_empty() => Wanted::Part(first, size),
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_specification_says() {
        use Wanted::{Nothing, Part, Whole};
        for (range, expected) in [
            ("bytes=0-499", Part(0, 500)),
            ("bytes=500-", Part(500, 1000)),
            ("bytes=-200", Part(800, 1000)),
            ("bytes=-5000", Part(0, 1000)),
            ("bytes=999-999", Part(999, 1000)),
            ("bytes=900-5000", Part(900, 1000)),
            ("Bytes = 0-0", Part(0, 1)),
            ("bytes=0-99999999999999999999999", Part(0, 1000)),
            ("bytes=1000-", Nothing),
            ("bytes=1000-2000", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=0-0,5-9", Whole),
            ("bytes=9-5", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=5-x", Whole),
            ("lines=0-4", Whole),
            ("0-4", Whole),
        ] {
            assert_eq!(parse(range, 1000), expected, "{range}");
        }
        for (range, expected) in [("bytes=0-", Nothing), ("bytes=-5", Nothing), ("bytes=0-0", Nothing)] {
            assert_eq!(parse(range, 0), expected, "{range} of nothing");
        }
    }

    #[test]
    fn if_range_counts_for_the_same_content_only() {
        let headers = |if_range: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, "bytes=1-2".parse().unwrap());
            if let Some(value) = if_range {
                headers.insert(header::IF_RANGE, value.parse().unwrap());
            }
            headers
        };
        for (if_range, expected) in [
            (None, Wanted::Part(1, 3)),
            (Some("\"abc\""), Wanted::Part(1, 3)),
            (Some("W/\"abc\""), Wanted::Whole),
            (Some("\"other\""), Wanted::Whole),
            (Some("Sat, 21 Nov 2026 10:00:00 GMT"), Wanted::Whole),
        ] {
            assert_eq!(wanted(&headers(if_range), 10, "\"abc\""), expected, "{if_range:?}");
        }
    }

    #[test]
    fn what_the_asker_has_is_known_by_its_tag() {
        for (value, expected) in [("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            assert_eq!(is_known(&headers, "\"a\""), expected, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_part_leaves_its_content(range in "(bytes=)?[-0-9, a]{0,24}", size in 0..100_u64) {
            if let Wanted::Part(from, until) = parse(&range, size) {
                proptest::prop_assert!(from < until && until <= size, "{range}: {from}..{until} of {size}");
            }
        }
    }
}
