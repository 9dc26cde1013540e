#!/usr/bin/env python3
"""A small shop, for the tour in the README. Usage: shop.py PORT old|new

The new version finds products by an index, where the old one looks at all of them. And its sessions keep too much.
"""

import json
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COLOURS = ("red", "green", "blue", "black", "white")
THINGS = ("shirt", "coat", "scarf", "hat")
PRODUCTS = [{"id": i, "name": f"{COLOURS[i % 5]} {THINGS[i % 4]} {i}", "price": i % 90 + 10} for i in range(400)]
BY_WORD = defaultdict(list)
for product in PRODUCTS:
    for word in product["name"].split():
        BY_WORD[word].append(product)

new = sys.argv[2] == "new"
sessions = []


def search(word):
    if new:
        return BY_WORD[word][:20]
    return [product for product in PRODUCTS if word in json.dumps(product)][:20]


def login(form):
    user = form.decode().partition("=")[2]
    session = {"user": user, "cart": []}
    if new:
        session["history"] = bytearray(16384)
    sessions.append(session)
    if not new:
        del sessions[:-100]
    return {"session": len(sessions)}


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def do_GET(self):
        if self.path.startswith("/search?q="):
            self.answer(search(self.path[10:]))
        else:
            self.answer(PRODUCTS[int(self.path.rpartition("/")[2])])

    def do_POST(self):
        self.answer(login(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """No traceback where a visitor leaves in the middle."""


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
