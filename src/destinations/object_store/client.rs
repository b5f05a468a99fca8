//! The client of a store: whose it is by its address, how it is reached by its options, and on our own way out.
//!
//! It sends nothing twice by itself: when to try again is the job's to decide. Options given as files are read anew
//! when a file changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use ::object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use ::object_store::client::{HttpClient, HttpConnector};
use ::object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use ::object_store::local::LocalFileSystem;
use ::object_store::path::Path;
use ::object_store::{ClientConfigKey, ClientOptions, Error, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use super::super::watched::Watched;
use super::Config;
use crate::egress::Egress;
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Amazon S3 and whatever speaks its protocol.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Google,
    /// A local folder.
    Local,
}

/// Whose store an address names, and the prefix within it.
///
/// # Errors
/// What is wrong with the address and what to do.
pub fn kind(url: &Url) -> Result<(Kind, Path), String> {
    const SAYS: &str = "must be s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder";
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("must be scheme, name and path only; credentials are options".into());
    }
    let (scheme, prefix) = ObjectStoreScheme::parse(url).map_err(|_| SAYS.to_owned())?;
    let kind = match (scheme, url.scheme()) {
        (ObjectStoreScheme::AmazonS3, "s3") => Kind::S3,
        (ObjectStoreScheme::MicrosoftAzure, "az" | "abfss") => Kind::Azure,
        (ObjectStoreScheme::GoogleCloudStorage, "gs") => Kind::Google,
        (ObjectStoreScheme::Local, _) => Kind::Local,
        _ => return Err(SAYS.into()),
    };
    Ok((kind, prefix))
}

/// The folder a local address names.
pub(super) fn folder(url: &Url) -> Result<PathBuf, &'static str> {
    url.to_file_path().map_err(|()| "must be file:/// and the path of a folder")
}

/// Whether a store of this kind has this option, itself or as the name of a file that holds it.
///
/// # Errors
/// What is wrong with it.
pub fn check_option(kind: Kind, name: &str) -> Result<(), &'static str> {
    match (kind, option(kind, name)) {
        (_, Some(_)) => Ok(()),
        (Kind::Local, None) => Err("is of no use: a folder has no options; remove it"),
        (Kind::S3, None) => Err("is no option of S3, as in region, endpoint, access_key_id, secret_access_key_file"),
        (Kind::Azure, None) => Err("is no option of Azure, as in account_name, account_key_file, client_secret_file"),
        (Kind::Google, None) => {
            Err("is no option of Google Cloud, as in service_account_path, service_account_key_file")
        }
    }
}

/// The option's own name, and whether the value is the path of a file that holds it. Some options are paths themselves.
fn option(kind: Kind, name: &str) -> Option<(&str, bool)> {
    let is_known = |name: &str| match kind {
        Kind::S3 => name.parse::<AmazonS3ConfigKey>().is_ok(),
        Kind::Azure => name.parse::<AzureConfigKey>().is_ok(),
        Kind::Google => name.parse::<GoogleConfigKey>().is_ok(),
        Kind::Local => false,
    };
    match name.strip_suffix("_file") {
        _ if is_known(name) => Some((name, false)),
        Some(own) if is_known(own) => Some((own, true)),
        _ => None,
    }
}

/// The store, made anew when one of its options' files changes.
pub(super) fn watched(
    kind: Kind,
    config: &Config,
    egress: &Egress,
    now: UnixMillis,
) -> Result<Watched<Arc<dyn ObjectStore>>, String> {
    let mut sources = BTreeMap::new();
    let mut files = Vec::new();
    for (name, value) in &config.options {
        let (own, is_file) = option(kind, name).ok_or_else(|| format!("{name} is not known"))?;
        let source = if is_file {
            let path = PathBuf::from(value.expose());
            files.push(path.clone());
            SecretSource::File(path)
        } else {
            SecretSource::Inline(value.clone())
        };
        if sources.insert(own.to_owned(), source).is_some() {
            return Err(format!("{own} is set together with {own}_file; keep one of them"));
        }
    }
    let (url, egress, timeout) = (config.url.clone(), egress.clone(), config.timeout.0);
    Watched::new(files, now, move || {
        let read = |(name, source): (&String, &SecretSource)| Ok((name.clone(), source.current()?));
        let options = sources.iter().map(read).collect::<Result<Vec<_>, String>>()?;
        build(kind, &url, &options, &egress, timeout)
    })
}

