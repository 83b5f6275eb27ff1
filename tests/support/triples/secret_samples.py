"""Secrets of each form that is looked for, all made up, most put together at run time."""

from __future__ import annotations

import base64
import json
import random
import string

ALNUM = string.ascii_letters + string.digits


def some(length: int, alphabet: str = ALNUM, seed: int = 0) -> str:
    return "".join(random.Random(f"{seed} {length} {alphabet}").choices(alphabet, k=length))


def token(seed: int = 0) -> dict[str, str]:
    """One made-up value for each form, by the name of its detector."""
    part = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "n": seed}).encode()).decode()
    lower, upper = string.ascii_lowercase + string.digits, string.ascii_uppercase + string.digits
    return {
        "AWS Access Key": "AK" + "IA" + some(16, upper, seed),
        "Azure Storage Account access key": f"AccountKey={some(86, ALNUM, seed)}==",
        "Discord Bot Token": f"M{some(23, ALNUM, seed)}.{some(6, ALNUM, seed)}.{some(27)}",
        "GitHub Token": "gh" + "p_" + some(36, ALNUM, seed),
        "GitHub Fine-Grained Token": f"github_pat_{some(22, ALNUM, seed)}_{some(59)}",
        "GitLab Token": "glp" + "at-" + some(20, ALNUM, seed),
        "Google API Key": "AI" + "za" + some(35, ALNUM, seed),
        "JSON Web Token": f"{part.rstrip('=')}.{part.rstrip('=')}.{some(43, ALNUM, seed)}",
        "Mailchimp Access Key": some(32, lower, seed) + "-us" + "12",
        "NPM tokens": "np" + "m_" + some(36, ALNUM, seed),
        "OpenAI Token": f"sk-{some(20, ALNUM, seed)}T3BlbkFJ{some(20)}",
        "PyPI Token": "py" + "pi-AgE" + some(90, ALNUM, seed),
        "SendGrid API Key": f"SG.{some(22, ALNUM, seed)}.{some(43)}",
        "Slack Token": f"xoxb-{some(12, string.digits, seed)}-{some(24, lower)}",
        "Square OAuth Secret": "sq0" + "csp-" + some(43, ALNUM, seed),
        "Stripe Access Key": "sk_" + "live_" + some(24, ALNUM, seed),
        "Twilio API Key": "A" + "C" + some(32, lower, seed),
    }


def pem(seed: int = 0, kind: str = "RSA ") -> str:
    body = "\n".join(some(64, ALNUM + "+/", seed + k) for k in range(6))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----\n"
