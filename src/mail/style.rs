//! Inline styles of mail: what shapes text stays, what reaches out of the message goes.

/// Properties that shape text, tables and images, and nothing outside of them.
const PROPERTIES: [&str; 42] = [
    "background",
    "background-color",
    "border",
    "border-bottom",
    "border-collapse",
    "border-color",
    "border-left",
    "border-radius",
    "border-right",
    "border-spacing",
    "border-style",
    "border-top",
    "border-width",
    "color",
    "direction",
    "display",
    "font",
    "font-family",
    "font-size",
    "font-style",
    "font-variant",
    "font-weight",
    "height",
    "letter-spacing",
    "line-height",
    "list-style-type",
    "margin",
    "max-height",
    "max-width",
    "min-width",
    "overflow",
    "padding",
    "table-layout",
    "text-align",
    "text-decoration",
    "text-indent",
    "text-transform",
    "vertical-align",
    "visibility",
    "white-space",
    "width",
    "word-break",
];
/// Where not every value is harmless, or every value known: these are.
const VALUES: [(&str, &[&str]); 3] = [
    ("display", &["none", "block", "inline", "inline-block", "table", "table-row", "table-cell", "list-item"]),
    ("overflow", &["hidden", "visible"]),
    ("visibility", &["hidden", "visible"]),
];
/// The only functions a value may call.
const FUNCTIONS: [&str; 4] = ["rgb", "rgba", "hsl", "hsla"];
/// A value longer than this shapes nothing a mail needs.
const LONGEST_VALUE: usize = 256;

/// The declarations that are safe, in order; empty when none is.
///
/// Split at every semicolon, also inside strings: that can only make a declaration unreadable, never safe.
pub fn safe(style: &str) -> String {
    let mut kept = String::with_capacity(style.len());
    for declaration in style.split(';') {
        let Some((property, value)) = declaration.split_once(':') else { continue };
        let property = property.trim().to_ascii_lowercase();
        let value = value.trim();
        if is_allowed(&property) && is_safe(&property, value) {
            if !kept.is_empty() {
                kept.push(';');
            }
            kept.push_str(&property);
            kept.push(':');
            kept.push_str(value);
        }
    }
    kept
}

fn is_allowed(property: &str) -> bool {
    let side = ["-bottom", "-left", "-right", "-top"].iter().find_map(|it| property.strip_suffix(it));
    PROPERTIES.contains(&property) || matches!(side, Some("margin" | "padding"))
}

fn is_safe(property: &str, value: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || " #%.,-+'\"()!/_".contains(c);
    let calls_known = value.match_indices('(').all(|(at, _)| {
        let name = value[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
        FUNCTIONS.iter().any(|it| name.eq_ignore_ascii_case(it))
    });
    // A negative margin moves text over what surrounds the message.
    let stays_inside = !(property.starts_with("margin") || property == "text-indent") || !value.contains('-');
    let is_one_of = |values: &[&str]| {
        let word = value.strip_suffix("!important").unwrap_or(value).trim_end();
        values.iter().any(|it| word.eq_ignore_ascii_case(it))
    };
    let is_known = VALUES.iter().find(|it| it.0 == property).is_none_or(|it| is_one_of(it.1));
    // What is not closed takes what follows with it.
    let is_closed = ['"', '\''].iter().all(|it| value.matches(*it).count().is_multiple_of(2))
        && value.matches('(').count() == value.matches(')').count();
    let is_short = !value.is_empty() && value.len() <= LONGEST_VALUE;
    is_short && value.chars().all(is_plain) && calls_known && stays_inside && is_known && is_closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shapes_the_message_stays() {
        for (style, kept) in [
            ("color: red; font-size:12px", "color:red;font-size:12px"),
            ("COLOR: rgb(1, 2, 3)", "color:rgb(1, 2, 3)"),
            ("background: url(http://x/y)", ""),
            ("background:#fff url('x')", ""),
            ("background:u\\72l(x)", ""),
            ("width: expression(alert(1))", ""),
            ("position: fixed; top: 0", ""),
            ("margin-left:-500px; padding-left: 3px", "padding-left:3px"),
            ("margin: 0 auto", "margin:0 auto"),
            ("color: red /* */ ; width: 1px", "width:1px"),
            ("behavior: url(x); -moz-binding: url(x)", ""),
            ("font-family: 'Segoe UI', sans-serif", "font-family:'Segoe UI', sans-serif"),
            ("color:red}body{display:none", ""),
            ("width: calc(100vw)", ""),
            (
                "display:none !important; overflow: hidden; max-height:0",
                "display:none !important;overflow:hidden;max-height:0",
            ),
            ("display: flex; overflow: scroll; visibility: collapse", ""),
            ("font-family: 'a;b', serif; color: red", "color:red"),
            ("color: rgb(1,2,3; width: 3px", "width:3px"),
            ("garbage", ""),
            ("", ""),
        ] {
            assert_eq!(safe(style), kept, "{style}");
        }
    }
}
