"""What must not stand in a log, an answer or a message: found in text, and left out.

* Secrets stand in files of their own, but people write them where they do not belong, and libraries quote what they do
  not understand: a connection string, a key of a settings file, an address of a chat room.
* What is left out is shown as `…`, so that nobody takes it for empty.
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "…"
_NAME: Final = r"\w*(?:password|passwd|passphrase|secret|token|(?<![a-z])pin|api_?key|private_?key)"
_KEY: Final = re.compile(rf"{_NAME}s?", re.IGNORECASE)
_VALUE: Final = r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|\[[^\]]*\]|[^,}\s#]+'
_ASSIGNED: Final = re.compile(rf'(["\']?\b{_NAME}s?["\']?\s*=\s*)(?:{_VALUE})', re.IGNORECASE)
_IN_ADDRESS: Final = re.compile(r"(//[^\s:/@\"']*:)[^\s\"']*@")
_IN_WORDS: Final = re.compile(r"password\s*=\s*(.*?)(?=\s+\w+\s*=|$)", re.IGNORECASE)
_SHORTEST: Final = 3
"""Characters of a piece of a password that is looked for; shorter ones are in every text."""


def is_secret(key: str) -> bool:
    """Whether a key of a settings file names a secret, and not a file that holds one.

    >>> is_secret("password"), is_secret("api_key"), is_secret("password_file"), is_secret("spin")
    (True, True, False, False)
    """
    return _KEY.fullmatch(key) is not None


def without_secrets(toml: str) -> str:
    """A settings or machine file as it may be shown.

    >>> without_secrets('source = { user = "a", password = "b" }')
    'source = { user = "a", password = "…" }'
    >>> without_secrets('url = "opc.tcp://kim:b@10.0.0.1"')
    'url = "opc.tcp://kim:…@10.0.0.1"'
    """
    return _IN_ADDRESS.sub(rf"\1{HIDDEN}@", _ASSIGNED.sub(rf'\1"{HIDDEN}"', toml))


def without_password(said: str, dsn: str) -> str:
    """What was said about a connection string, without the password in it or a piece of that.

    >>> without_password('missing "=" after "x://kim:ge/heim@db"', "x://kim:ge/heim@db")
    'missing "=" after "x://kim:…@db"'
    """
    given = [found[1] for found in _IN_WORDS.finditer(dsn)]
    if (address := _IN_ADDRESS.search(dsn)) is not None:
        given.append(address[0].removeprefix(address[1])[:-1])
    pieces = {piece for one in given for form in (one, unquote(one)) for piece in (form, *re.split(r"[/@:?#\s]", form))}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _SHORTEST:
            said = said.replace(piece, HIDDEN)
    return _IN_ADDRESS.sub(rf"\1{HIDDEN}@", said)


def without_path(url: str) -> str:
    """A web address as it may be told: chat rooms let in whoever knows the rest of it.

    >>> without_path("https://kim:geheim@chat.example:8443/hooks/T0/secret?key=1")
    'https://chat.example:8443/…'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{HIDDEN}"
