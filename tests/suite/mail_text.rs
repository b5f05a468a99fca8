//! Text made of HTML reads as a person would have copied it: nothing said twice, nothing lost, nothing hidden shown.

use std::time::Duration;

use mailspan::mail::html::text_of_any;
use mailspan::mail::parse::parse;

fn becomes(table: &[(&str, &str)]) {
    for (html, text) in table {
        assert_eq!(text_of_any(html), *text, "{html}");
    }
}

#[test]
fn a_text_that_is_cut_within_a_letter_stays_legible() {
    let long = format!("Content-Type: text/plain; charset=utf-8\r\n\r\nx{}", "ü".repeat(4 << 20));
    let text = parse(long.as_bytes()).text.unwrap();
    assert!(text.is_truncated && text.value.starts_with("xüü"), "{:?}", text.value.chars().take(9).collect::<String>());
}

#[test]
fn links_keep_their_address_once() {
    becomes(&[
        ("<a href='https://x.de/a'>Order</a> now", "Order <https://x.de/a> now"),
        ("<a href='https://x.de/'>https://x.de</a>", "https://x.de"),
        ("<a href='https://x.de'>x.de</a>", "x.de"),
        ("<a href='https://x.de/?a=1&amp;b=2'>go</a>", "go <https://x.de/?a=1&b=2>"),
        ("<a href='mailto:a@x.de?subject=Hi'>a@x.de</a>", "a@x.de"),
        ("<a href='mailto:a@x.de'>Ann</a>", "Ann <a@x.de>"),
        ("<a href='tel:+49 30 1'>+49 301</a>", "+49 301"),
        ("<a href='tel:+49301'>call</a>", "call <+49301>"),
        ("<a href='https://x.de'><img src='https://x.de/i.png' alt='Logo'></a>", "[Logo] <https://x.de>"),
        ("<a href='https://x.de'><img src='https://x.de/i.png'></a>", "<https://x.de>"),
        // The picture and the words of one offer.
        ("<a href='https://x.de/1'>One</a> <a href='https://x.de/1'>more of it</a>", "One <https://x.de/1> more of it"),
        ("<a href='#part'>below</a><a name='part'></a>", "below"),
        ("<a href='javascript:alert(1)'>click</a>", "click"),
        ("<blockquote><a href='https://x.de'>https://x.de</a></blockquote>", "> https://x.de"),
        ("<a href='https://x.de'><div>Block</div></a><div>next</div>", "Block <https://x.de>\nnext"),
    ]);
}

#[test]
fn lists_have_their_marks() {
    becomes(&[
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
        ("<ol start='9'><li>a</li><li>b<br>c</li><li value='4'>d</li></ol>", "9. a\n10. b\n    c\n4. d"),
        (
            "<p>Do:</p><ul><li>a<ul><li>a1</li><li>a2</li></ul></li><li>b</li></ul><p>Done</p>",
            "Do:\n\n- a\n  - a1\n  - a2\n- b\n\nDone",
        ),
        ("<ul><li><p>a</p></li><li><p>b</p><p>c</p></li></ul>", "- a\n- b\n\n  c"),
        ("<ul><li></li><li>x</li></ul>", "- x"),
        ("<li>without a list</li>", "- without a list"),
        ("<dl><dt>Term</dt><dd>means</dd></dl>", "Term\nmeans"),
    ]);
}

#[test]
fn tables_part_their_cells_and_layout_leaves_no_litter() {
    becomes(&[
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a\tb\nc"),
        // As Word writes them.
        (
            "<table border=1><tr><td><p>Item</p></td><td><p>Price</p></td></tr><tr><td><p>Tea</p></td><td><p>3</p></td></tr></table>",
            "Item\tPrice\nTea\t3",
        ),
        // A gap in a table of values keeps the columns apart; in a layout it means nothing.
        (
            "<table><tr><th>a</th><th>b</th><th>c</th></tr><tr><td>1</td><td></td><td>3</td></tr><tr><td></td><td>2</td></tr></table>",
            "a\tb\tc\n1\t\t3\n\t2",
        ),
        ("<table><tr><td></td><td>shown</td><td> &nbsp; </td></tr><tr><td></td></tr></table>", "shown"),
        // Layout in layout.
        (
            "<table><tr><td><table><tr><td><p>One</p></td></tr></table></td></tr><tr><td><div>Two</div></td></tr></table>",
            "One\n\nTwo",
        ),
        ("<table><tr><td>left<br>left too</td><td>right</td></tr></table>", "left\nleft too\nright"),
        ("<table><caption>Sums</caption><tr><td>1</td><td>2</td></tr></table>", "Sums\n1\t2"),
        ("before<table><tr><td>in</td></tr></table>after", "before\nin\nafter"),
    ]);
}

