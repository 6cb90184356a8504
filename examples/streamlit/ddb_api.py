"""A client of the HTTP API of a ddb node, and its results as data frames."""

import base64
import binascii
import json
import os

import pandas as pd
import requests

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_SECONDS = 3
READ_SECONDS = 70  # the node stops a statement after 60
EXPORT_BYTES = 256 << 20  # the app holds an export in memory
SHOWN_BYTES = 64  # of a binary value
EXACT = 2**53  # up to here a browser's numbers are exact


class ApiError(Exception):
    """What went wrong, for people: a headline, the node's own words, and results of statements before it."""

    def __init__(self, headline, detail="", results=()):
        super().__init__(f"{headline} {detail}".strip())
        self.headline = headline
        self.detail = detail
        self.results = list(results)


class Bearer(requests.auth.AuthBase):
    """Sends the token as a bearer header."""

    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Client:
    """Talks to one node. The address and the token come from DDB_URL and DDB_TOKEN."""

    def __init__(self, url=None, token=None):
        self.url = (url or os.environ.get("DDB_URL") or DEFAULT_URL).rstrip("/")
        self.session = requests.Session()
        # The node is asked directly: no proxy of the environment, no password of ~/.netrc.
        self.session.trust_env = False
        self.session.auth = Bearer(os.environ.get("DDB_TOKEN", "") if token is None else token)

    def status(self):
        return self._json("GET", "/api/status")

    def history(self):
        return self._json("GET", "/api/history")

    def tables(self):
        return self._json("GET", "/api/tables")["tables"]

    def rows(self, table, limit, offset):
        """Returns a page of a table, a value of tables()."""
        where = {"database": table["database"], "table": table["name"], "limit": limit, "offset": offset}
        return self._json("GET", "/api/rows", params=where)

    def sql(self, text, consistency="", max_rows=0):
        """Runs one or several statements and returns a list with the result of each."""
        body = {"sql": text, "consistency": consistency, "maxRows": max_rows}
        answer = self._json("POST", "/api/sql", json=body)
        return answer.get("results") or [answer]

    def export(self):
        """Returns the whole database as SQL, as bytes."""
        data = bytearray()
        try:
            with self._send("GET", "/api/export.sql", stream=True) as response:
                for piece in response.iter_content(1 << 20):
                    data += piece
                    if len(data) > EXPORT_BYTES:
                        raise ApiError(
                            f"The database is larger than {EXPORT_BYTES >> 20} MiB as SQL, more than this app holds.",
                            f'curl -H "Authorization: Bearer $DDB_TOKEN" {self.url}/api/export.sql -o database.sql',
                        )
        except requests.RequestException as error:
            raise ApiError("The export broke off before its end. Try again.", str(error)) from error
        return bytes(data)

    def _json(self, method, path, **options):
        response = self._send(method, path, **options)
        try:
            # Python's integers have no limit, so json keeps all their digits.
            return json.loads(response.content)
        except ValueError as error:
            raise ApiError(f"What answers at {self.url} is no ddb node. Check DDB_URL.") from error

    def _send(self, method, path, **options):
        try:
            response = self.session.request(
                method, self.url + path, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, **options
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema) as error:
            raise ApiError("DDB_URL is not an address such as http://127.0.0.1:8080.", self.url) from error
        except requests.exceptions.ReadTimeout as error:
            raise ApiError(f"No answer from {self.url} within {READ_SECONDS} seconds.") from error
        except requests.RequestException as error:
            raise ApiError(
                f"Nobody answers at {self.url}.", "Is the master running? Set DDB_URL to the address of its console."
            ) from error
        if response.status_code != 200:
            raise api_error(response)
        return response


def api_error(response):
    """Makes an error of an answer that is not 200."""
    try:
        body = json.loads(response.content)
        detail, results = str(body["error"]), body.get("results") or []
    except (ValueError, KeyError, TypeError):
        return ApiError(f"Unexpected answer {response.status_code} {response.reason}. Check DDB_URL.")
    headline = {
        401: "The node wants a token, and this is not it. Set DDB_TOKEN and start the app again.",
        403: "The token does not permit this.",
        501: "This node cannot do that.",
        503: "The node cannot do this now.",
        504: "That took too long and was stopped.",
    }.get(response.status_code, "The node refused this.")
    return ApiError(headline, detail, results)


def to_frame(result):
    """Makes a data frame of a result of the API. Every value is shown as it is in the database: where a
    browser's numbers would lose digits the column becomes text, and bytes become hexadecimal."""
    names = unique([column["name"] for column in result["columns"]])
    frame = pd.DataFrame(index=pd.RangeIndex(len(result["rows"])))
    for i, (name, column) in enumerate(zip(names, result["columns"])):
        binary = holds_bytes(column["type"])
        frame[name] = to_series([cell(row[i], binary) for row in result["rows"]])
    return frame


def unique(names):
    """A data frame cannot hold two columns of one name, which a result can."""
    seen, out = set(), []
    for name in names:
        other, n = name, 2
        while other in seen:
            other, n = f"{name} ({n})", n + 1
        seen.add(other)
        out.append(other)
    return out


def holds_bytes(kind):
    """The API's rule for which types hold bytes, sent as base64."""
    kind = kind.upper()
    return "BLOB" in kind or "BINARY" in kind or kind in ("BIT", "GEOMETRY")


def cell(value, binary):
    """Undoes the API's encoding of what JSON has no word for."""
    if isinstance(value, dict):
        if "base64" not in value:
            return value["text"]  # text among bytes
        return hexadecimal(value["base64"])
    if binary and isinstance(value, str):
        return hexadecimal(value)
    return value


def hexadecimal(text):
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        return text
    if len(data) <= SHOWN_BYTES:
        return "0x" + data.hex()
    return f"0x{data[:SHOWN_BYTES].hex()}… ({len(data):,} bytes)"


def to_series(values):
    """Chooses a type for a column in which no value changes."""
    present = [v for v in values if v is not None]
    if present and all(type(v) is int and abs(v) <= EXACT for v in present):
        return pd.Series(values, dtype="Int64")
    if present and all(type(v) is float for v in present):
        return pd.Series(values, dtype="Float64")
    return pd.Series([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], dtype="object")
