#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that serves the working directory with the faults that a path asks for.

    http_server.py LOG [CERTIFICATE KEY]

Prints its port. /MODES/NAME serves NAME; MODES are joined by '+':
  ok          ranges and a strong ETag
  cut         each answer breaks off after 600000 bytes
  norange     no ranges
  noetag      neither ETag nor Last-Modified
  dated       Last-Modified instead of an ETag, old enough
  undated     a Last-Modified that is no date
  ageless     the Last-Modified of a server that gives all files the same one
  changing    another ETag in every answer
  busy        503 to the first two questions for this path
  down        503 to all but the first
  hang        nothing after 600000 bytes
  silent      no answer at all
  loop        redirects to itself
  to:PORT     redirects to /ok/NAME on that port of localhost, with http
  tos:PORT    with https
  forbidden   403
As a proxy (absolute addresses) it answers with the file, too.
LOG gets a line "METHOD PATH RANGE STATUS" for each request.
"""
import http.server
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse

CUT = 600000
asked = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self, status):
        with open(sys.argv[1], "a") as log:
            log.write(f"{self.command} {self.path} {self.headers.get('Range', '-')} {status}\n")

    def answer(self, status, **headers):
        self.note(status)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def part(self, size, etag):
        """Where to begin, None: the whole file."""
        asked_range = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not asked_range or (condition is not None and condition != etag):
            return None
        return int(asked_range[1])

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        _, modes, name = path.split("/", 2)
        modes = modes.split("+")
        count = asked[path] = asked.get(path, 0) + 1
        if "silent" in modes:
            self.note(0)
            time.sleep(60)
        if "loop" in modes:
            return self.answer(302, Location=self.path, Content_Length=0)
        for mode in modes:
            if mode.startswith("to"):
                scheme, port = ("https" if mode[2] == "s" else "http"), mode.split(":")[1]
                return self.answer(302, Location=f"{scheme}://localhost:{port}/ok/{name}",
                                   Content_Length=0)
        if "forbidden" in modes:
            return self.answer(403, Content_Length=0)
        if ("busy" in modes and count <= 2) or ("down" in modes and count > 1):
            return self.answer(503, Content_Length=0)
        if not os.path.isfile(name):
            return self.answer(404, Content_Length=0)
        self.serve(name, modes, count)

    def serve(self, name, modes, count):
        with open(name, "rb") as file:
            data = file.read()
        status = os.stat(name)
        headers = {}
        validator = f'"{status.st_mtime_ns:x}-{count if "changing" in modes else 0}"'
        if "dated" in modes:
            validator = "Tue, 01 Oct 2024 00:00:00 GMT"
            headers["Last_Modified"] = validator
        elif "undated" in modes:
            headers["Last_Modified"] = "0"
        elif "ageless" in modes:
            headers["Last_Modified"] = "Thu, 01 Jan 1970 00:00:01 GMT"
        elif "noetag" not in modes:
            headers["ETag"] = validator
        begin = None if "norange" in modes else self.part(len(data), validator)
        if begin is not None and begin >= len(data):
            return self.answer(416, Content_Length=0)
        if begin is not None:
            headers["Content_Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        body = data[begin or 0:]
        self.answer(200 if begin is None else 206, Content_Length=len(body), **headers)
        try:
            if "cut" in modes or "hang" in modes:
                self.wfile.write(body[:CUT])
                self.wfile.flush()
                if "hang" in modes:
                    time.sleep(60)
                self.close_connection = len(body) > CUT
            else:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.handle_error = lambda *args: None
print(server.server_address[1], flush=True)
# Ends with whoever started it.
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
