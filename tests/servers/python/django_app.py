"""The Django test server: settings, views and the WSGI application in one file."""

import itertools
import os
import time

import requests
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseNotFound, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from payload import allocate, user

COUNT_PATH = "/__count"
UPSTREAM = f"http://127.0.0.1:{os.environ.get('UPSTREAM', '9')}"

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


def counter(get_response):
    def middleware(request):
        if request.path != COUNT_PATH:
            next(served)
        return get_response(request)

    return middleware


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
        row = requests.get(f"{UPSTREAM}/sleep", params={"ms": int(request.GET.get("ms", 0))}, timeout=10)
    except requests.RequestException:
        return HttpResponse(status=502)
    return JsonResponse({"row": row.json()})


@csrf_exempt
@require_POST
def echo(request):
    return HttpResponse(request.body, content_type=request.content_type or "application/octet-stream")


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
    path(COUNT_PATH[1:], count),
]

application = get_wsgi_application()
