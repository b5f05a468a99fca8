"""Submits one mail with Python's smtplib, as its manual shows. The case comes as JSON on standard input; what the server
said to each refused recipient, or to the whole, is written as JSON to standard output."""

import json
import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid


def letter(case):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = case["from"], ", ".join(case["to"]), case["subject"]
    if case.get("cc"):
        mail["Cc"] = ", ".join(case["cc"])
    if case.get("bcc"):
        mail["Bcc"] = ", ".join(case["bcc"])
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="client.example")
    mail.set_content(case["text"])
    if case.get("html"):
        mail.add_alternative(case["html"], subtype="html")
        mail.get_payload()[1].add_related(bytes(case["image"]), "image", "png", cid="<logo@client.example>")
    if case.get("attached"):
        mail.add_attachment(b"x" * case["attached"], maintype="application", subtype="pdf", filename="Übersicht.pdf")
    return mail


def session(case):
    context = ssl.create_default_context(cafile=case["ca"])
    if case.get("implicit"):
        return smtplib.SMTP_SSL("localhost", case["port"], context=context, timeout=30)
    server = smtplib.SMTP("localhost", case["port"], timeout=30)
    if case.get("starttls", True):
        server.starttls(context=context)
    return server


def main():
    case = json.load(sys.stdin)
    said = {"refused": {}, "error": None, "features": {}}
    try:
        with session(case) as server:
            if case.get("user"):
                server.login(case["user"], case["password"])
            server.ehlo_or_helo_if_needed()
            said["features"] = dict(server.esmtp_features)
            for _ in range(case.get("times", 1)):
                refused = server.send_message(letter(case))
                said["refused"].update({to: [code, text.decode()] for to, (code, text) in refused.items()})
    except smtplib.SMTPRecipientsRefused as error:
        said["refused"] = {to: [code, text.decode()] for to, (code, text) in error.recipients.items()}
        said["error"] = "recipients"
    except smtplib.SMTPResponseException as error:
        said["error"] = [error.smtp_code, error.smtp_error.decode()]
    except smtplib.SMTPException as error:
        said["error"] = str(error)
    json.dump(said, sys.stdout)


main()
