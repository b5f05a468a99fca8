//! Mails as people send them, made by number: text and HTML of a given length, or one large attachment.

/// One letter of 8 KiB in all: a text part and an HTML part of about the same length.
pub(crate) const LETTER: usize = 8 * 1024;

const SENTENCE: &str = "Die Lieferung 4711 ist noch nicht angekommen; could you have a look at it, please?";
/// Base64 in lines of 76 characters.
const LINE: usize = 76;

fn head(number: usize, to: &str, subject: &str) -> String {
    format!(
        "Received: from mx{n}.example.net by inbound.contoso.example; Sat, 21 Nov 2026 10:00:00 +0000\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=key1; h=from:to:subject; b=abcdef\r\n\
         Authentication-Results: spf=pass smtp.mailfrom=example.net; dkim=pass; dmarc=pass\r\n\
         From: \"Customer {number}\" <customer{number}@example.net>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\
         Message-ID: <bench-{number}@example.net>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n",
        n = number % 8,
    )
}

/// A letter in text and HTML.
pub(crate) fn letter(number: usize, to: &str) -> Vec<u8> {
    let mut mail = head(number, to, &format!("Order {number}"));
    mail.push_str("Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n--alt\r\n");
    mail.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
    let half = (LETTER - mail.len()) / 2;
    let text = mail.len() + half - 2 * SENTENCE.len();
    while mail.len() < text {
        mail.push_str(SENTENCE);
        mail.push_str("\r\n");
    }
    mail.push_str("\r\n--alt\r\nContent-Type: text/html; charset=utf-8\r\n\r\n");
    mail.push_str("<html><head><style>p { color: #333 }</style></head><body>\r\n");
    while mail.len() < LETTER - 200 {
        mail.push_str(&format!(
            "<p style=\"margin: 0\">{SENTENCE} <a href=\"https://example.net/{number}\">Link</a></p>\r\n"
        ));
    }
    mail.push_str("</body></html>\r\n--alt--\r\n");
    mail.into_bytes()
}

/// A short letter with one attachment that makes it this large.
pub(crate) fn heavy(number: usize, to: &str, bytes: usize) -> Vec<u8> {
    let mut mail = head(number, to, &format!("Scan {number}"));
    mail.push_str("Content-Type: multipart/mixed; boundary=\"mix\"\r\n\r\n--mix\r\n");
    mail.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
    mail.push_str(SENTENCE);
    mail.push_str("\r\n--mix\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n");
    mail.push_str("Content-Disposition: attachment; filename=\"scan.pdf\"\r\n\r\n");
    let line = format!("{}\r\n", "QUJD".repeat(LINE / 4));
    while mail.len() < bytes {
        mail.push_str(&line);
    }
    mail.push_str("--mix--\r\n");
    mail.into_bytes()
}