#[test]
fn quotations_stand_behind_their_mark() {
    becomes(&[
        ("<p>Mine</p><blockquote>yours</blockquote>", "Mine\n\n> yours"),
        ("<blockquote><p>a</p><p>b</p><blockquote>c</blockquote></blockquote>d", "> a\n>\n> b\n>\n> > c\n\nd"),
        ("<blockquote><ul><li>a</li></ul></blockquote>", "> - a"),
        // Gmail.
        (
            "<div dir='ltr'>Thanks!</div><br><div class='gmail_quote'><div class='gmail_attr'>On Sat, Ann &lt;<a href='mailto:ann@x.de'>ann@x.de</a>&gt; wrote:<br></div><blockquote class='gmail_quote' style='margin:0 0 0 .8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex'><div>Where is it?</div></blockquote></div>",
            "Thanks!\n\nOn Sat, Ann <ann@x.de> wrote:\n\n> Where is it?",
        ),
        // Gmail's button for setting in.
        ("<blockquote style='margin:0 0 0 40px;border:none;padding:0px'>set in</blockquote>", "    set in"),
        // Outlook on the web.
        (
            "<div>Thanks</div><div><br></div><hr tabindex='-1' style='display:inline-block;width:98%'><div id='divRplyFwdMsg'><b>From:</b> Ann<br><b>Subject:</b> Tea</div><div>Where?</div>",
            "Thanks\n\n________________________________\nFrom: Ann\nSubject: Tea\nWhere?",
        ),
        // Apple Mail.
        (
            "Yes<br><div><blockquote type='cite'><div>On 1 Nov, Ann wrote:</div><br><div>Well?</div></blockquote></div>",
            "Yes\n\n> On 1 Nov, Ann wrote:\n>\n> Well?",
        ),
    ]);
}

