"""The shop's guestbook: entries in PostgreSQL, shown as a page and as JSON.

GET  /guestbook       the page, newest entries first
POST /guestbook       a form with name and message; answers with a redirect to the page
GET  /api/guestbook   {"count": N, "entries": [{"id", "name", "message", "written"}, ...]}
POST /api/guestbook   a form or JSON with name and message; answers 201 and the entry
GET  /healthz         200 as soon as requests are answered, whatever the database does
"""

import html
import json
import logging
import os
import signal
import sys
import threading
from urllib.parse import parse_qs

import psycopg2
from waitress.server import create_server

SOCKET = os.environ.get("SHOP_SOCKET", "/run/shop.sock")
THREADS = 4
SHOWN = 20
LIMITS = {"name": 60, "message": 500}
SCHEMA = """
CREATE TABLE IF NOT EXISTS guestbook (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    message text NOT NULL,
    written timestamptz NOT NULL DEFAULT now()
)
"""
NEWEST = "SELECT id, name, message, written FROM guestbook ORDER BY id DESC LIMIT %s"
INSERT = "INSERT INTO guestbook (name, message) VALUES (%s, %s) RETURNING id, name, message, written"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><title>Guestbook · Heron &amp; Reed</title>
<link rel="stylesheet" href="/css/base.css"><link rel="stylesheet" href="/css/theme.css">
<link rel="stylesheet" href="/css/guestbook.css">
</head>
<body>
<header class="bar"><a class="brand" href="/">Heron &amp; Reed</a><nav><a href="/tea/">Teas</a>
<a href="/journal/">Journal</a><a href="/guestbook">Guestbook</a></nav></header>
<main>
<h1>Guestbook</h1>
<p class="count">{count} entries</p>
<form method="post" action="/guestbook"><label>Name <input name="name" maxlength="60" required></label>
<label>Message <textarea name="message" maxlength="500" required></textarea></label><button>Sign</button></form>
<ol class="entries">{entries}</ol>
</main>
</body>
</html>
"""


class BadEntry(Exception):
    """An entry that is not taken; the message says why."""


class Database:
    """One connection for each thread, made when it is first needed and again when it was lost."""

    def __init__(self):
        self._local = threading.local()

    def _connect(self):
        connection = psycopg2.connect(
            host=os.environ.get("DB_HOST", "db"),
            port=os.environ.get("DB_PORT", "5432"),
            dbname=os.environ.get("DB_NAME", "shop"),
            user=os.environ.get("DB_USER", "shop"),
            password=os.environ["DB_PASSWORD"],
            connect_timeout=3,
            keepalives_idle=10,
        )
        with connection, connection.cursor() as cursor:
            # Replicas start together, and CREATE TABLE IF NOT EXISTS by itself is not safe against that.
            cursor.execute("SELECT pg_advisory_xact_lock(7340)")
            cursor.execute(SCHEMA)
        return connection

    def _usable(self):
        """This thread's connection. A kept one is asked first: it may have died unseen with a database that is gone."""
        kept = getattr(self._local, "connection", None)
        if kept is not None:
            try:
                with kept.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except psycopg2.Error:
                kept.close()
            else:
                return kept
        self._local.connection = self._connect()
        return self._local.connection

    def run(self, work):
        """The result of ``work(cursor)``, in one transaction."""
        connection = self._usable()
        with connection, connection.cursor() as cursor:
            return work(cursor)


def as_entry(row):
    return {"id": row[0], "name": row[1], "message": row[2], "written": row[3].isoformat(timespec="seconds")}


def newest(cursor):
    cursor.execute("SELECT count(*) FROM guestbook")
    count = cursor.fetchone()[0]
    cursor.execute(NEWEST, (SHOWN,))
    return {"count": count, "entries": [as_entry(row) for row in cursor.fetchall()]}


def posted(environ):
    """The name and message of a request's body."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode("utf-8", "replace")
    if environ.get("CONTENT_TYPE", "").startswith("application/json"):
        try:
            found = json.loads(body)
        except ValueError as error:
            raise BadEntry("the body is not JSON") from error
        if not isinstance(found, dict):
            raise BadEntry("the body is not an object")
    else:
        found = {name: values[0] for name, values in parse_qs(body).items()}
    entry = []
    for field, limit in LIMITS.items():
        text = str(found.get(field, "")).replace("\0", "").strip()
        if not 0 < len(text) <= limit:
            raise BadEntry(f"{field} must have 1 to {limit} characters")
        entry.append(text)
    return tuple(entry)


class Application:
    def __init__(self, database):
        self._database = database

    def __call__(self, environ, start_response):
        try:
            status, headers, body = self.answer(environ)
        except BadEntry as error:
            status, headers, body = "400 Bad Request", [], as_json({"error": str(error)})
        except psycopg2.Error as error:
            print(f"database: {str(error).strip()}", file=sys.stderr, flush=True)
            status, headers, body = "503 Service Unavailable", [], as_json({"error": "the database does not answer"})
        kind = "text/html" if body.startswith(b"<!") else "application/json" if body[:1] == b"{" else "text/plain"
        length = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(status, headers + length + [("Cache-Control", "no-store")])
        return [body] if environ["REQUEST_METHOD"] != "HEAD" else [b""]

    def answer(self, environ):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        reading = method in ("GET", "HEAD")
        if path == "/healthz" and reading:
            return "200 OK", [], b"ok\n"
        if path == "/guestbook" and reading:
            return "200 OK", [], page(self._database.run(newest))
        if path == "/api/guestbook" and reading:
            return "200 OK", [], as_json(self._database.run(newest))
        if path in ("/guestbook", "/api/guestbook") and method == "POST":
            entry = self.sign(*posted(environ))
            if path == "/guestbook":
                return "303 See Other", [("Location", "/guestbook")], b""
            return "201 Created", [], as_json(entry)
        if path in ("/guestbook", "/api/guestbook", "/healthz"):
            return "405 Method Not Allowed", [], as_json({"error": f"no {method} here"})
        return "404 Not Found", [], as_json({"error": "not found"})

    def sign(self, name, message):
        def insert(cursor):
            cursor.execute(INSERT, (name, message))
            return as_entry(cursor.fetchone())

        return self._database.run(insert)


def as_json(value):
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def page(found):
    line = "<li><p>{message}</p><footer>{name}, <time>{written}</time></footer></li>"
    shown = [{key: html.escape(str(value)) for key, value in entry.items()} for entry in found["entries"]]
    entries = "\n".join(line.format(**entry) for entry in shown)
    return PAGE.format(count=found["count"], entries=entries).encode()


def main():
    # A queue is what the threads are there for; one line for each request that waits would say nothing more.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    application = Application(Database())
    server = create_server(application, unix_socket=SOCKET, unix_socket_perms="600", threads=THREADS, ident=None)
    server.run()


if __name__ == "__main__":
    main()
