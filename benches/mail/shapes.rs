//! Mails of any size: as people send them, and as somebody builds them who wants their reader to suffer.

/// A kind of mail.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The header fields after those every mail has, and the blank line.
    head: &'static str,
    /// What makes it as large as is asked for: the same again and again, numbered where it has a `#`.
    unit: &'static str,
    /// How it ends.
    tail: &'static str,
}

const HEAD: &str = "From: Ann <ann@example.net>\r\nTo: support@contoso.com\r\nSubject: A question\r\n\
                    Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n";

impl Shape {
    /// A mail of about this many bytes.
    pub(crate) fn mail(&self, size: usize) -> Vec<u8> {
        let mut mail = Vec::with_capacity(size + self.unit.len() + self.tail.len() + 1024);
        mail.extend_from_slice(HEAD.as_bytes());
        mail.extend_from_slice(self.head.as_bytes());
        let pieces: Vec<&str> = self.unit.split('#').collect();
        let mut number = 0_u32;
        while mail.len() + self.unit.len() + self.tail.len() < size {
            for (at, piece) in pieces.iter().enumerate() {
                if at > 0 {
                    mail.extend_from_slice(number.to_string().as_bytes());
                }
                mail.extend_from_slice(piece.as_bytes());
            }
            number += 1;
        }
        mail.extend_from_slice(self.tail.as_bytes());
        mail
    }
}

const fn shape(name: &'static str, head: &'static str, unit: &'static str, tail: &'static str) -> Shape {
    Shape { name, head, unit, tail }
}

/// As people and programs send them.
pub(crate) const ORDINARY: &[Shape] = &[
    shape("text", "\r\n", "Die Lieferung # ist noch nicht angekommen; could you have a look?\r\n", ""),
    shape(
        "html, quoted-printable",
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
        "<p style=3D\"margin: 0\">Gr=C3=BC=C3=9Fe aus K=C3=B6ln <a href=3D\"https://ex=\r\nample.net/#\">Link</a></p>\r\n",
        "",
    ),
    shape(
        "text and a base64 attachment",
        "Content-Type: multipart/mixed; boundary=mix\r\n\r\n--mix\r\n\r\nSee the file.\r\n--mix\r\n\
         Content-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n",
        "--mix--\r\n",
    ),
    shape(
        "many small attachments",
        "Content-Type: multipart/mixed; boundary=mix\r\n\r\n--mix\r\n\r\nSee the files.\r\n",
        "--mix\r\nContent-Type: image/png; name=#.png\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n",
        "--mix--\r\n",
    ),
];

macro_rules! kib {
    () => {
        concat!(long!(), long!(), long!(), long!(), long!(), long!(), long!(), long!())
    };
}
macro_rules! long {
    () => {
        "a title of one hundred and twenty-eight letters, which stands in the output wherever the element that has it is opened again ..."
    };
}

const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
const HTML: &str = "Content-Type: text/html\r\n\r\n";
/// A formatting element that HTML opens again in every paragraph, with an attribute that is written again each time.
const REOPENED: &str = concat!(
    "Content-Type: text/html\r\n\r\n<p><b title='",
    kib!(),
    kib!(),
    kib!(),
    kib!(),
    kib!(),
    kib!(),
    kib!(),
    kib!(),
    "'>"
);
const QUOTED: &str = "Content-Transfer-Encoding: quoted-printable\r\n\r\n";
const FILE: &str = "Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";

/// As somebody builds them to exhaust their reader.
pub(crate) const HOSTILE: &[Shape] = &[
    shape("parts and nothing in them", MIXED, "--b\r\n\r\n", "--b--\r\n"),
    shape("parts of text", MIXED, "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n", "--b--\r\n"),
    shape("multiparts in multiparts", MIXED, "--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", ""),
    shape(
        "multiparts in multiparts, each its own",
        "Content-Type: multipart/mixed; boundary=b0\r\n\r\n--b0\r\n",
        "Content-Type: multipart/mixed; boundary=b#\r\n\r\n--b#\r\n",
        "\r\ntext",
    ),
    shape("mails in mails", "", "Content-Type: message/rfc822\r\n\r\n", "text"),
    shape("digests in digests", "", "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n", "text"),
    shape(
        "boundaries that never come",
        MIXED,
        "--b\r\nContent-Type: multipart/mixed; boundary=z#\r\n\r\n",
        "--b--\r\n",
    ),
    shape("boundaries within lines", MIXED, "x--b", "\r\n--b--\r\n"),
    shape(
        "dashes in a header",
        "Content-Type: multipart/mixed; boundary=----\r\nX-A: ",
        "-",
        "\r\n\r\n------\r\n\r\nx",
    ),
    shape("header lines", "", "a:\r\n", "\r\n"),
    shape("header lines with words", "", "X-#: =?utf-8?Q?=C3=BC?=\r\n", "\r\n"),
    shape("one header", "X-A: ", "a ", "\r\n\r\n"),
    shape("one header, folded", "X-A: ", "a\r\n ", "\r\n\r\n"),
    shape("encoded words", "Subject: ", "=?utf-8?Q?=C3=BC?= ", "\r\n\r\n"),
    shape("encoded words of two kinds", "Subject: ", "=?utf-8?Q?=C3=BC?= =?iso-8859-1?B?4A==?= ", "\r\n\r\n"),
    shape("words that never end", "Subject: ", "=?a?q?", "\r\n\r\n"),
    shape("one word", "Subject: =?utf-8?Q?", "=C3=BC", "?=\r\n\r\n"),
    shape("addresses", "Cc: ", "a# <b#@c.d>, ", "\r\n\r\n"),
    shape("addresses that never end", "Cc: ", "a,(\"<", "\r\n\r\n"),
    shape("references", "References: ", "<#@c.d> ", "\r\n\r\n"),
    shape("parameters", "Content-Disposition: attachment", ";a*#=b", "\r\n\r\n"),
    shape("html of divs", HTML, "<div>", ""),
    shape("html reopened", REOPENED, "<p>x", ""),
    shape("html of fonts", HTML, "<font color=#>", ""),
    shape("html of tables", HTML, "<table><td>", ""),
    shape("html of brackets", HTML, "<", ""),
    shape("html of quotes", HTML, "<a title=\"", ""),
    shape("html of entities", HTML, "&amp;", ""),
    shape("html of links", HTML, "<a href=http://a.b>", ""),
    shape("html of comments", HTML, "<!--", ""),
    shape("html of images", HTML, "<img src=cid:#@x>", ""),
    shape("html of select", HTML, "<select><option>", ""),
    shape("html of styles", HTML, "<p style='color:red;color:red;margin:1px'>", ""),
    shape("quoted-printable of soft breaks", QUOTED, "=\r\n", ""),
    shape("quoted-printable of equal signs", QUOTED, "=", ""),
    shape("quoted-printable of blanks", QUOTED, "= ", ""),
    shape("base64 garbage", FILE, "!@$%^&*", ""),
    shape("base64 of one line", FILE, "QUJD", ""),
    shape("text of one line", "\r\n", "x ", ""),
    shape("text of null bytes", "\r\n", "\0", ""),
    shape("text in eight bits", "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n", "\x1b$B", ""),
    shape("uuencoded", "\r\n", "begin 644 a\r\n#0V%T\r\n`\r\nend\r\n", ""),
    shape("uuencoding that never ends", "\r\n", "begin 644 a\r\n", ""),
    shape("no header at all", "", "x", ""),
];
