"""The Django test server with asynchronous views, as an ASGI application."""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path

import django_app
import works

settings.ROOT_URLCONF = __name__


def add_work(work):
    async def view(request):
        return JsonResponse(await work(**works.numbers(request.META["QUERY_STRING"])))

    return view


def sync(request):
    """In asgiref's one thread for views that are not asynchronous."""
    return JsonResponse(works.in_halves(works.PART))


async def stream(request):
    return StreamingHttpResponse(works.chunks_async(), content_type="text/plain")


async def error(request):
    await works.in_halves_async(works.PART)
    raise RuntimeError("on purpose")


# Django tries one after the other and takes 1.2 KB for each: what is compared with /empty comes early, as that does.
urlpatterns = [
    path("sync", sync),
    path("async", django_app.async_),
    path("background", django_app.background),
    path("stream", stream),
    path("error", error),
    *(path(name[1:], add_work(work)) for name, work in works.ASYNC.items()),
    *django_app.urlpatterns,
]

application = get_asgi_application()
