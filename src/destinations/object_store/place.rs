//! Where an interaction's objects lie: `tenant/yyyy/mm/dd/interaction/…`, by the day the mail was received, in UTC.
//!
//! Made of nothing but facts of the mail, so every attempt finds what the one before it wrote.

use ::object_store::path::{Path, PathPart};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::Handover;
use crate::model::outcome::Failure;

/// The folder of one interaction.
#[derive(Debug)]
pub(super) struct Place(Path);

impl Place {
    pub(super) fn of(prefix: &Path, handover: &Handover) -> Result<Self, Failure> {
        let id = handover.interaction.as_str();
        let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-');
        if id.is_empty() || id.len() > 200 || !id.chars().all(is_plain) {
            return Err(Failure::permanent("the interaction's id cannot be the name of a folder"));
        }
        let day = Timestamp::from_millisecond(handover.about.received_at)
            .map_err(|_| Failure::permanent("the mail was received on no day of the calendar"))?
            .to_zoned(TimeZone::UTC)
            .date();
        let tenant = match handover.about.tenant.as_str() {
            "" => "-",
            tenant => tenant,
        };
        let day = [format!("{:04}", day.year()), format!("{:02}", day.month()), format!("{:02}", day.day())];
        let mut path = prefix.clone().join(tenant);
        for part in day {
            path = path.join(part);
        }
        Ok(Self(path.join(id)))
    }

    /// The mail as Graph gave it.
    pub(super) fn mail(&self) -> Path {
        self.below("message.eml")
    }

    /// An attachment, decoded, under the SHA-256 of its bytes.
    pub(super) fn attachment(&self, digest: &str) -> Path {
        self.below("att").join(digest)
    }

    /// What is written last.
    pub(super) fn marker(&self) -> Path {
        self.below("interaction.json")
    }

    fn below<'a>(&'a self, name: impl Into<PathPart<'a>>) -> Path {
        self.0.clone().join(name)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::super::About;
    use super::*;

    fn handover(interaction: &str, tenant: &str, received_at: i64) -> Handover {
        Handover {
            interaction: interaction.into(),
            attempt: 1,
            route: "archive".into(),
            body: Bytes::new(),
            content_type: "application/json",
            headers: Vec::new(),
            raw: Bytes::new(),
            about: About { tenant: tenant.into(), received_at, ..About::default() },
        }
    }

    #[test]
    fn a_place_is_made_of_tenant_day_and_id() {
        let prefix = Path::from("mail/in");
        // 2026-11-21T23:59:59.999Z
        let place = Place::of(&prefix, &handover("ix_1", "contoso", 1_795_305_599_999)).unwrap();
        assert_eq!(place.mail().as_ref(), "mail/in/contoso/2026/11/21/ix_1/message.eml");
        assert_eq!(place.attachment("ab12").as_ref(), "mail/in/contoso/2026/11/21/ix_1/att/ab12");
        assert_eq!(place.marker().as_ref(), "mail/in/contoso/2026/11/21/ix_1/interaction.json");
        let place = Place::of(&Path::default(), &handover("ix_1", "contoso", 1_795_305_600_000)).unwrap();
        assert_eq!(place.mail().as_ref(), "contoso/2026/11/22/ix_1/message.eml");
    }

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for id in ["", "..", "../ix_1", "a/b", "a b", "ü"] {
            assert!(
                matches!(Place::of(&Path::default(), &handover(id, "t", 0)), Err(Failure::Permanent { .. })),
                "{id}"
            );
        }
        let place = Place::of(&Path::default(), &handover("ix_1", "../../etc", 0)).unwrap();
        assert_eq!(place.mail().parts().count(), 6, "{}", place.mail());
        assert!(Place::of(&Path::default(), &handover("ix_1", "t", i64::MAX)).is_err());
    }
}
