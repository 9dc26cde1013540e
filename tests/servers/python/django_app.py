"""The Django test server: settings, views and the WSGI application in one file; by itself, Django's development server.

Usage: django_app.py runserver --noreload 127.0.0.1:PORT
"""

import itertools
import time

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseNotFound, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

import upstream
import works
from payload import allocate, user

COUNT_PATH = "/__count"

settings.configure(
    DEBUG=False,
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        f"{__name__}.counter",
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
)

served = itertools.count()  # next() is atomic, so threads need no lock


@sync_and_async_middleware
def counter(get_response):
    def middleware(request):
        if request.path != COUNT_PATH:
            next(served)
        return get_response(request)  # a coroutine where there is a loop, which the caller awaits

    return markcoroutinefunction(middleware) if iscoroutinefunction(get_response) else middleware


@require_GET
def json_(request):
    return JsonResponse({"message": "Hello, World!"})


@require_GET
def users(request, user_id):
    if user_id == 0:
        return HttpResponseNotFound()
    return JsonResponse(user(user_id))


@require_GET
def alloc(request):
    return JsonResponse(allocate(int(request.GET.get("kb", 1))))


@require_GET
def sleep(request):
    ms = int(request.GET.get("ms", 0))
    time.sleep(ms / 1000)
    return JsonResponse({"slept": ms})


@require_GET
def db(request):
    try:
        row = upstream.row(int(request.GET.get("ms", 0)))
    except upstream.Failure:
        return HttpResponse(status=502)
    return JsonResponse({"row": row})


@csrf_exempt
@require_POST
def echo(request):
    return HttpResponse(request.body, content_type=request.content_type or "application/octet-stream")


def add_work(work):
    return lambda request: JsonResponse(work(**works.numbers(request.META["QUERY_STRING"])))


async def async_(request):
    """Under WSGI asgiref runs a loop for it."""
    return JsonResponse(await works.in_halves_async(works.PART))


@require_GET
def stream(request):
    return StreamingHttpResponse(works.chunks(), content_type="text/plain")


class Afterwards(JsonResponse):
    """Does something when the server closes it: all of it is sent then."""

    def close(self):
        super().close()
        works.in_halves(works.PART)


@require_GET
def background(request):
    return Afterwards({"objects": 0})


@require_GET
def error(request):
    works.in_halves(works.PART)
    raise RuntimeError("on purpose")


@require_GET
def count(request):
    return JsonResponse({"count": served.__reduce__()[1][0]})


urlpatterns = [
    path("json", json_),
    path("users/<int:user_id>", users),
    path("alloc", alloc),
    path("sleep", sleep),
    path("db", db),
    path("echo", echo),
    path("async", async_),
    path("stream", stream),
    path("background", background),
    path("error", error),
    path(COUNT_PATH[1:], count),
    *(path(name[1:], add_work(work)) for name, work in works.SYNC.items()),
]

if __name__ == "__main__":
    execute_from_command_line()
else:
    application = get_wsgi_application()
