//! RTF as Outlook puts it into a winmail.dat: the HTML it wraps ([MS-OXRTFEX]), or the text it shows.
//!
//! It is read in one walk and forgives everything. What comes out is never much longer than what went in, and HTML
//! from here is as dangerous as any other.

use super::super::charset;
use super::code_pages::{label, of_charset};

/// Groups nested deeper are not followed.
const DEEPEST: usize = 500;
/// Fonts that are remembered.
const MOST_FONTS: usize = 4096;
/// `\fromhtml` stands among the first control words.
const HEAD: usize = 1024;

/// What RTF says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The HTML it was made from.
    Html(String),
    /// Its text, with `\n` for line ends.
    Text(String),
}

/// Reads RTF. `None`: it is none.
pub(super) fn read(rtf: &[u8]) -> Option<Content> {
    let rtf = rtf.trim_ascii_start();
    if !rtf.starts_with(b"{\\rtf") {
        return None;
    }
    let head = rtf.get(..HEAD).unwrap_or(rtf);
    let wraps_html = head.windows(FROM_HTML.len()).any(|it| it == FROM_HTML);
    let mut reading = Reading { rtf, at: 0, wraps_html, ..Reading::default() };
    reading.run();
    Some(if wraps_html { Content::Html(reading.out) } else { Content::Text(reading.out) })
}

const FROM_HTML: &[u8] = b"\\fromhtml1";

/// What holds within a group.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// Nothing of it is shown.
    is_hidden: bool,
    /// It lists the fonts.
    is_font_table: bool,
    /// It holds a piece of HTML.
    is_html: bool,
    /// It is what the HTML looks like in RTF, and not the HTML.
    is_duplicate: bool,
    /// How many letters after `\u` stand in for it.
    fallback: usize,
    code_page: u32,
}

#[derive(Debug, Default)]
struct Reading<'a> {
    rtf: &'a [u8],
    at: usize,
    wraps_html: bool,
    group: Group,
    outer: Vec<Group>,
    /// The code page of the document.
    code_page: u32,
    /// Code pages by the number of the font.
    fonts: std::collections::HashMap<i32, u32>,
    /// The font that is being listed.
    font: i32,
    /// Bytes of the current code page, not decoded yet: a letter may take several of them.
    bytes: Vec<u8>,
    /// The first half of a letter that UTF-16 writes in two.
    half: Option<u16>,
    /// Letters still to be left out, for they stand in for one that was read.
    leave_out: usize,
    out: String,
}

