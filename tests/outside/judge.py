"""Judges requests with public libraries and vendors' models: one JSON object a line in, one a line out.

In: {"as": KIND, "url": …, "headers": {…}, "body": base64, …}. Out: {"problems": [text, …]}; none is good.
The vendors' own validators let much pass (fields nobody knows, words that are none, lengths), so their models are walked
strictly here: whatever the model does not name is a problem.
"""

import base64
import datetime
import json
import re
import sys


def standard_webhook(case, body):
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    try:
        Webhook(case["secret"]).verify(body.decode(), case["headers"])
    except WebhookVerificationError as error:
        yield f"the signature: {error}"


def cloud_event(case, body):
    from cloudevents.v1.http import from_http

    # The library invents what is missing: what it read must be what was there.
    written = json.loads(body)
    event = from_http(case["headers"], body)
    for name in ("specversion", "id", "source", "type"):
        if not isinstance(written.get(name), str) or not written[name]:
            yield f"{name} is missing"
        elif event[name] != written[name]:
            yield f"{name} was read as {event[name]!r}"
    for name in written:
        if name != "data" and not re.fullmatch(r"[a-z0-9]{1,}", name):
            yield f"{name} is no name of an attribute"
    if event.data != written.get("data"):
        yield "the data was read as something else"


def genesys(case, body):
    import PureCloudPlatformClientV2 as sdk

    model = getattr(sdk, case["model"])()
    python_names = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, value in json.loads(body).items():
        name = python_names.get(key)
        if name is None:
            yield f"{key}: the model has no such field"
            continue
        wanted = model.swagger_types[name]
        if not is_of(wanted, value):
            yield f"{key}: {value!r} is no {wanted}"
            continue
        setattr(model, name, value)
        if getattr(model, name) == "outdated_sdk_version":
            yield f"{key}: {value!r} is none of the words the model knows"


def is_of(wanted, value):
    texts = lambda values: all(isinstance(it, str) for it in values)
    return {
        "str": lambda: isinstance(value, str),
        "int": lambda: isinstance(value, int) and not isinstance(value, bool),
        "list[str]": lambda: isinstance(value, list) and texts(value),
        "dict(str, str)": lambda: isinstance(value, dict) and texts(value.values()),
    }[wanted]()


def connect(case, body):
    import botocore.session

    operation = botocore.session.Session().get_service_model("connect").operation_model("StartEmailContact")
    if (case["method"], case["url"].split("//", 1)[-1].split("/", 1)[-1]) != ("PUT", "contact/email"):
        yield f"{case['method']} {case['url']}"
    if (operation.http["method"], operation.http["requestUri"]) != ("PUT", "/contact/email"):
        yield "the model has moved"
    yield from walk(operation.input_shape, json.loads(body), "")
    yield from signature(case, body)


def walk(shape, value, at):
    """Every limit the model names, also those that botocore leaves to the server."""
    limits = shape.metadata
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            yield f"{at}: no structure"
            return
        for name in shape.required_members:
            if name not in value:
                yield f"{at}.{name}: missing"
        for name, inner in value.items():
            if name in shape.members:
                yield from walk(shape.members[name], inner, f"{at}.{name}")
            else:
                yield f"{at}.{name}: the model has no such member"
    elif shape.type_name == "map":
        if not isinstance(value, dict):
            yield f"{at}: no map"
            return
        for key, inner in value.items():
            yield from walk(shape.key, key, f"{at} (a key)")
            yield from walk(shape.value, inner, f"{at}[{key}]")
        yield from bounds(limits, len(value), at)
    elif shape.type_name == "list":
        if not isinstance(value, list):
            yield f"{at}: no list"
            return
        for index, inner in enumerate(value):
            yield from walk(shape.member, inner, f"{at}[{index}]")
        yield from bounds(limits, len(value), at)
    elif shape.type_name == "string":
        if not isinstance(value, str):
            yield f"{at}: no text"
            return
        yield from bounds(limits, len(value), at)
        words = getattr(shape, "enum", None) or limits.get("enum")
        if words and value not in words:
            yield f"{at}: {value!r} is none of the words"
        # Java's classes are no regular expressions of Python; Connect's use few.
        pattern = limits.get("pattern", "").replace(r"\P{C}", r"[^\x00-\x1f\x7f-\x9f]")
        if pattern and r"\p{" not in pattern and not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{at}: does not match {pattern}"
    else:
        yield f"{at}: nobody here knows {shape.type_name}"