#[test]
fn words_are_laid_out_as_they_are_shown() {
    becomes(&[
        ("<h1>Title</h1><p>one</p><p>two</p>", "Title\n\none\n\ntwo"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("<div>one</div><div><br></div><div>two</div>", "one\n\ntwo"),
        ("one<br>two<br/>three<br><br><br>four", "one\ntwo\nthree\n\nfour"),
        ("  much \n  space  ", "much space"),
        ("<b>bold</b><i>er</i> <u> x</u>", "bolder x"),
        ("a&nbsp;b &lt;c&gt; &amp;amp; &euro; &#x1F600;", "a b <c> &amp; € 😀"),
        ("<pre>a\n  b\n\n\nc</pre>d", "a\n  b\n\n\nc\n\nd"),
        ("<blockquote><pre>a\n\nb</pre></blockquote>", "> a\n>\n> b"),
        ("<span style='white-space:pre-wrap'>a\nb</span>", "a\nb"),
        ("<p title=\"a > b\">x</p>", "x"),
        ("<img alt='A chart' src='cid:x'> and <img alt='' src='cid:y'>", "[A chart] and"),
        ("before<hr>after", "before\n________________________________\nafter"),
        ("He said <q>yes</q>", "He said \"yes\""),
        ("<style>p{}</style><script>x</script><title>t</title>shown", "shown"),
        ("soft\u{ad}hyphen zero\u{200b}width", "softhyphen zerowidth"),
        ("می\u{200c}خواهم 👨\u{200d}👩", "می\u{200c}خواهم 👨\u{200d}👩"),
        ("<o:p>&nbsp;</o:p><p>x</p>", "x"),
        ("", ""),
    ]);
}

#[test]
fn what_the_sender_hides_is_left_out_unless_it_is_all_there_is() {
    becomes(&[
        ("<div style='display:none;font-size:1px'>Only in lists &zwnj;&nbsp;&#847;</div><p>Hello</p>", "Hello"),
        ("<span style='DISPLAY : none !important'>no</span>yes", "yes"),
        ("<div style='max-height:0px;overflow:hidden'>no<table><tr><td>no</td></tr></table></div>yes", "yes"),
        ("<div style='visibility:hidden'>no<br><div>no</div></div>yes", "yes"),
        ("<p hidden>no</p>yes", "yes"),
        ("<div style='display:none'>all there is</div><img src='https://x.de/1.png'>", "all there is"),
        (
            "<div style='display:none'><a href='https://x.de'>no</a></div><a href='https://x.de/2'>yes</a>",
            "yes <https://x.de/2>",
        ),
        ("<div style='max-height:0.5em;overflow:hidden;height:30px'>small</div>", "small"),
    ]);
}

#[test]
fn text_that_is_written_otherwise_is_read_as_it_is_meant() {
    let read = |kind: &str, text: &str| {
        let mail = parse(format!("Subject: x\r\nContent-Type: {kind}\r\n\r\n{text}").as_bytes());
        (mail.text.map(|it| it.value), mail.text_is_derived, mail.attachments.len())
    };
    let flowed = "text/plain; charset=utf-8; format=Flowed";
    assert_eq!(read(flowed, "one \r\ntwo\r\n> three \r\n> four"), (Some("one two\n> three four".into()), false, 0));
    assert_eq!(read(&format!("{flowed}; delsp=yes"), "日本 \r\n語"), (Some("日本語".into()), false, 0));
    assert_eq!(read("text/plain", "one \r\ntwo"), (Some("one \ntwo".into()), false, 0));
    // It stays at hand as it was written.
    assert_eq!(read("text/enriched", "<bold>Now</bold> is\r\nthe time"), (Some("Now is the time".into()), true, 1));
    let (text, _, attached) = read("text/rtf", "{\\rtf1 Hello}");
    assert_eq!((text, attached), (None, 1), "what cannot be read is attached, and nothing is made up");
}

#[test]
fn text_of_cut_html_says_that_it_is_cut() {
    let long = format!("Subject: x\r\nContent-Type: text/html\r\n\r\n{}", "<p>word ü</p>".repeat(100_000));
    let mail = parse(long.as_bytes());
    let text = mail.text.unwrap();
    assert!(text.is_truncated && mail.html.as_ref().unwrap().original.is_truncated);
    assert!(text.value.len() <= 1 << 20 && text.value.starts_with("word ü\n\nword"));
    let short = parse(b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>word</p>");
    assert!(!short.text.unwrap().is_truncated);
}

/// How long this thread was on a processor for it: a busy machine does not make that longer. The best of several.
fn time(html: &str) -> Duration {
    let on_processor = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
    };
    let once = || {
        let begun = on_processor();
        let _ = text_of_any(html);
        on_processor() - begun
    };
    (0..3).map(|_| once()).min().unwrap_or_default()
}

#[test]
fn hostile_html_takes_time_in_proportion_to_its_size() {
    let fill = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len());
    for unit in [
        "<blockquote>x",
        "<ul><li>x",
        "<table><tr><td>x",
        "<table><tr><td></td><td>",
        "<a href=https://x.de><table><tr><td>x",
        "<a href=https://x.de>x</a>",
        "<br>",
        "<pre>\n",
        "&amp;",
        "<div style='display:none'>",
        "<img alt=x>",
        "\u{200c} ",
    ] {
        let (small, large) = (time(&fill(unit, 5_000)), time(&fill(unit, 40_000)));
        assert!(
            large <= small * 8 * 6 + Duration::from_millis(400),
            "{unit}: {small:?} for 5 kB, {large:?} for eight times as much"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_html_becomes_text_without_blanks_at_line_ends(
        html in "(<(/)?(p|div|br|ul|ol|li|table|tr|td|th|a href=https://x.de|b|blockquote|pre|hr|q|h1)>|z|ü|&nbsp;| |\n){0,40}"
    ) {
        let text = text_of_any(&html);
        proptest::prop_assert!(!html.contains('z') || text.contains('z'), "{} became {:?}", html, text);
        if !html.contains("<pre") && !html.contains("<table") {
            proptest::prop_assert!(text.lines().all(|line| line.trim_end() == line), "{} became {:?}", html, text);
            proptest::prop_assert!(!text.contains("\n\n\n"), "{} became {:?}", html, text);
        }
    }
}
