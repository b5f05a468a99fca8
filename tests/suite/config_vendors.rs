//! What is asked of a route that leads to a vendor's API.

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};

/// The problems and warnings of the good configuration with this destination.
fn said(server: &str, destination: &str) -> (Vec<String>, Vec<String>) {
    let folder = Folder::new();
    let good = GOOD.replacen("[server]", &format!("[server]\n{server}"), 1);
    let routes = good.find("[[routes]]").unwrap();
    let text = format!("{}\n[[routes]]\nname = \"vendor\"\n[routes.destination]\n{destination}\n", &good[..routes]);
    let file = folder.write("mailspan.toml", &text);
    match Config::load(&[file], env(&[])) {
        Ok(loaded) => (Vec::new(), loaded.warnings.into_iter().map(|it| it.message).collect()),
        Err(problems) => (problems.to_string().lines().skip(1).map(str::to_owned).collect(), Vec::new()),
    }
}

const LINKED: &str = "content_url = \"https://bridge.example.com\"";
const GENESYS: &str =
    "kind = \"genesys_cloud\"\nregion = \"mypurecloud.de\"\nclient_id = \"c\"\nclient_secret = \"s\"\nflow_id = \"f\"";

#[test]
fn a_genesys_route_is_checked_key_by_key() {
    assert_eq!(said(LINKED, GENESYS), (vec![], vec![]));
    assert!(said("", GENESYS).1[0].contains("set server.content_url"));
    for (old, new, key, told) in [
        ("region = \"mypurecloud.de\"", "", "destination.region", "is missing"),
        ("mypurecloud.de", "https://mypurecloud.de", "destination.region", "must be a domain alone"),
        ("region = \"mypurecloud.de\"", "login_url = \"https://l.example\"", "destination.api_url", "is missing"),
        ("flow_id = \"f\"", "flow_id = \"f\"\napi_url = \"http://a.example\"", "destination.api_url", "https://"),
        ("client_id = \"c\"", "client_id = \" \"", "destination.client_id", "is empty"),
        ("client_secret = \"s\"", "", "destination.client_secret", "is missing"),
        ("flow_id = \"f\"", "", "destination.flow_id", "or queue_id"),
        ("flow_id = \"f\"", "flow_id = \"f\"\nqueue_id = \"q\"", "destination.queue_id", "keep one of the two"),
        ("flow_id = \"f\"", "flow_id = \"f\"\nprovider = \"PureCloud Email\"", "destination.provider", "native mail"),
        ("flow_id = \"f\"", "flow_id = \"f\"\ntimeout = \"0s\"", "destination.timeout", "longer than 0s"),
        ("flow_id = \"f\"", "flow_id = \"f\"\nattributes = { mb_x = \"1\" }", "attributes.mb_x", "must not begin with"),
        ("flow_id = \"f\"", "flow_id = \"f\"\nattributes = { \"a b\" = \"1\" }", "attributes", "letters, digits"),
    ] {
        let (problems, _) = said(LINKED, &GENESYS.replacen(old, new, 1));
        assert!(problems.len() == 1 && problems[0].contains(key) && problems[0].contains(told), "{new}: {problems:?}");
    }
}

const CONNECT: &str =
    "kind = \"amazon_connect\"\nregion = \"eu-central-1\"\ninstance_id = \"i\"\naddress = \"a@b.example\"";

#[test]
fn a_connect_route_is_checked_key_by_key() {
    assert_eq!(said(LINKED, CONNECT), (vec![], vec![]));
    let (problems, _) = said("", CONNECT);
    assert!(problems.len() == 1 && problems[0].contains("set server.content_url"), "{problems:?}");
    let with = |more: &str| format!("{CONNECT}\n{more}");
    for (destination, key, told) in [
        (CONNECT.replace("eu-central-1", "EU"), "destination.region", "must be an AWS region"),
        (CONNECT.replace("a@b.example", "support"), "destination.address", "must be an e-mail address"),
        (CONNECT.replace("\"i\"", "\"\""), "destination.instance_id", "1 to 100"),
        (with("contact_flow_id = \"\""), "destination.contact_flow_id", "1 to 500"),
        (with("endpoint_url = \"http://c.example\""), "destination.endpoint_url", "https://"),
        (with("access_key_id = \"AKIA\""), "destination.secret_access_key", "is missing"),
        (with("secret_access_key = \"s\""), "destination.access_key_id", "is missing"),
        (with("max_attachments = 51"), "destination.max_attachments", "1 to 50"),
        (with("timeout = \"0s\""), "destination.timeout", "longer than 0s"),
    ] {
        let (problems, _) = said(LINKED, &destination);
        assert!(problems.len() == 1 && problems[0].contains(key) && problems[0].contains(told), "{key}: {problems:?}");
    }
}
