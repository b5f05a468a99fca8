//! How mail systems put it: the phrases of bounces and absence notices, in the languages of the systems that write them.
//!
//! Wording never decides alone: people write the same words. It counts beside a sign that no person sent the mail.

use std::sync::LazyLock;

use regex::Regex;

use super::clues::is_match;

type Pattern = LazyLock<Option<Regex>>;

fn any_of(before: &str, phrases: &[&str]) -> Option<Regex> {
    Regex::new(&format!("(?im){before}(?:{})", phrases.join("|"))).ok()
}

/// Subjects of bounces.
static UNDELIVERED_SUBJECT: Pattern = LazyLock::new(|| {
    any_of(
        "",
        &[
            r"\breturned (?:e-?)?mail\b|\breturned to sender\b|\bbounced? (?:e-?mail|message)|\bfailure notice\b",
            r"\bundeliver(?:able|ed)\b|\bnon[- ]?deliver|\bnot (?:be )?delivered\b|\bfailed delivery\b|\bnondelivery\b",
            r"\bdeliver(?:y|ing)\b.{0,30}\b(?:fail|status|error|problem|report|delay|notif)|\bmail (?:system )?(?:error|failure)\b",
            r"\b(?:fail|error|problem|trouble)\w*\b.{0,20}\b(?:deliver|sending your (?:e-?)?mail)|\bmessage you sent blocked\b",
            r"\bcould not (?:be )?sen[dt]\b|\bmessage (?:could not|cannot) be\b|\bpostmaster notify\b|\bmessage rejected\b",
            r"nicht zu(?:gestellt|stellbar)|unzustellbar|zustell(?:ung|fehler).{0,20}(?:fehl|gescheitert|nicht|verz)|zustellfehler",
            r"non (?:remis|distribu|recapitabil|consegnat)|mancat[ao] (?:recapito|consegna)|échec de (?:la )?(?:remise|distribution)",
            r"no se (?:puede|pudo|ha podido) entregar|no entregad|não (?:é possível entregar|entregue|foi entregue)|falha na entrega",
            r"onbestelbaar|niet (?:bezorgd|afgeleverd)|kan inte levereras|olevererbar|kunne ikke leveres|ikke levert|ei voitu toimittaa",
            r"nedoručiteln|nedorucen|niedostarczon|nie można dostarczyć|kézbesíthetetlen|nem kézbesíthető|iletilemedi|teslim edilemedi",
            r"недоставлен|не\s?доставлен|не может быть доставлен|配信不能|配信できません|未配信|送信できません|无法(?:传递|投递|送达)|退信|배달(?:되지|할 수)",
        ],
    )
});

/// What bounces say in their text.
static UNDELIVERED_TEXT: Pattern = LazyLock::new(|| {
    any_of(
        "",
        &[
            r"(?:could ?n[o']t|can(?:no|')t|was ?n[o']t|were ?n[o']t|has not(?: yet)?|unable to|not able to|failed to) (?:be )?deliver",
            r"did not reach|deliver(?:y|ing)\b[^.]{0,80}\b(?:fail|delayed|not possible|impossible)|addresses had\b[^.]{0,40}\b(?:error|problem)",
            r"(?:fail|error|problem|trouble)\w*\b[^.]{0,60}\bdeliver|fail(?:ed|ure) (?:permanently|reasons?)|transcript of session",
            r"recipients? (?:was|were|address)\b[^.]{0,20}\brejected|rejected your message|rejected recipient|does not like recipient",
            r"no such (?:user|mailbox|recipient)|user (?:is )?unknown|unknown user|mailbox (?:is )?(?:full|unavailable|not found)",
            r"exceeds allowed size|over ?quota|quota exceeded|smtp error from remote|remote (?:host|server) (?:said|responded|returned)",
            r"giving up on|given up|not going to try again|message will be retried|no further delivery attempts|returned to (?:you|sender)",
            r"konnte[n]? (?:leider )?nicht (?:zugestellt|übermittelt)|nicht zugestellt werden|unzustellbar|zustellung\b[^.]{0,40}\b(?:fehl|nicht)",
            r"n['’](?:a|ont) (?:pas )?pu être (?:remis|distribu|délivr)|non (?:è stato )?(?:recapitat|consegnat)|no (?:se )?(?:ha )?(?:podido|pudo) (?:ser )?entreg",
            r"não (?:pôde|foi possível) (?:ser )?entreg|kon niet worden (?:bezorgd|afgeleverd)|не (?:может быть|удалось|было) достав",
            r"送信できません|配信できません|届けることができません|无法(?:传递|投递|送达)|배달되지",
        ],
    )
});