def bounds(limits, length, at):
    if length < limits.get("min", 0):
        yield f"{at}: {length} is too short"
    if length > limits.get("max", sys.maxsize):
        yield f"{at}: {length} is too long"


def signature(case, body):
    """Signature Version 4 as AWS's own library computes it, at the time the request names."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {name.lower(): value for name, value in case["headers"].items()}
    shown = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        headers.get("authorization", ""),
    )
    if not shown:
        yield "the authorization cannot be read"
        return
    key, day, region, service, signed, given = shown.groups()
    request = AWSRequest(
        method=case["method"], url=case["url"], data=body, headers={name: headers[name] for name in signed.split(";")}
    )
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(key, case["secret"]), service, region)
    computed = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not headers["x-amz-date"].startswith(day) or service != "connect" or region != case["region"]:
        yield "the scope of the signature is another"
    now = datetime.datetime.now(datetime.timezone.utc)
    then = datetime.datetime.strptime(headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    if abs((now - then).total_seconds()) > 300:
        yield "the signature is too old"
    if computed != given:
        yield "the signature is another"


def entra(case, body):
    """A token endpoint, judged by asking it for tokens as Microsoft's own library does."""
    import msal
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = case["ca"]
    application = msal.ConfidentialClientApplication(
        case["client_id"],
        authority=case["authority"],
        client_credential=case["credential"],
        instance_discovery=False,
        http_client=session,
    )
    answer = application.acquire_token_for_client(scopes=[case["scope"]])
    if "access_token" not in answer:
        yield f"no token: {answer.get('error')} {answer.get('error_codes')}"
    elif answer.get("token_type") != "Bearer" or not 0 < answer.get("expires_in", 0) <= 86400:
        yield f"a token of another kind: {answer.get('token_type')} {answer.get('expires_in')}"
    # The library keeps the token: a second call is answered from its memory.
    elif application.acquire_token_for_client(scopes=[case["scope"]]).get("token_source") != "cache":
        yield "the token is not kept"


def entra_user(case, body):
    """The endpoints that users sign in at, judged as Microsoft's own library uses them: a code for a device, and a refresh."""
    import msal
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = case["ca"]
    application = msal.PublicClientApplication(
        case["client_id"], authority=case["authority"], instance_discovery=False, http_client=session
    )
    flow = application.initiate_device_flow(scopes=case["scopes"])
    if "user_code" not in flow:
        yield f"no code: {flow.get('error')} {flow.get('error_codes')}"
        return
    if case["enters"]:
        requests.post(
            case["control"] + "/enter-code",
            params={"code": flow["user_code"], "user": case["user"]},
            proxies={"http": None},
        ).raise_for_status()
    else:
        # Nobody types it in: asked once, and no more.
        flow["expires_at"] = 0
    answer = application.acquire_token_by_device_flow(flow)
    if "access_token" not in answer:
        yield f"no token: {answer.get('error')} {answer.get('error_codes')}"
        return
    accounts = application.get_accounts()
    if [it["username"] for it in accounts] != [case["user"]]:
        yield f"another user: {accounts}"
        return
    again = application.acquire_token_silent(case["scopes"], account=accounts[0], force_refresh=True)
    if not again or "access_token" not in again:
        yield f"no token by refresh: {again}"
    elif again["access_token"] == answer["access_token"]:
        yield "the token was not refreshed"


KINDS = {
    "entra": entra,
    "entra_user": entra_user,
    "standard_webhook": standard_webhook,
    "cloud_event": cloud_event,
    "genesys": genesys,
    "connect": connect,
}


def judged(case):
    try:
        return list(KINDS[case["as"]](case, base64.b64decode(case["body"])))
    except ImportError:
        raise
    except Exception as error:  # a library that cannot read it has refused it
        return [f"{type(error).__name__}: {error}"]


for line in sys.stdin:
    print(json.dumps({"problems": judged(json.loads(line))}), flush=True)
