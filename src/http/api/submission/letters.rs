//! Base64 as it stands in a string of JSON: bytes of the string go in as they come, what they mean comes out.
//!
//! Both alphabets, with padding or without, blanks and line ends between, and letters written as escapes (RFC 8259 §7).

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

const NONE: &str = "is not base64";
const BROKEN_OFF: &str = "is base64 that breaks off: a letter alone is no byte";

/// The last letter may carry bits that mean nothing.
const TOLERANT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
const ALPHABET: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, TOLERANT);

/// What a byte of the string means: a letter of the alphabet, or one of these.
const FOREIGN: u8 = 0;
const BLANK: u8 = b' ';
const PADDING: u8 = b'=';
const MEANING: [u8; 256] = {
    let mut meaning = [FOREIGN; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < letters.len() {
        meaning[letters[at] as usize] = letters[at];
        at += 1;
    }
    meaning[b'-' as usize] = b'+';
    meaning[b'_' as usize] = b'/';
    meaning[b' ' as usize] = BLANK;
    meaning[b'=' as usize] = PADDING;
    meaning
};

/// Reads one string.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Letters that are not decoded yet.
    waiting: Vec<u8>,
    padding: u8,
    escape: Escape,
    broken: Option<&'static str>,
}

/// Where in an escape it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Escape {
    #[default]
    None,
    Begun,
    /// `\u` and so many digits.
    Code {
        digits: u8,
        value: u32,
    },
}

impl Letters {
    /// Takes bytes of the string. `Some`: so many, and the last of them was the quotation mark that ends it.
    pub(super) fn pass(&mut self, written: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = written.get(at) {
            if self.escape != Escape::None {
                at += usize::from(self.escaped(*byte));
                continue;
            }
            let rest = &written[at..];
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            self.letters(&rest[..plain]);
            at += plain + 1;
            match rest.get(plain) {
                Some(b'"') => {
                    self.decode(out);
                    return Some(at);
                }
                Some(_) => self.escape = Escape::Begun,
                None => {}
            }
        }
        self.decode(out);
        None
    }

    /// What is left at the end of the string.
    ///
    /// # Errors
    /// What it is, where it is no base64.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        match self.waiting.as_slice() {
            [] => Ok(()),
            [_] => Err(BROKEN_OFF),
            rest => ALPHABET.decode_vec(rest, out).map_err(|_| NONE),
        }
    }

    /// A byte within an escape. Returns whether it belongs to it.
    fn escaped(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::Code { digits, value } => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    self.foreign();
                    self.escape = Escape::None;
                    return false;
                };
                let value = value * 16 + digit;
                self.escape = Escape::Code { digits: digits + 1, value };
                if digits == 3 {
                    self.escape = Escape::None;
                    self.unescaped(u8::try_from(value).unwrap_or(0));
                }
            }
            Escape::Begun if byte == b'u' => self.escape = Escape::Code { digits: 0, value: 0 },
            Escape::Begun | Escape::None => {
                self.escape = Escape::None;
                match byte {
                    b'n' | b'r' | b't' => {}
                    b'/' => self.letters(b"/"),
                    _ => self.foreign(),
                }
            }
        }
        true
    }

    /// A byte that an escape stood for: unlike one that is written plainly, it may end a line.
    fn unescaped(&mut self, byte: u8) {
        if !matches!(byte, b'\n' | b'\r' | b'\t') {
            self.letters(&[byte]);
        }
    }

    fn letters(&mut self, written: &[u8]) {
        self.waiting.reserve(written.len());
        for byte in written {
            match MEANING[usize::from(*byte)] {
                BLANK => {}
                PADDING if self.padding < 2 => self.padding += 1,
                FOREIGN | PADDING => self.foreign(),
                _ if self.padding > 0 => self.foreign(),
                letter => self.waiting.push(letter),
            }
        }
    }

    fn foreign(&mut self) {
        self.broken = Some(NONE);
        self.waiting.clear();
    }

    /// Decodes what can be without what follows.
    fn decode(&mut self, out: &mut Vec<u8>) {
        let whole = self.waiting.len() / 4 * 4;
        if self.broken.is_none() && ALPHABET.decode_vec(&self.waiting[..whole], out).is_err() {
            self.foreign();
        }
        self.waiting.drain(..whole.min(self.waiting.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str, size: usize) -> Result<Vec<u8>, &'static str> {
        let (mut letters, mut out) = (Letters::default(), Vec::new());
        let string = format!("{written}\" rest");
        let mut taken = 0;
        for piece in string.as_bytes().chunks(size) {
            if let Some(end) = letters.pass(piece, &mut out) {
                assert_eq!(&string[taken + end..], " rest", "{written:?}");
                break;
            }
            taken += piece.len();
        }
        letters.finish(&mut out).map(|()| out)
    }

    #[test]
    fn base64_is_read_however_it_is_written() {
        for (written, expected) in [
            ("aGVsbG8=", Ok("hello")),
            ("aGVsbG8", Ok("hello")),
            ("aGVs bG8 = ", Ok("hello")),
            ("aGVs\\r\\nbG8=\\n", Ok("hello")),
            ("aGVs\\u000AbG8\\u003d", Ok("hello")),
            ("Pz8/Pj4+", Ok("???>>>")),
            ("Pz8_Pj4-", Ok("???>>>")),
            ("Pz8\\/Pj4\\u002b", Ok("???>>>")),
            ("", Ok("")),
            ("aA==", Ok("h")),
            ("aA=", Ok("h")),
            ("aB==", Ok("h")),
            ("a", Err(BROKEN_OFF)),
            ("aGVsb", Err(BROKEN_OFF)),
            ("aA==aA==", Err(NONE)),
            ("aA===", Err(NONE)),
            ("aGVs,bG8=", Err(NONE)),
            ("aGVs\\\"bG8=", Err(NONE)),
            ("aGVs\\\\bG8=", Err(NONE)),
            ("aGVsbG8\\u00e9", Err(NONE)),
            ("aGVsbG8\\ud83d", Err(NONE)),
            ("aGVs\\u00zzbG8=", Err(NONE)),
            ("aGVs\nbG8=", Err(NONE)),
            ("grün", Err(NONE)),
            ("data:text/plain;base64,aGVsbG8=", Err(NONE)),
        ] {
            for size in [1, 2, 3, 5, 100] {
                assert_eq!(read(written, size), expected.map(|it| it.as_bytes().to_vec()), "{written:?} by {size}");
            }
        }
    }
}