/// Waiting, not given up.
static DELAYED: Pattern = LazyLock::new(|| {
    any_of(
        "",
        &[
            r"\bdelay(?:ed)?\b|\bwarning\b.{0,40}\b(?:could not|not yet|message)|will (?:keep|continue)\b[^.]{0,20}\btry|still (?:being )?(?:trying|retried)",
            r"will be retried|has not yet been delivered|could not (?:be )?sen[dt] (?:\w+ ){0,2}for (?:the )?past|verzögert|zeitweilig|temporairement",
            r"no need to (?:resend|retry)|do not need to resend|задержк|遅延|遅れて",
        ],
    )
});

static GIVEN_UP: Pattern = LazyLock::new(|| {
    any_of(
        "",
        &[
            r"permanent|given up|giving up on|not going to try|will be deleted from (?:the )?queue|too long|no further (?:delivery )?attempt",
        ],
    )
});

/// The line behind which a bounce quotes the mail it is about.
static BORDER: Pattern = LazyLock::new(|| {
    any_of(
        r"^[-=*_ \t>|]*",
        &[
            r"(?:included|below|this|here|following)\b.{0,30}\b(?:is|are)\b.{0,20}\b(?:cop(?:y|ies)|headers?)\b.*$",
            r"(?:the )?(?:text|cop(?:y|ies)|headers?|beginning) of (?:the |your )?(?:original|returned|message).*$",
            r"(?:the )?(?:original|unsent|undelivered|undeliverable|returned|rejected) (?:e-?)?(?:mail|message)(?: info\w*| headers?| text| body| as)?\s*(?:follows?\W*|is following\W*|:|-+|$).*$",
            r"message (?:headers?|text|body) follows?\b.*$",
            r"(?:return-path|received|dkim-signature|x-received):",
        ],
    )
});

/// Absence, in subjects.
static ABSENT_SUBJECT: Pattern = LazyLock::new(|| any_of("", ABSENCE));

/// Absence, in texts: the same, and what only stands in sentences.
static ABSENT_TEXT: Pattern = LazyLock::new(|| {
    let sentences = [
        r"limited access to (?:my )?e-?mail|\bi (?:will be|am|'m) (?:back|away|returning|travel)|until i (?:return|am back)",
        r"\b(?:until|upon|after) my return|when i return|in dringenden (?:fällen|angelegenheiten)|ich bin (?:erst )?(?:wieder )?(?:ab|bis|am)\b",
        r"\bim urlaub\b|en (?:congés?|vacances)|de vacaciones|in (?:ferie|vacanza)|de férias|met vakantie|på semester|på ferie|lomalla|na urlopie|休暇|休假",
    ];
    any_of("", &[ABSENCE, &sentences].concat())
});

const ABSENCE: &[&str] = &[
    r"\bout[- ]of[- ](?:the[- ])?office\b|\booo\b|\bnot in the office\b|\baway from (?:the |my )?(?:office|desk|e-?mail|mail)\b",
    r"\bon (?:vacation|(?:annual |parental |maternity |paternity |sick |medical )?leave|holidays?)\b|\b(?:vacation|absence|away) (?:reply|message|notice|notification|responder)\b",
    r"abwesenheits|\babwesend\b|\bnicht im (?:büro|haus)\b|\baußer haus\b|urlaubs(?:notiz|meldung|vertretung)",
    r"absen(?:t|ce) du bureau|message d['’]absence|\bje suis absent|notification d['’]absence|absence prolongée",
    r"fuera de (?:la )?oficina|\bausente\b|fora do escritório|ausência|fuori (?:sede|ufficio)|\bassente\b|\bassenza\b",
    r"\bafwezig|niet aanwezig|frånvaro|fraværende|fravær\b|poissa(?: toimistolta)?\b|nieobecn|mimo kancelář|házon kívül|ofis dışında",
    r"отсутств|вне офиса|不在|休暇中|外出中|부재\s?중|不在办公室",
];

