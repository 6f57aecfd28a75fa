"""Every error that humanparse raises on purpose.

    HumanParseError
    ├── ImageError               the picture
    │   ├── NotAnImage           not a picture at all, or of a type that is not accepted
    │   ├── BrokenImage          a picture that breaks off or contradicts itself
    │   └── ImageTooLarge        more pixels than the limit allows
    ├── VideoError               the clip or the camera
    │   ├── NotAVideo            not a clip at all, or of a type that is not accepted
    │   ├── BrokenVideo          a clip or stream that breaks off or contradicts itself
    │   └── VideoTooLarge        more pixels, frames or seconds than the limit allows
    ├── ModelError               the model
    │   ├── UnknownModel         no model of that name and no such file
    │   ├── BrokenModel          a file that is damaged, or not a model of ours
    │   ├── DownloadFailed       a model that could not be downloaded, or not as promised
    │   └── OfflineError         a model to be downloaded while HUMANPARSE_OFFLINE is set
    ├── OptionError              an option or argument with an impossible value (also a ValueError)
    └── MissingExtra             an optional package that is not installed (also an ImportError)

Each message says what arrived, what was expected and what to do. `code` is a stable word for
programs. Errors survive pickle and copy, so that they reach the process that waits for them.
"""

from __future__ import annotations

from humanparse.extras import install_line


class HumanParseError(Exception):
    """Base of all errors that are raised on purpose; catch it to catch them all."""

    code = "error"


class ImageError(HumanParseError):
    """Something is wrong with the picture; another picture may work."""

    code = "image_error"


class NotAnImage(ImageError):
    """Not a picture at all, or of a type that is not accepted."""

    code = "not_an_image"


class BrokenImage(ImageError):
    """A picture that breaks off or contradicts itself."""

    code = "broken_image"


class ImageTooLarge(ImageError):
    """A picture with more pixels than the limit allows."""

    code = "image_too_large"


class VideoError(HumanParseError):
    """Something is wrong with the clip or the camera; another clip may work."""

    code = "video_error"


class NotAVideo(VideoError):
    """Not a clip at all, or of a type that is not accepted."""

    code = "not_a_video"


class BrokenVideo(VideoError):
    """A clip or stream that breaks off or contradicts itself."""

    code = "broken_video"


class VideoTooLarge(VideoError):
    """A clip with more pixels, frames or seconds than the limit allows."""

    code = "video_too_large"


class ModelError(HumanParseError):
    """Something is wrong with the model; no picture will work with it."""

    code = "model_error"


class UnknownModel(ModelError):
    """No model has that name, and there is no such file."""

    code = "unknown_model"


class BrokenModel(ModelError):
    """A file that is damaged, or not a model of ours."""

    code = "broken_model"


class DownloadFailed(ModelError):
    """A model could not be downloaded, or arrived with other bytes than promised."""

    code = "download_failed"


class OfflineError(ModelError):
    """A model would have to be downloaded while HUMANPARSE_OFFLINE is set."""

    code = "offline"


class OptionError(HumanParseError, ValueError):
    """An option or argument has an impossible value."""

    code = "bad_option"


class MissingExtra(HumanParseError, ImportError):
    """An optional package is not installed.

    Args:
        need: What needs which package.
        extra: One of `extras.EXTRAS`, whose packages the message says how to install; "" if `need`
            is the whole message, as pickle and copy call it.
    """

    code = "missing_extra"

    def __init__(self, need: str, extra: str = ""):
        super().__init__(f"{need}: {install_line(extra)}" if extra else need)
