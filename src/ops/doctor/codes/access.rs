//! Mailboxes: whether they are there, and what the application may do in them.

use super::entries;
use crate::ops::doctor::finding::{Entry, State};

entries! { ACCESS:
    PERMISSION_MISSING "permission_missing" Fail,
        "The application may not read {mailbox}",
        "nothing gives it {permission}: the token holds no such permission, and no role of RBAC for Applications reaches a mailbox that is configured",
        "Exchange Online PowerShell: New-ServicePrincipal -AppId {client_id} -ObjectId <object id of the enterprise application>; New-ManagementScope -Name Mailspan -RecipientRestrictionFilter <your mailboxes>; New-ManagementRoleAssignment -App {client_id} -Role 'Application {permission}' -CustomResourceScope Mailspan. What was granted just now may take up to two hours";
    OUTSIDE_RBAC_SCOPE "outside_rbac_scope" Fail,
        "{mailbox} is outside the scope of the application's roles",
        "the application reaches other mailboxes, and the token holds no permission that reaches all: its role assignment is limited to a scope without this one",
        "Exchange Online PowerShell: Test-ServicePrincipalAuthorization -Identity {client_id} -Resource {mailbox} must say InScope True; widen the filter by Set-ManagementScope, or put the mailbox into its group. A change may take up to two hours";
    ACCESS_DENIED_DESPITE_PERMISSION "access_denied_despite_permission" Fail,
        "Access to {mailbox} is denied, although the token holds {permission}",
        "consent or a policy was changed just now, or Exchange denies this mailbox to applications",
        "Exchange Online PowerShell: Test-ServicePrincipalAuthorization -Identity {client_id} -Resource {mailbox} and Test-ApplicationAccessPolicy -AppId {client_id} -Identity {mailbox}. If both allow it, wait: a change may take up to two hours";
    BLOCKED_BY_ACCESS_POLICY "blocked_by_access_policy" Fail,
        "An application access policy keeps the application out of {mailbox}",
        "the policy of Exchange Online restricts the application to a group without this mailbox, or denies it",
        "Exchange Online PowerShell: Get-ApplicationAccessPolicy, then add the mailbox to the policy's group (Add-DistributionGroupMember); Test-ApplicationAccessPolicy -AppId {client_id} -Identity {mailbox} must say Granted. A change may take up to two hours";
    MAILBOX_NOT_ENABLED "mailbox_not_enabled" Fail,
        "{mailbox} has no mailbox that Graph serves ({graph})",
        "the account has no Exchange Online licence, its mailbox is on premises or soft-deleted, or was made minutes ago",
        "Microsoft 365 admin centre > Users > the account > Licences and apps: assign one with Exchange Online (a shared mailbox needs none up to 50 GB), then wait until the mailbox is there";
    MAILBOX_UNKNOWN "mailbox_unknown" Fail,
        "{mailbox} is not a mailbox of this tenant ({graph})",
        "the address is mistyped, is a distribution list or a Microsoft 365 group, or belongs to another tenant",
        "Exchange Online PowerShell: Get-Recipient {mailbox} | Format-List RecipientTypeDetails,PrimarySmtpAddress; configure the address of a UserMailbox or SharedMailbox, and the right tenant";
    FOLDER_UNKNOWN "folder_unknown" Fail,
        "The folder `{folder}` is not in {mailbox} ({graph})",
        "it was deleted or renamed, or is written by its display name",
        "set `folder` to a well-known name (inbox, archive, junkemail …) or a folder's id; ids: GET {graph_endpoint}/users/{mailbox}/mailFolders";
    TOKEN_NOT_ACCEPTED "token_not_accepted" Fail,
        "Graph does not accept the token ({graph})",
        "it is for another cloud, or a policy of the tenant ended it at once",
        "compare `cloud`, token_endpoint and graph_endpoint of the tenant; look at Entra admin centre > Sign-in logs > Service principal sign-ins";
    GRAPH_THROTTLED "graph_throttled" Warn,
        "Graph throttles requests for {mailbox}",
        "too much was asked of it in the last minutes, by Mailspan or by another program under the same app",
        "run this again in a few minutes; if it stays so, look for other programs that use the app {client_id}";
    GRAPH_UNAVAILABLE "graph_unavailable" Fail,
        "Graph does not answer for {mailbox}: {graph}",
        "Graph or Exchange has a fault, or the way to it breaks",
        "run this again in a few minutes; if it stays so, look at https://status.cloud.microsoft";
    GRAPH_REFUSED "graph_refused" Fail,
        "Graph refuses the request for {mailbox} ({graph})",
        "it answers with something that has no known meaning here",
        "look the code up at learn.microsoft.com/graph/errors, and give Microsoft's support the request id";
    WRITE_DENIED "write_denied" Fail,
        "The application may read {mailbox} but not write to it ({graph})",
        "its permission is Mail.Read; marking mail as read, moving and sending need Mail.ReadWrite",
        "grant Mail.ReadWrite the same way as Mail.Read (New-ManagementRoleAssignment -App {client_id} -Role 'Application Mail.ReadWrite' -CustomResourceScope <scope>), or set mark_read = \"never\" and send = false. A grant may take up to two hours";
    MAILBOX_FULL "mailbox_full" Fail,
        "{mailbox} is full ({graph})",
        "its quota is used up: nothing can be stored in it, and soon nothing is received",
        "make room in it, switch its archive on, or raise its quota";
    DRAFT_LEFT_BEHIND "draft_left_behind" Warn,
        "A draft that doctor made in {mailbox} could not be removed ({graph})",
        "the call that removes it was not answered",
        "run this again: doctor removes what it left; or delete the draft `{subject}` by hand";
    SEND_PERMISSION_MISSING "send_permission_missing" Warn,
        "The token does not say that the application may send mail from {mailbox}",
        "send = true is configured, and the token holds {roles} but not Mail.Send; a role that Exchange gives (RBAC for Applications) would not show in it",
        "prove it by --round-trip. If no mail leaves, in Exchange Online PowerShell: New-ManagementRoleAssignment -App {client_id} -Role 'Application Mail.Send' -CustomResourceScope <scope>; or set send = false. A grant may take up to two hours";
    SEND_DENIED "send_denied" Fail,
        "Graph refuses to send from {mailbox} ({graph})",
        "the application lacks Mail.Send for this mailbox",
        "Exchange Online PowerShell: New-ManagementRoleAssignment -App {client_id} -Role 'Application Mail.Send' -CustomResourceScope <scope>; or set send = false. A grant may take up to two hours";
    SUBSCRIPTIONS_NOT_LISTED "subscriptions_not_listed" Warn,
        "The subscriptions of the application cannot be listed: {graph}",
        "Graph refuses or does not answer",
        "mail flows by polling meanwhile; run this again in a few minutes";
    SUBSCRIPTION_MISSING "subscription_missing" Warn,
        "Graph pushes nothing for {mailbox}: there is no subscription",
        "the daemon runs and could not make one; it polls instead",
        "look at the mailbox in `curl -s http://{admin}/health`, which says why, and at the checks of public_url below";
    SUBSCRIPTION_ENDS_SOON "subscription_ends_soon" Warn,
        "The subscription of {mailbox} {told}, and nobody has renewed it",
        "the daemon renews it by half its life; it does not run, or cannot",
        "start the daemon, or look at the mailbox in /health of the one that runs";
    SUBSCRIPTION_ELSEWHERE "subscription_elsewhere" Warn,
        "Another installation is subscribed to {mailbox} under the same app: {url}",
        "two bridges share the app, or an old one was not taken down; both read the same mail",
        "stop the other installation, or give each an app of its own; what is left of one that is gone ends by itself within seven days";
    SUBSCRIPTION_DOUBLED "subscription_doubled" Warn,
        "There are {count} subscriptions of {mailbox} that lead here",
        "an earlier one was left over by a lost store; each mail is announced {count} times",
        "nothing breaks; the surplus ones end by themselves within seven days";
    DELEGATED_SIGN_IN_NEEDED "delegated_sign_in_needed" Fail,
        "{mailbox} is not signed in: {problem}",
        "a delegated mailbox is reached on behalf of its user, whose sign-in is missing or has ended",
        "run `mailspan sign-in {mailbox}` and sign in as the user of the mailbox";
    DELEGATED_SIGN_IN_UNREADABLE "delegated_sign_in_unreadable" Fail,
        "There is no token for {mailbox} just now: {problem}",
        "its sign-in lies in the store, which cannot be opened, or Entra could not be asked",
        "name the running daemon's private listener with --server if it stands elsewhere; else mend the store, or run this again in a few minutes";
    DELEGATED_PERMISSION_MISSING "delegated_permission_missing" Fail,
        "The sign-in of {mailbox} does not hold {permission}",
        "the permission was not consented to when the user signed in",
        "Entra admin centre > App registrations > the app {client_id} > API permissions: add {permission} as delegated permission and grant consent, then run `mailspan sign-in {mailbox}` again";
    DAEMON_COMPLAINS "daemon_complains" Fail,
        "The running daemon says of {mailbox}: {problem}",
        "it alone holds the sign-in of the mailbox, so doctor asked it instead of Graph",
        "do what it says; to have doctor look for itself, stop the daemon for that long";
}
