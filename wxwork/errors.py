"""What can go wrong with WeCom, by what the caller can do about it. Pure.

WxworkError
├── RetryError            back off and try again: WeCom is busy, did not answer, or with something that is no answer
│   ├── UnreachableError      the same: WeCom, or the way to it, is down, and the call had no part in that
│   └── OutcomeUnknownError   the same, but a write may have happened: read before it is repeated
├── LimitedError          wait retry_after_seconds: WeCom or our own budget takes no more calls of this API for now
├── LaterError            not an error: the result is not ready, ask again in 30 s to 10 min
├── MediaError            upload the file again, then try once more
├── ConfigError           nothing helps until settings or WeCom's console are changed; try again in minutes, loudly
│   └── TokenRefusedError     40014, 42001: the client fetches another token once, so this is the second one
├── DataError             this object is not there or not valid: mark it, read it anew, do not repeat
├── BusinessError         an outcome to store and to show (a quota is full, a welcome has been sent)
├── BugError              our request is wrong
├── LoginError            the person must log in again
└── UnknownCodeError      a code that is not in wxwork.codes: taken as permanent

A message names the API's path, the code and what to do. It holds no secret, token, welcome code or query.
"""

from wxwork.codes import BUG, BUSINESS, CODES, CONFIG, DATA, LATER, MEDIA, REFRESH, RETRY, USER, WAIT

# The shortest of WeCom's own blocks (minute rule): what a limit costs when nothing better is known.
LIMIT_SECONDS = 60.0
ERRMSG_LENGTH = 300


class WxworkError(Exception):
    """code: WeCom's, or None where there was none. path: of the API, without a query."""

    def __init__(self, message: str, *, code: int | None = None, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.path = path


class RetryError(WxworkError):
    pass


class UnreachableError(RetryError):
    pass


class OutcomeUnknownError(RetryError):
    pass


class LimitedError(WxworkError):
    def __init__(
        self, message: str, *, code: int | None = None, path: str = "", retry_after_seconds: float = LIMIT_SECONDS
    ) -> None:
        super().__init__(message, code=code, path=path)
        self.retry_after_seconds = retry_after_seconds


class LaterError(WxworkError):
    pass


class MediaError(WxworkError):
    pass


class ConfigError(WxworkError):
    pass


class TokenRefusedError(ConfigError):
    pass


class DataError(WxworkError):
    pass


class BusinessError(WxworkError):
    pass


class BugError(WxworkError):
    pass


class LoginError(WxworkError):
    pass


class UnknownCodeError(WxworkError):
    pass


ERRORS: dict[str, type[WxworkError]] = {
    RETRY: RetryError,
    REFRESH: TokenRefusedError,
    WAIT: LimitedError,
    LATER: LaterError,
    MEDIA: MediaError,
    CONFIG: ConfigError,
    DATA: DataError,
    BUSINESS: BusinessError,
    BUG: BugError,
    USER: LoginError,
}


def error_for(code: int, errmsg: str, path: str) -> WxworkError:
    """Return the error of an answer's errcode. errmsg: WeCom's own words, shown and never gone by.

    >>> error_for(40096, "invalid external userid", "/cgi-bin/externalcontact/get")  # doctest: +ELLIPSIS
    DataError('WeCom answers 40096 to /cgi-bin/externalcontact/get: invalid external_userid ...
    >>> type(error_for(-1, "system busy", "/cgi-bin/user/get")).__name__
    'RetryError'
    """
    said = f" [{errmsg[:ERRMSG_LENGTH]}]" if errmsg else ""
    known = CODES.get(code)
    if known is None:
        return UnknownCodeError(
            f"WeCom answers {code} to {path}, a code that is not in wxwork.codes.{said}", code=code, path=path
        )
    message = f"WeCom answers {code} to {path}: {known.meaning}. To do: {known.action}.{said}"
    return ERRORS[known.kind](message, code=code, path=path)
