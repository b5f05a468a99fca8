//! winmail.dat unpacked ([MS-OXTNEF]): the files Outlook put into it, and the text where the mail has no other.
//!
//! Whatever bytes it is made of, what is legible comes out and what is wrong is said. Files share its memory.

mod code_pages;
mod lzfu;
mod rtf;
mod stream;

use bytes::Bytes;

use self::code_pages::label;
use self::stream::{BINARY, OBJECT, Properties, STRING8, UNICODE};
use super::parameters::file_name;
use super::{charset, html};

/// The type of a winmail.dat.
pub const KIND: &str = "application/ms-tnef";
/// Mails within mails within mails, deeper than this, stay packed.
const DEEPEST: usize = 8;
/// More files than this stay packed.
const MOST_FILES: usize = 10_000;

/// Of a longer text only the beginning is read, as of one that stands in the mail itself: it would be
/// cut anyway, and could take a multiple of the mail in memory before.
const LONGEST_TEXT: usize = super::body::LONGEST_WRITTEN;

/// Properties of the mail ([MS-OXPROPS]).
const BODY: u16 = 0x1000;
const COMPRESSED_RTF: u16 = 0x1009;
const HTML: u16 = 0x1013;
const SUBJECT: u16 = 0x0037;
const INTERNET_CODE_PAGE: u16 = 0x3fde;
/// Properties of a file.
const DISPLAY_NAME: u16 = 0x3001;
const BYTES: u16 = 0x3701;
const SHORT_NAME: u16 = 0x3704;
const METHOD: u16 = 0x3705;
const LONG_NAME: u16 = 0x3707;
const MEDIA_TYPE: u16 = 0x370e;
const CONTENT_ID: u16 = 0x3712;
const FLAGS: u16 = 0x3714;
const HIDDEN: u16 = 0x7ffe;

const OF_MAIL: [u16; 5] = [BODY, COMPRESSED_RTF, HTML, SUBJECT, INTERNET_CODE_PAGE];
const OF_FILE: [u16; 9] = [DISPLAY_NAME, BYTES, SHORT_NAME, METHOD, LONG_NAME, MEDIA_TYPE, CONTENT_ID, FLAGS, HIDDEN];

/// `PidTagAttachMethod`: the bytes are a mail.
const IS_MAIL: u32 = 5;
/// `PidTagAttachFlags`: the HTML shows it.
const IS_SHOWN: u32 = 4;
/// An object's bytes stand behind the id of the interface that reads them.
const INTERFACE: usize = 16;

/// What a winmail.dat holds.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The text.
    pub text: Option<String>,
    /// The HTML, as dangerous as any other.
    pub html: Option<String>,
    /// The files.
    pub files: Vec<File>,
    /// What was wrong with it.
    pub problems: Vec<&'static str>,
}

/// A file in a winmail.dat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Which it is: `1`; `1.2` for the second of the first, which is a mail.
    pub path: String,
    /// A clean name.
    pub name: Option<String>,
    /// Its media type, where it says one.
    pub kind: Option<String>,
    /// The id by which the HTML refers to it.
    pub cid: Option<String>,
    /// Whether it is shown in the text and nowhere else.
    pub is_inline: bool,
    /// Its bytes. A mail stays as it is, a winmail.dat of its own.
    pub bytes: Bytes,
}

/// Unpacks a winmail.dat. `None`: it is none.
pub fn unpack(bytes: &Bytes) -> Option<Unpacked> {
    let mut unpacked = Unpacked::default();
    let mail = unpacked.mail(bytes, "", 1)?;
    mail.bodies(&mut unpacked);
    Some(unpacked)
}

/// What was read of a mail, not decoded yet: its code page may come last.
#[derive(Default)]
struct Mail {
    code_page: Option<u32>,
    subject: Option<Bytes>,
    body: Option<Bytes>,
    properties: Properties,
}

/// What was read of a file.
#[derive(Default)]
struct Rendered {
    title: Option<Bytes>,
    bytes: Option<Bytes>,
    properties: Properties,
}

