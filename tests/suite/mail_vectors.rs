//! Ways to smuggle something into HTML, and a second reader of HTML that looks whether any came through.
//!
//! The second reader is not the sanitiser's: it takes HTML apart by the WHATWG's rules on its own, and knows what is
//! forbidden, not what is allowed. The ways are those that are publicly known, in our own words.

use html5gum::{Token, Tokenizer};
use mailspan::mail::html::{sanitise, without_remote_images};

use crate::mail_vectors_known::VECTORS;

const ELEMENTS: &[&str] = &[
    "script",
    "style",
    "form",
    "input",
    "button",
    "select",
    "option",
    "textarea",
    "keygen",
    "iframe",
    "frame",
    "frameset",
    "object",
    "embed",
    "applet",
    "param",
    "meta",
    "base",
    "link",
    "svg",
    "math",
    "audio",
    "video",
    "source",
    "track",
    "picture",
    "portal",
    "template",
    "noscript",
    "xml",
    "marquee",
    "bgsound",
    "layer",
    "html",
    "head",
    "body",
    "title",
    "dialog",
    "slot",
    "canvas",
    "map",
    "area",
    "plaintext",
    "xmp",
    "noembed",
    "noframes",
    "image",
    "isindex",
];
const ATTRIBUTES: &[&str] = &[
    "srcset",
    "srcdoc",
    "action",
    "formaction",
    "background",
    "poster",
    "ping",
    "data",
    "xlink:href",
    "xmlns",
    "dynsrc",
    "lowsrc",
    "http-equiv",
    "is",
    "id",
    "class",
    "usemap",
    "target",
    "form",
    "autofocus",
    "tabindex",
    "contenteditable",
    "manifest",
    "longdesc",
    "codebase",
    "classid",
    "imagesrcset",
    "attributionsrc",
    "popovertarget",
];
const STYLES: &[&str] = &[
    "url(",
    "expression",
    "@import",
    "behavior",
    "-moz-binding",
    "position",
    "javascript",
    "\\",
    "/*",
    "image-set",
    "z-index",
    "transform",
    "{",
    "}",
    "content",
    "animation",
    "filter",
    "<",
    "var(",
    "attr(",
];

/// What a second reader finds that must not be there. Empty when all is well.
pub(crate) fn forbidden(clean: &str) -> Vec<String> {
    let mut found = Vec::new();
    for token in Tokenizer::new(clean) {
        match token.unwrap() {
            Token::StartTag(tag) => {
                let name = text(&tag.name);
                if ELEMENTS.contains(&name.as_str()) || !name.bytes().all(|it| it.is_ascii_alphanumeric()) {
                    found.push(format!("<{name}>"));
                }
                for (attribute, value) in &tag.attributes {
                    let (attribute, value) = (text(attribute), text(value));
                    if let Some(why) = bad(&name, &attribute, &value) {
                        found.push(format!("<{name} {attribute}={value:?}> {why}"));
                    }
                }
            }
            Token::EndTag(tag) if ELEMENTS.contains(&text(&tag.name).as_str()) => {
                found.push(format!("</{:?}>", tag.name))
            }
            Token::EndTag(_) | Token::String(_) => {}
            // Letters nobody sees are no danger.
            Token::Error(error) if format!("{error:?}").contains("InInputStream") => {}
            // Whatever a reader stumbles over, two readers may understand differently.
            other => found.push(format!("{other:?}")),
        }
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_lowercase()
}

fn bad(tag: &str, attribute: &str, value: &str) -> Option<&'static str> {
    // As browsers read addresses: blanks in front, and tabs and line ends anywhere, do not count.
    let url: String = value.chars().filter(|c| !c.is_control()).collect();
    let url = url.trim_start();
    let starts = |list: &[&str]| list.iter().any(|it| url.starts_with(it));
    match attribute {
        it if it.starts_with("on") => Some("runs"),
        it if it.contains(':') || ATTRIBUTES.contains(&it) => Some("is no attribute of ours"),
        "style" if STYLES.iter().any(|it| value.contains(it)) => Some("reaches out"),
        "src" if tag != "img" => Some("loads"),
        "src"
            if !starts(&["http://", "https://", "http:", "https:", "cid:", "data:image/"])
                || starts(&["data:image/svg"]) =>
        {
            Some("loads what is no image")
        }
        "href" if tag != "a" || !starts(&["http:", "https:", "mailto:", "tel:"]) => Some("leads astray"),
        "cite" if !starts(&["http:", "https:"]) => Some("leads astray"),
        _ => None,
    }
}

