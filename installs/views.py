from django.http import HttpRequest, HttpResponse


def catalog(request: HttpRequest) -> HttpResponse:
    return HttpResponse("")


detail = install = act = activity = switch_merchant = catalog
