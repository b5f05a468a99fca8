//! File names in header fields: a plain one between quotation marks, another as RFC 2231 writes it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 2231 §7 lets stand as it is, and a little less.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
/// A piece of a value, with the name before it, stays on one line.
const PIECE: usize = 60;

/// A parameter on lines of its own, with what parts it from what stands before.
pub(super) fn parameter(name: &str, value: &str) -> String {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !value.contains("=?");
    if is_plain && value.len() <= PIECE {
        return format!(";\r\n {name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let mut pieces = vec![String::from("utf-8''")];
    for letter in value.chars() {
        let letter = utf8_percent_encode(letter.encode_utf8(&mut [0; 4]), PLAIN).to_string();
        match pieces.last_mut() {
            Some(piece) if piece.len() + letter.len() <= PIECE => piece.push_str(&letter),
            _ => pieces.push(letter),
        }
    }
    match pieces.as_slice() {
        [whole] => format!(";\r\n {name}*={whole}"),
        _ => pieces.iter().enumerate().map(|(at, piece)| format!(";\r\n {name}*{at}*={piece}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_plainly_as_it_can_be() {
        for (value, written) in [
            ("a.pdf", ";\r\n filename=\"a.pdf\""),
            ("a \"b\".pdf", ";\r\n filename=\"a \\\"b\\\".pdf\""),
            ("grün.pdf", ";\r\n filename*=utf-8''gr%C3%BCn.pdf"),
        ] {
            assert_eq!(parameter("filename", value), written);
        }
        let long = parameter("filename", &"ü".repeat(40));
        assert!(long.contains("filename*0*=utf-8''%C3%BC") && long.contains("filename*4*="), "{long}");
        assert!(long.split("\r\n").all(|line| line.len() <= 78), "{long}");
    }
}
