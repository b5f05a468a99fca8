//! Tokens: what Entra says of each credential, and what stands in what it issues.

use super::entries;
use crate::ops::doctor::finding::{Entry, State};

entries! { TOKEN:
    CREDENTIAL_UNREADABLE "credential_unreadable" Fail,
        "Credential {credential} ({kind}) cannot be read: {problem}",
        "the file is not there, is not readable for the user Mailspan runs as, or holds something else",
        "put the right file in its place and let the user Mailspan runs as read it (`ls -l`, `id`)";
    SECRET_WRONG "secret_wrong" Fail,
        "Entra refuses credential {credential}: the client secret is wrong (AADSTS{aadsts})",
        "it was cut off when it was copied, was deleted in Entra, belongs to another app than {client_id}, or is the secret's id",
        "Entra admin centre > App registrations > the app {client_id} > Certificates & secrets > New client secret; copy `Value` and put it into the place of the old one";
    SECRET_EXPIRED "secret_expired" Fail,
        "Entra refuses credential {credential}: the client secret has expired (AADSTS{aadsts})",
        "secrets of Entra end on the day chosen when they were made",
        "Entra admin centre > App registrations > the app {client_id} > Certificates & secrets > New client secret; replace the old one and set `expires` to its day, so that Mailspan warns before the next end";
    CERTIFICATE_NOT_REGISTERED "certificate_not_registered" Fail,
        "Entra refuses credential {credential}: it does not know the certificate (AADSTS{aadsts})",
        "the certificate is not registered with the app {client_id}, or has expired",
        "Entra admin centre > App registrations > the app {client_id} > Certificates & secrets > Certificates > Upload certificate: upload the file of certificate_file (never the private key)";
    ASSERTION_OUT_OF_TIME "assertion_out_of_time" Fail,
        "Entra refuses credential {credential}: what it shows is outside its time of validity (AADSTS{aadsts})",
        "the clock of this machine is wrong, or the federated token in the file is old",
        "check the clock (`date -u`); of a federated credential also that the platform still renews token_file (`ls -l`)";
    ASSERTION_WRONG "assertion_wrong" Fail,
        "Entra refuses credential {credential}: {says} (AADSTS{aadsts})",
        "the assertion does not fit this app and tenant",
        "compare tenant_id, client_id and token_endpoint with Entra admin centre > App registrations > the app > Overview";
    FEDERATION_NOT_FOUND "federation_not_found" Fail,
        "Entra refuses credential {credential}: {says} (AADSTS{aadsts})",
        "issuer, subject and audience of the token must each be written at the app exactly as they stand in the token",
        "Entra admin centre > App registrations > the app {client_id} > Certificates & secrets > Federated credentials: compare issuer, subject and audience with the token's (its middle part is base64url)";
    CREDENTIAL_REFUSED "credential_refused" Fail,
        "Credential {credential} ({kind}) is refused: {says}",
        "who was asked for a token does not accept it{code}",
        "look the code up at https://login.microsoftonline.com/error, and compare tenant_id, client_id and the credential with Entra admin centre > App registrations";
    APPLICATION_UNKNOWN "application_unknown" Fail,
        "The application {client_id} is not known in this tenant (AADSTS{aadsts})",
        "client_id or tenant_id is wrong (often the object id was copied instead of the application id), or no administrator of this tenant has consented to the app",
        "Entra admin centre > App registrations > the app > Overview: copy `Application (client) ID` and `Directory (tenant) ID`; of an app of another tenant an administrator opens https://login.microsoftonline.com/{tenant_id}/adminconsent?client_id={client_id}";
    APPLICATION_DISABLED "application_disabled" Fail,
        "The application {client_id} is disabled in this tenant (AADSTS{aadsts})",
        "an administrator has switched it off",
        "Entra admin centre > Enterprise applications > the app > Properties > Enabled for users to sign-in: Yes";
    TENANT_UNKNOWN "tenant_unknown" Fail,
        "The tenant {tenant_id} does not exist in the cloud `{cloud}` (AADSTS{aadsts})",
        "tenant_id is wrong, or the organisation lives in another of Microsoft's clouds",
        "Entra admin centre > Overview: copy `Tenant ID` into tenant_id; organisations of governments and of China need `cloud` (gcc_high, dod, china)";
    TENANT_MALFORMED "tenant_malformed" Fail,
        "tenant_id `{tenant_id}` is neither a tenant's id nor one of its domains (AADSTS{aadsts})",
        "it was copied incompletely, or is something else",
        "Entra admin centre > Overview: copy `Tenant ID` into tenant_id";
    TENANT_IN_OTHER_CLOUD "tenant_in_other_cloud" Fail,
        "The tenant lives in the cloud `{lives_in}`, and `{cloud}` is configured (AADSTS{aadsts})",
        "login, Graph and tokens of Microsoft's clouds are not interchangeable",
        "set cloud = \"{lives_in}\" at the tenant {tenant}; the app must be registered in that cloud";
    TENANT_IN_ANOTHER_CLOUD "tenant_in_another_cloud" Fail,
        "The tenant lives in another of Microsoft's clouds than `{cloud}` (AADSTS{aadsts})",
        "login, Graph and tokens of Microsoft's clouds are not interchangeable",
        "set `cloud` at the tenant {tenant} to where the organisation lives: global, gcc_high, dod or china; the app must be registered there";
    TENANT_NOT_NAMED "tenant_not_named" Fail,
        "tenant_id `{tenant_id}` does not name a tenant",
        "`common`, `organizations` and `consumers` are for people who sign in; an application without a user belongs to one tenant",
        "Entra admin centre > Overview: copy `Tenant ID` into tenant_id";
    SCOPE_WRONG "scope_wrong" Fail,
        "Entra does not know Graph under the address that is configured (AADSTS{aadsts})",
        "graph_endpoint or cloud does not fit the tenant: the scope asked for is made of them",
        "remove graph_endpoint, or correct it together with `cloud`";
    CONSENT_MISSING "consent_missing" Fail,
        "An administrator has not consented to the application's permissions (AADSTS{aadsts})",
        "permissions of an application count only after the consent of an administrator",
        "Entra admin centre > App registrations > the app {client_id} > API permissions > Grant admin consent";
    BLOCKED_BY_CONDITIONAL_ACCESS "blocked_by_conditional_access" Fail,
        "A policy of the tenant blocks the application (AADSTS{aadsts})",
        "Conditional Access for workload identities, or a policy on where sign-ins may come from",
        "Entra admin centre > Sign-in logs > Service principal sign-ins > the app {client_id}: the entry names the policy; let it allow the public addresses of this machine";
    ACCOUNT_UNUSABLE "account_unusable" Fail,
        "{says} (AADSTS{aadsts})",
        "the account was removed, renamed or disabled",
        "Microsoft 365 admin centre > Users: look at the account, then correct the mailbox's address or enable it";
    ENTRA_UNAVAILABLE "entra_unavailable" Fail,
        "There is no token just now: {problem}",
        "Entra, or the platform that hands out tokens, could not be asked or asks for patience",
        "run this again in a few minutes; if it stays so, look at https://status.cloud.microsoft and at the steps before this one";
    TOKEN_FOR_ANOTHER_AUDIENCE "token_for_another_audience" Fail,
        "The token is for {audience} and not for {wanted}",
        "the tenant's endpoints belong to different clouds, or the platform gives tokens for something else",
        "remove token_endpoint and graph_endpoint, or let both belong to the cloud `{cloud}`";
    TOKEN_OF_ANOTHER_TENANT "token_of_another_tenant" Fail,
        "The token is of the tenant {found} and not of {tenant_id}",
        "token_endpoint, or the managed identity, belongs to another tenant",
        "correct tenant_id and token_endpoint; a managed identity works only in the tenant of its machine's subscription";
    PERMISSION_UNSCOPED "permission_unscoped" Warn,
        "{roles} reaches every mailbox of the tenant",
        "a permission that is consented to in Entra is not limited by RBAC for Applications: grants are added to each other",
        "grant it by New-ManagementRoleAssignment with a scope in Exchange Online instead, then Entra admin centre > App registrations > the app {client_id} > API permissions: remove {roles} (an application access policy limits it too; it cannot be seen from here)";
    PERMISSION_NEEDLESS "permission_needless" Warn,
        "The application may do more than Mailspan needs: {roles}",
        "permissions were granted that nothing configured here uses",
        "Entra admin centre > App registrations > the app {client_id} > API permissions: remove them; what is needed here is {needed}";
    CONFIGURATION_UNUSABLE "configuration_unusable" Fail,
        "{key}: {problem}",
        "the configuration cannot be used as it is, so nothing else was looked at",
        "correct {key} {place}; `mailspan config check` says at once whether it can be used";
    CREDENTIAL_ENDS_SOON "credential_ends_soon" Warn,
        "Credential {credential} ({kind}) {told}",
        "secrets and certificates end on the day chosen when they were made",
        "Entra admin centre > App registrations > the app {client_id} > Certificates & secrets: make the next one, put it into the files (no restart is needed), then remove the old one";
}