/// Made safe, looked at by the second reader, and made safe again without any change.
pub(crate) fn is_harmless(html: &str) {
    let Some(clean) = sanitise(html) else { return };
    assert_eq!(forbidden(&clean), Vec::<String>::new(), "{html:?} became {clean:?}");
    assert_eq!(sanitise(&clean).as_deref(), Some(clean.as_str()), "{html:?} is not stable");
    let without = without_remote_images(&clean);
    assert_eq!(forbidden(&without), Vec::<String>::new(), "{html:?} became {without:?}");
    assert_eq!(sanitise(&without).as_deref(), Some(without.as_str()), "{html:?} is not stable without images");
    let loads = Tokenizer::new(without.as_str()).any(|it| {
        let Ok(Token::StartTag(tag)) = it else { return false };
        tag.attributes.iter().any(|(name, value)| text(name) == "src" && text(value).trim().starts_with("http"))
    });
    assert!(!loads, "{without:?} loads from elsewhere");
}

#[test]
fn no_known_way_of_smuggling_gets_past_a_second_reader() {
    assert!(VECTORS.len() >= 120, "{}", VECTORS.len());
    for vector in VECTORS {
        is_harmless(vector);
        // In the middle of other HTML, in upper case, cut off, and with what some readers do not see between letters.
        is_harmless(&format!("<div><table><tr><td>before {vector} after</td></tr></table></div>"));
        is_harmless(&format!("<b><a href=\"https://x.example\">{vector}</a></b>{vector}"));
        is_harmless(&vector.to_uppercase());
        is_harmless(&vector[..vector.floor_char_boundary(vector.len() / 2)]);
        is_harmless(&vector[..vector.floor_char_boundary(vector.len() - 1)]);
        is_harmless(&vector.replace("script", "scr\0ipt").replace('<', "<\0"));
        is_harmless(&vector.replace(' ', "/").replace("='", "=\u{c}'"));
    }
}

#[test]
fn the_second_reader_does_see_what_is_forbidden() {
    for bad in [
        "<script>",
        "<p onclick=\"x\">",
        "<a href=\"javascript:x\">",
        "<a href=\"java\tscript:x\">",
        "<img src=\"data:text/html,x\">",
        "<img src=\"//x.example/a\">",
        "<p style=\"background:url(x)\">",
        "<form>",
        "<svg>",
        "<math>",
        "<img srcset=\"x\">",
        "<td background=\"x\">",
        "<!-- x -->",
        "<p style=\"position:fixed\">",
        "<meta>",
        "<!doctype html>",
        "<p title=\"x\"title=\"y\">",
    ] {
        assert_ne!(forbidden(bad), Vec::<String>::new(), "{bad}");
    }
    assert_eq!(
        forbidden("<p style=\"color:red\">x &lt;script&gt; <img src=\"cid:x\" alt=\"\"></p>"),
        Vec::<String>::new()
    );
}

#[test]
fn sample_mail_is_harmless_to_a_second_reader() {
    let Some(folder) = super::mail_sample::sample() else {
        println!("no sample mail here; MAILSPAN_MAIL_SAMPLE names a folder of it");
        return;
    };
    let mut found = Vec::new();
    super::mail_sample::files(&folder, &mut found);
    let mut seen = 0;
    for path in found {
        let mail = mailspan::mail::parse::parse(&std::fs::read(&path).unwrap());
        if let Some(html) = &mail.html {
            seen += 1;
            is_harmless(&html.original.value);
        }
    }
    println!("{seen} mails with HTML");
}

proptest::proptest! {
    #[test]
    fn no_mixture_of_dangerous_pieces_gets_past_a_second_reader(
        html in "(<(/)?(svg|math|style|script|table|tr|td|mtext|mglyph|form|p|b|a href=https://x|title|textarea|noscript|template|select|option|img src=x onerror=a|desc|foreignObject|annotation-xml encoding=text/html|pre|caption|frameset|xmp|nobr|button|h1|li|dd|ruby|rt)>|<!--|-->|--!>|<!\\[CDATA\\[|\\]\\]>|<|>|\"|'|&lt;|\n|x){0,24}"
    ) {
        is_harmless(&html);
    }
}