/// Subjects of automatic answers that name no reason.
static AUTOMATIC_SUBJECT: Pattern = LazyLock::new(|| {
    any_of(
        "",
        &[
            r"^\s*auto(?:matic)?[- ]?(?:reply|response|answer|respond\w*)\b|\bauto(?:matic|mated)?[- ]?(?:reply|response|responder)\b|^\s*auto:",
            r"automatische (?:antwort|rückantwort)|réponse automatique|respuesta automática|risposta automatica|resposta automática",
            r"automatisch antwoord|autosvar|automatiskt svar|automatisk svar|automaattinen vastaus|odpowiedź automatyczna|automatická odpověď",
            r"automatikus válasz|otomatik yanıt|автоматический ответ|автоответ|自動応答|自動返信|自动(?:答复|回复)|자동 회신|răspuns automat|αυτόματη απάντηση",
        ],
    )
});

pub(super) fn subject_is_of_bounce(subject: &str) -> bool {
    is_match(&UNDELIVERED_SUBJECT, subject)
}

pub(super) fn text_is_of_bounce(text: &str) -> bool {
    is_match(&UNDELIVERED_TEXT, text)
}

pub(super) fn is_only_delayed(subject: &str, text: &str) -> bool {
    (is_match(&DELAYED, subject) || is_match(&DELAYED, text)) && !is_match(&GIVEN_UP, text)
}

pub(super) fn subject_is_of_absence(subject: &str) -> bool {
    is_match(&ABSENT_SUBJECT, subject)
}

pub(super) fn text_is_of_absence(text: &str) -> bool {
    is_match(&ABSENT_TEXT, text)
}

pub(super) fn subject_is_of_answer(subject: &str) -> bool {
    is_match(&AUTOMATIC_SUBJECT, subject)
}

/// A text before it quotes a mail, and whether it does.
pub(super) fn before_quoted(text: &str) -> (&str, bool) {
    match BORDER.as_ref().and_then(|it| it.find(text)) {
        Some(border) => (&text[..border.start()], true),
        None => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        for pattern in [
            &UNDELIVERED_SUBJECT,
            &UNDELIVERED_TEXT,
            &DELAYED,
            &GIVEN_UP,
            &BORDER,
            &ABSENT_SUBJECT,
            &ABSENT_TEXT,
            &AUTOMATIC_SUBJECT,
        ] {
            assert!(pattern.is_some());
            assert!(!is_match(pattern, ""), "it would be found everywhere");
        }
    }

    #[test]
    fn bounces_are_known_by_their_subjects_and_letters_are_not() {
        for subject in [
            "Undeliverable: your order",
            "Undelivered Mail Returned to Sender",
            "Delivery Status Notification (Failure)",
            "Mail delivery failed: returning message to sender",
            "failure notice",
            "Warning: could not send message for past 4 hours",
            "Unzustellbar: Angebot",
            "Non remis : Votre commande",
            "Не доставлено: заказ",
            "配信不能: 注文",
        ] {
            assert!(subject_is_of_bounce(subject), "{subject}");
        }
        for subject in
            ["Where is my delivery?", "Delivered: your parcel", "Invoice returned", "Order 4711", "Status report"]
        {
            assert!(!subject_is_of_bounce(subject), "{subject}");
        }
    }

    #[test]
    fn a_quoted_mail_begins_behind_its_border() {
        for (text, said) in [
            ("It failed.\n\n--- Below this line is a copy of the message.\n\nReceived: x", "It failed.\n\n"),
            ("It failed.\n------ This is a copy of the message, including all the headers. ------\n", "It failed.\n"),
            ("It failed.\n   ----- Unsent message follows -----\nFrom: a", "It failed.\n"),
            ("It failed.\n--- The header of the original message is following. ---\n", "It failed.\n"),
            ("It failed.\nReceived: from a", "It failed.\n"),
            ("It failed.\nMessage headers follow.\n", "It failed.\n"),
        ] {
            assert_eq!(before_quoted(text), (said, true), "{text}");
        }
        let letter = "I received: nothing. The original message is lost.";
        assert_eq!(before_quoted(letter), (letter, false));
    }
}
