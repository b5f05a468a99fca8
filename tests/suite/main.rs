//! Suite.

#[cfg(test)]
mod mail_html;
#[cfg(test)]
mod mail_interaction;
#[cfg(test)]
mod mail_parse;
#[cfg(test)]
mod mail_sample;
#[cfg(test)]
mod mail_schema;