fn build(
    kind: Kind,
    url: &Url,
    options: &[(String, Secret)],
    egress: &Egress,
    timeout: Duration,
) -> Result<Arc<dyn ObjectStore>, String> {
    let way_out = WayOut(egress.clone());
    let once = RetryConfig { max_retries: 0, retry_timeout: timeout, ..RetryConfig::default() };
    let url = url.as_str();
    // What is known by its name was checked; what its value lacks is said without the value.
    let refused = |_: Error| "they do not fit together; see what this kind of store needs".to_owned();
    Ok(match kind {
        Kind::Local => Arc::new(LocalFileSystem::new().with_fsync(true)),
        Kind::S3 => {
            let all = options.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.expose())));
            let builder = all.fold(AmazonS3Builder::from_env(), |it, (key, value)| it.with_config(key, value));
            let builder = builder.with_url(url).with_checksum_algorithm(Checksum::SHA256);
            Arc::new(builder.with_http_connector(way_out).with_retry(once).build().map_err(refused)?)
        }
        Kind::Azure => {
            let all = options.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.expose())));
            let builder = all.fold(MicrosoftAzureBuilder::from_env(), |it, (key, value)| it.with_config(key, value));
            Arc::new(builder.with_url(url).with_http_connector(way_out).with_retry(once).build().map_err(refused)?)
        }
        Kind::Google => {
            let all = options.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.expose())));
            let builder =
                all.fold(GoogleCloudStorageBuilder::from_env(), |it, (key, value)| it.with_config(key, value));
            Arc::new(builder.with_url(url).with_http_connector(way_out).with_retry(once).build().map_err(refused)?)
        }
    })
}

/// Requests leave as all of ours do: roots, proxy, time limits on connecting.
#[derive(Debug)]
struct WayOut(Egress);

impl HttpConnector for WayOut {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let refused = |error: crate::egress::EgressError| Error::Generic { store: "egress", source: Box::new(error) };
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|it| it == "true");
        let client = self.0.client().map_err(refused)?.https_only(!allow_http).no_gzip();
        self.0.finish(client).map(HttpClient::new).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whose_store_it_is() {
        for (url, expected) in [
            ("s3://bucket/a/b", Some((Kind::S3, "a/b"))),
            ("gs://bucket", Some((Kind::Google, ""))),
            ("az://container/in", Some((Kind::Azure, "in"))),
            ("file:///var/mail", Some((Kind::Local, "var/mail"))),
            ("memory:///", None),
            ("https://example.com/a", None),
            ("s3://key:secret@bucket/a", None),
            ("s3://bucket/a?key=secret", None),
            ("ftp://host/a", None),
        ] {
            let found = kind(&url.parse().unwrap()).ok().map(|(kind, prefix)| (kind, prefix.to_string()));
            assert_eq!(found, expected.map(|(kind, prefix)| (kind, prefix.to_owned())), "{url}");
        }
    }

    #[test]
    fn a_file_may_stand_for_any_option_and_some_options_are_files() {
        assert_eq!(option(Kind::S3, "secret_access_key_file"), Some(("secret_access_key", true)));
        assert_eq!(option(Kind::S3, "aws_region"), Some(("aws_region", false)));
        assert_eq!(option(Kind::Azure, "federated_token_file"), Some(("federated_token_file", false)));
        assert_eq!(option(Kind::S3, "regoin"), None);
        assert!(check_option(Kind::Local, "region").is_err());
    }
}
