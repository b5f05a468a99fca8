//! The subject of a mail, kept to be searched by: what people remember of a mail.
//!
//! It is somebody's words, so it is shown to whoever asks for it and never printed along the way.

use std::fmt;

/// Longer subjects are cut; nobody remembers more.
const MOST_CHARACTERS: usize = 500;

/// A subject on one line, without control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Makes one line of it, and cuts what is too long.
    pub fn new(text: &str) -> Self {
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let mut line = String::with_capacity(text.len().min(4 * MOST_CHARACTERS));
        for word in words {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if let Some((cut, _)) = line.char_indices().nth(MOST_CHARACTERS) {
            line.truncate(cut);
        }
        Self(line)
    }

    /// The line itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it holds these words, as [`Self::folded`] makes them; an upper-case letter is its lower-case one.
    pub fn holds(&self, folded: &str) -> bool {
        self.0.to_lowercase().contains(folded)
    }

    /// What is searched for, in the form in which it is compared.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_line_and_is_found_by_any_part_of_it() {
        for (subject, line) in [
            ("Invoice 4711", "Invoice 4711"),
            ("  Re:\r\n\tyour   order \u{0}1 ", "Re: your order 1"),
            ("", ""),
            ("\u{7}", ""),
        ] {
            assert_eq!(Subject::new(subject).as_str(), line);
        }
        let subject = Subject::new("Überweisung: 100 % der RECHNUNG \"_4711\"");
        for (words, found) in [
            ("überweisung", true),
            ("ÜBERWEISUNG:  100", true),
            ("100 %", true),
            ("\"_4711\"", true),
            ("rechnung", true),
            ("100 _", false),
            ("mahnung", false),
        ] {
            assert_eq!(subject.holds(&Subject::new(words).folded()), found, "{words}");
        }
    }

    #[test]
    fn a_long_subject_is_cut_between_letters_and_none_is_printed() {
        let long = Subject::new(&"ü".repeat(10_000));
        assert_eq!(long.as_str().chars().count(), MOST_CHARACTERS);
        assert_eq!(format!("{long:?}"), "Subject(…)");
    }
}
