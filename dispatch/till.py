from django.http import HttpRequest, HttpResponse


def till(request: HttpRequest) -> HttpResponse:
    return HttpResponse("")
