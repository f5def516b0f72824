"""Takes secrets out of text that is about to be logged, wherever in a message or a traceback they stand."""

import re

HIDDEN = "[hidden]"

_RULES = (
    # tokens of this project: join, device, operator and API, web session; 32 bytes in URL-safe base64 are 43 characters
    (re.compile(r"\b(e(?:jt|dt|ot|ws)_)[A-Za-z0-9_-]{16,}"), r"\g<1>" + HIDDEN),
    (re.compile(r"(?i)(\bbearer\s+)(?!e(?:jt|dt|ot|ws)_)[A-Za-z0-9._~+/-]{8,}=*"), r"\g<1>" + HIDDEN),
    # the password of a URL, such as that of a database
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)"), r"\g<1>" + HIDDEN + r"\g<2>"),
    # a named secret in JSON, in a Python literal, in a form or in an assignment
    (
        re.compile(
            r"(?i)(\b(?:password|present|secret_key|private_key|credential|join_token)\b[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,}\]]+"
        ),
        r"\g<1>" + HIDDEN,
    ),
    (re.compile(r"scrypt\$[^\s\"']+"), "scrypt$" + HIDDEN),
)


def redact(text: str) -> str:
    """The text without secrets."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