impl Reading<'_> {
    fn run(&mut self) {
        self.code_page = 1252;
        self.group = Group { fallback: 1, code_page: 1252, ..Group::default() };
        while let Some(byte) = self.next() {
            match byte {
                b'{' => {
                    if self.outer.len() == DEEPEST {
                        break;
                    }
                    self.leave_out = 0;
                    self.outer.push(self.group);
                }
                b'}' => {
                    self.leave_out = 0;
                    let Some(outer) = self.outer.pop() else { break };
                    self.enter(outer);
                    if self.outer.is_empty() {
                        break;
                    }
                }
                b'\\' => self.control(),
                b'\r' | b'\n' | 0 => {}
                byte => self.byte(byte),
            }
        }
        self.decode();
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.rtf.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn enter(&mut self, group: Group) {
        if group.code_page != self.group.code_page {
            self.decode();
        }
        self.group = group;
    }

    fn control(&mut self) {
        match self.next() {
            Some(b'\'') => {
                let digits = self.rtf.get(self.at..self.at + 2).and_then(|it| std::str::from_utf8(it).ok());
                let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
                if let Some(byte) = byte {
                    self.at += 2;
                    self.byte(byte);
                }
            }
            Some(b'*') => self.group.is_hidden |= !self.is_html_tag(),
            Some(b'~') => self.letter('\u{a0}'),
            Some(b'_') => self.letter('\u{2011}'),
            Some(b'-') => {}
            Some(b'\r' | b'\n') => self.line(),
            Some(b'\t') => self.letter('\t'),
            Some(byte @ (b'\\' | b'{' | b'}')) => self.byte(byte),
            Some(byte) if byte.is_ascii_alphabetic() => {
                self.at -= 1;
                self.word();
            }
            _ => {}
        }
    }

    /// Whether `\*` announces a piece of HTML: of all that may be passed over, the only one that is wanted.
    fn is_html_tag(&self) -> bool {
        self.wraps_html && self.rtf.get(self.at..).is_some_and(|it| it.starts_with(b"\\htmltag"))
    }

    fn word(&mut self) {
        let rest = self.rtf.get(self.at..).unwrap_or_default();
        let name = rest.iter().take(32).take_while(|it| it.is_ascii_alphabetic()).count();
        let sign = usize::from(rest.get(name) == Some(&b'-'));
        let digits = rest.iter().skip(name + sign).take(10).take_while(|it| it.is_ascii_digit()).count();
        let end = if digits > 0 { name + sign + digits } else { name };
        let number = rest.get(name..end).and_then(|it| std::str::from_utf8(it).ok()).and_then(|it| it.parse().ok());
        self.at += end + usize::from(rest.get(end) == Some(&b' '));
        let word = std::str::from_utf8(&rest[..name]).unwrap_or_default();
        self.obey(word, number);
    }

    fn obey(&mut self, word: &str, number: Option<i32>) {
        match word {
            "htmltag" => {
                self.group.is_html = self.wraps_html;
                self.group.is_hidden |= !self.wraps_html;
            }
            "htmlrtf" => self.group.is_duplicate = number != Some(0),
            "fonttbl" => (self.group.is_font_table, self.group.is_hidden) = (true, true),
            "colortbl" | "stylesheet" | "info" | "pict" | "mhtmltag" | "header" | "headerl" | "headerr" | "headerf"
            | "footer" | "footerl" | "footerr" | "footerf" | "listtable" | "generator" | "fldinst" | "objdata" => {
                self.group.is_hidden = true;
            }
            "ansicpg" => {
                self.code_page = number.and_then(|it| u32::try_from(it).ok()).unwrap_or(1252);
                self.enter(Group { code_page: self.code_page, ..self.group });
            }
            "mac" if self.out.is_empty() && self.code_page == 1252 => {
                self.code_page = 10000;
                self.enter(Group { code_page: self.code_page, ..self.group });
            }
            "f" | "deff" if self.group.is_font_table => self.font = number.unwrap_or(0),
            "f" => {
                let code_page = number.and_then(|it| self.fonts.get(&it)).copied().unwrap_or(self.code_page);
                self.enter(Group { code_page, ..self.group });
            }
            "plain" => self.enter(Group { code_page: self.code_page, ..self.group }),
            "fcharset" => self.list_font(number.and_then(of_charset)),
            "cpg" => self.list_font(number.and_then(|it| u32::try_from(it).ok())),
            "uc" => self.group.fallback = number.and_then(|it| usize::try_from(it).ok()).unwrap_or(1).min(16),
            "u" => self.unicode(number.unwrap_or(0)),
            "bin" => self.at += number.and_then(|it| usize::try_from(it).ok()).unwrap_or(0).min(self.rtf.len()),
            "par" | "line" | "sect" | "page" | "row" => self.line(),
            "tab" | "cell" => self.letter('\t'),
            "lquote" => self.letter('‘'),
            "rquote" => self.letter('’'),
            "ldblquote" => self.letter('“'),
            "rdblquote" => self.letter('”'),
            "bullet" => self.letter('•'),
            "endash" => self.letter('–'),
            "emdash" => self.letter('—'),
            "emspace" | "enspace" | "qmspace" => self.letter(' '),
            _ => {}
        }
    }

    fn list_font(&mut self, code_page: Option<u32>) {
        if let Some(code_page) = code_page.filter(|_| self.group.is_font_table && self.fonts.len() < MOST_FONTS) {
            self.fonts.insert(self.font, code_page);
        }
    }

    /// `\u` counts in sixteen bits with a sign.
    fn unicode(&mut self, number: i32) {
        let unit = (number & 0xffff) as u16;
        match (self.half.take(), unit) {
            (None, 0xd800..=0xdbff) => self.half = Some(unit),
            (half, unit) => {
                let letters = char::decode_utf16(half.into_iter().chain([unit]));
                for letter in letters {
                    self.shown(letter.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
        }
        self.leave_out = self.group.fallback;
    }

    fn is_shown(&self) -> bool {
        let group = &self.group;
        !group.is_hidden && (group.is_html || !group.is_duplicate)
    }

    fn byte(&mut self, byte: u8) {
        match () {
            () if self.leave_out > 0 => self.leave_out -= 1,
            () if self.is_shown() => self.bytes.push(byte),
            () => {}
        }
    }

    fn letter(&mut self, letter: char) {
        match self.leave_out {
            0 => self.shown(letter),
            _ => self.leave_out -= 1,
        }
    }

    fn line(&mut self) {
        self.leave_out = 0;
        self.shown('\n');
    }

    fn shown(&mut self, letter: char) {
        if self.is_shown() {
            self.decode();
            self.out.push(letter);
        }
    }

    fn decode(&mut self) {
        match self.bytes.is_ascii() {
            true => self.out.push_str(std::str::from_utf8(&self.bytes).unwrap_or_default()),
            false => self.out.push_str(&charset::decode(label(self.group.code_page), &self.bytes)),
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_html_comes_out_as_it_went_in() {
        let rtf = br"{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}{\f1\fcharset204 Arial;}}
{\colortbl\red0\green0\blue0;}{\*\generator Microsoft Exchange;}\uc1\pard\plain\deftab360 \f0\fs24
{\*\htmltag19 <html>}{\*\htmltag34 <head>}{\*\htmltag241 <style>\par p \{color:red\}</style>}{\*\htmltag41 </head>}
{\*\htmltag64 <p class=x>}\htmlrtf {\htmlrtf0 Gr\'fc\'dfe \f1\'cf\'f0\f0  \u8364?{\*\htmltag84 &nbsp;}\htmlrtf \'a0\htmlrtf0
{\*\mhtmltag84 <a href=y>}{\*\htmltag84 <a href=x>}link{\*\htmltag92 </a>}\htmlrtf\par}\htmlrtf0{\*\htmltag72 </p>}\htmlrtf\par\htmlrtf0
{\*\htmltag27 </html>}}";
        let html =
            "<html><head><style>\np {color:red}</style></head><p class=x>Grüße Пр €&nbsp;<a href=x>link</a></p></html>";
        assert_eq!(read(rtf), Some(Content::Html(html.into())));
    }

    #[test]
    fn plain_rtf_gives_its_text() {
        for (rtf, text) in [
            (&br"{\rtf1\ansi\fromtext \fs20 one\par two\tab three\par}"[..], "one\ntwo\tthree\n"),
            (br"{\rtf1\ansi\b bold\b0  \{brace\} back\\slash}", "bold {brace} back\\slash"),
            (br"{\rtf1{\*\unknown hidden}{\info{\title hidden}}shown\bin4 }}}}{\pict 00ff}!}", "shown!"),
            (br"{\rtf1\ansicpg932 \'83\'65\'83\'58\'83\'67}", "テスト"),
            (br"{\rtf1\uc2 \u8364\'80\'80 \u-10179??\u-8704?? \uc0\u252 x}", "€ 😀 üx"),
            (br"{\rtf1\u8364{\'80}}", "€€"),
            (br"{\rtf1 \'zz\'4", "zz4"),
            (br"{\rtf1 {\field{\*\fldinst HYPERLINK x}{\fldrslt link}}} after", "link"),
        ] {
            assert_eq!(read(rtf), Some(Content::Text(text.into())), "{}", rtf.escape_ascii());
        }
        assert_eq!(read(b"no rtf"), None);
        let deep = [b"{\\rtf1 ".to_vec(), b"{".repeat(10_000), b"x".to_vec()].concat();
        assert_eq!(read(&deep), Some(Content::Text(String::new())));
    }

    proptest::proptest! {
        #[test]
        fn any_rtf_can_be_read(text in "([{}\\\\*'a-z0-9 ]|\\\\u-?[0-9]{1,6}|\\\\'[0-9a-f]{2}|\\\\htmlrtf0?|\\{\\\\\\*\\\\htmltag[0-9] ){0,80}") {
            let _ = read(format!("{{\\rtf1\\fromhtml1{text}").as_bytes());
            let _ = read(format!("{{\\rtf1 {text}").as_bytes());
        }
    }
}
