"""The Flask test server."""

import itertools
import time

from flask import Flask, Response, abort, jsonify, request

import upstream
import works
from payload import allocate, user

COUNT_PATH = "/__count"

app = Flask(__name__)
served = itertools.count()  # next() is atomic, so threads need no lock


@app.before_request
def count_request():
    if request.path != COUNT_PATH:
        next(served)


@app.get("/json")
def json_():
    return jsonify(message="Hello, World!")


@app.get("/users/<int:user_id>")
def users(user_id):
    if user_id == 0:
        abort(404)
    return jsonify(user(user_id))


@app.get("/alloc")
def alloc():
    return jsonify(allocate(request.args.get("kb", 1, int)))


@app.get("/sleep")
def sleep():
    ms = request.args.get("ms", 0, int)
    time.sleep(ms / 1000)
    return jsonify(slept=ms)


@app.get("/db")
def db():
    try:
        row = upstream.row(request.args.get("ms", 0, int))
    except upstream.Failure:
        abort(502)
    return jsonify(row=row)


@app.post("/echo")
def echo():
    return Response(request.get_data(), mimetype=request.mimetype or "application/octet-stream")


for path, work in works.SYNC.items():
    app.add_url_rule(path, path[1:], lambda work=work: jsonify(work(**works.numbers(request.query_string.decode()))))


@app.get("/async")
async def async_():
    """asgiref runs a loop for it."""
    return jsonify(await works.in_halves_async(works.PART))


@app.get("/stream")
def stream():
    return Response(works.chunks(), mimetype="text/plain")


@app.get("/background")
def background():
    """When the server closes the response, all of it is sent."""
    response = jsonify(objects=0)
    response.call_on_close(lambda: works.in_halves(works.PART))
    return response


@app.get("/error")
def error():
    works.in_halves(works.PART)
    raise RuntimeError("on purpose")


@app.get(COUNT_PATH)
def count():
    return jsonify(count=served.__reduce__()[1][0])