impl Unpacked {
    fn mail(&mut self, bytes: &Bytes, path: &str, depth: usize) -> Option<Mail> {
        let mut mail = Mail::default();
        let mut rendered: Vec<Rendered> = Vec::new();
        let mut attributes = stream::attributes(bytes)?;
        for attribute in attributes.by_ref() {
            if !attribute.is_sound {
                self.problem("a checksum in a winmail.dat is wrong");
            }
            let value = attribute.bytes;
            match attribute.name {
                stream::OEM_CODE_PAGE => {
                    mail.code_page = value.get(..4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
                }
                stream::SUBJECT => mail.subject = Some(value),
                stream::BODY => mail.body = Some(value),
                stream::MESSAGE_PROPERTIES => mail.properties = self.properties(&value, &OF_MAIL),
                stream::RENDERING if self.files.len() + rendered.len() >= MOST_FILES => {
                    self.problem("a winmail.dat holds more than 10000 files");
                    break;
                }
                stream::RENDERING => rendered.push(Rendered::default()),
                name => {
                    let Some(file) = rendered.last_mut() else { continue };
                    match name {
                        stream::ATTACHMENT_TITLE => file.title = Some(value),
                        stream::ATTACHMENT_BYTES => file.bytes = Some(value),
                        stream::ATTACHMENT_PROPERTIES => {
                            file.properties = Properties::read(&value, &OF_FILE);
                            if !file.properties.is_whole {
                                self.problem("a list of properties in a winmail.dat is damaged");
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        if attributes.is_cut_off {
            self.problem("a winmail.dat is cut off");
        }
        for (index, file) in rendered.into_iter().enumerate() {
            let path = if path.is_empty() { (index + 1).to_string() } else { format!("{path}.{}", index + 1) };
            self.file(&file, path, mail.code_page(), depth);
        }
        Some(mail)
    }

    fn properties(&mut self, bytes: &Bytes, wanted: &[u16]) -> Properties {
        let properties = Properties::read(bytes, wanted);
        if !properties.is_whole {
            self.problem("a list of properties in a winmail.dat is damaged");
        }
        properties
    }

    fn file(&mut self, file: &Rendered, path: String, code_page: u32, depth: usize) {
        let properties = &file.properties;
        let text = |id| text_of(properties, id, code_page);
        let title = || file.title.as_ref().map(|it| string8(it, code_page));
        let names = [text(LONG_NAME), title(), text(SHORT_NAME), text(DISPLAY_NAME)];
        let object = properties.value(BYTES).map(|(kind, bytes)| match kind {
            OBJECT => bytes.slice(INTERFACE.min(bytes.len())..),
            _ => bytes.clone(),
        });
        let is_mail = properties.number(METHOD) == Some(IS_MAIL);
        // What stands for a mail elsewhere is a picture of it.
        let found = if is_mail { object.or(file.bytes.clone()) } else { file.bytes.clone().or(object) };
        let Some(bytes) = found else {
            self.problem("a file in a winmail.dat has no bytes");
            return;
        };
        let cid = text(CONTENT_ID).map(|it| it.trim().trim_start_matches('<').trim_end_matches('>').to_owned());
        let cid = cid.filter(|it| !it.is_empty());
        let flags = properties.number(FLAGS).unwrap_or(0);
        let is_hidden = properties.number(HIDDEN).is_some_and(|it| it & 0xff != 0);
        let index = self.files.len();
        self.files.push(File {
            name: names.into_iter().flatten().find_map(|it| file_name(&it)),
            kind: text(MEDIA_TYPE).map(|it| it.trim().to_ascii_lowercase()).filter(|it| it.contains('/')),
            is_inline: cid.is_some() && (flags & IS_SHOWN != 0 || is_hidden),
            cid,
            bytes: bytes.clone(),
            path: path.clone(),
        });
        if !is_mail {
            return;
        }
        if depth == DEEPEST {
            return self.problem("mails in a winmail.dat are nested too deep");
        }
        let Some(inner) = self.mail(&bytes, &path, depth + 1) else { return };
        let subject = inner.subject().and_then(|it| file_name(&it.replace(['/', '\\', ':'], " ")));
        let found = &mut self.files[index];
        found.kind = Some(KIND.to_owned());
        let name = subject.or_else(|| found.name.take()).unwrap_or_else(|| "message".to_owned());
        found.name = Some(format!("{name}.dat"));
    }

    fn problem(&mut self, problem: &'static str) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

impl Mail {
    fn code_page(&self) -> u32 {
        self.code_page.unwrap_or(1252)
    }

    fn subject(&self) -> Option<String> {
        let own = || self.subject.as_ref().map(|it| string8(it, self.code_page()));
        text_of(&self.properties, SUBJECT, self.code_page()).or_else(own)
    }

    /// The text and the HTML: as they are, or out of the RTF.
    fn bodies(&self, unpacked: &mut Unpacked) {
        let properties = &self.properties;
        let own = || self.body.as_ref().map(|it| string8(it, self.code_page()));
        unpacked.text = text_of(properties, BODY, self.code_page()).or_else(own).map(|it| it.replace("\r\n", "\n"));
        unpacked.html = match properties.value(HTML) {
            Some((BINARY, bytes)) => {
                let named = properties.number(INTERNET_CODE_PAGE).and_then(label);
                Some(charset::decode(named.or_else(|| html::charset(bytes)), beginning(bytes)))
            }
            _ => text_of(properties, HTML, self.code_page()),
        };
        let Some((_, packed)) = properties.value(COMPRESSED_RTF).filter(|_| unpacked.html.is_none()) else { return };
        let rtf = lzfu::unpack(packed);
        if !rtf.as_ref().is_some_and(|it| it.is_sound) {
            unpacked.problem("the text in a winmail.dat is damaged");
        }
        match rtf.and_then(|it| rtf::read(&it.bytes)) {
            Some(rtf::Content::Html(html)) => unpacked.html = Some(html),
            Some(rtf::Content::Text(text)) => drop(unpacked.text.get_or_insert(text)),
            None => {}
        }
    }
}

/// A property that is text.
fn text_of(properties: &Properties, id: u16, code_page: u32) -> Option<String> {
    match properties.value(id)? {
        (UNICODE, bytes) => {
            let units =
                bytes[..bytes.len().min(LONGEST_TEXT)].chunks_exact(2).map(|it| u16::from_le_bytes([it[0], it[1]]));
            Some(String::from_utf16_lossy(&units.take_while(|it| *it != 0).collect::<Vec<_>>()))
        }
        (STRING8, bytes) => Some(string8(bytes, code_page)),
        _ => None,
    }
}

fn beginning(text: &[u8]) -> &[u8] {
    text.get(..LONGEST_TEXT).map_or(text, charset::without_half_letter)
}

/// Text that ends with a zero byte.
fn string8(bytes: &[u8], code_page: u32) -> String {
    let text = beginning(bytes).split(|byte| *byte == 0).next().unwrap_or_default();
    charset::decode(label(code_page), text)
}
