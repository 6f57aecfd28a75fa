"""Every error that humanparse raises on purpose.

    HumanParseError
    ├── ImageError               the picture
    │   ├── NotAnImage           not a picture at all, or of a type that is not accepted
    │   ├── BrokenImage          a picture that breaks off or contradicts itself
    │   └── ImageTooLarge        more pixels than the limit allows
    ├── ModelError               the model
    │   ├── UnknownModel         no model of that name and no such file
    │   ├── BrokenModel          a file that is not a model of ours, or a damaged one
    │   ├── DownloadFailed       a model that could not be fetched, or came with other bytes than promised
    │   └── OfflineError         a model that would have to be fetched while HUMANPARSE_OFFLINE is set
    ├── OptionError              an option or argument with an impossible value (also a ValueError)
    └── MissingExtra             an optional package that is not installed (also an ImportError)

Each message says what arrived, what was expected and what to do. `code` is a stable word for
programs. Errors survive pickle and copy, so that they reach the process that waits for them.
"""

from __future__ import annotations

from humanparse.extras import install_line


class HumanParseError(Exception):
    """Base of all errors raised on purpose; catch this one to catch them all."""

    code = "error"


class ImageError(HumanParseError):
    """Something about the picture; another picture may work."""

    code = "image_error"


class NotAnImage(ImageError):
    code = "not_an_image"


class BrokenImage(ImageError):
    code = "broken_image"


class ImageTooLarge(ImageError):
    code = "image_too_large"


class ModelError(HumanParseError):
    """Something about the model; no picture will work with it."""

    code = "model_error"


class UnknownModel(ModelError):
    code = "unknown_model"


class BrokenModel(ModelError):
    code = "broken_model"


class DownloadFailed(ModelError):
    code = "download_failed"


class OfflineError(ModelError):
    code = "offline"


class OptionError(HumanParseError, ValueError):
    code = "bad_option"


class MissingExtra(HumanParseError, ImportError):
    code = "missing_extra"

    def __init__(self, need: str, extra: str = ""):
        """need: what needs which package. extra: one of EXTRAS, or "" if `need` is the whole
        message.

        The latter is how pickle and copy call it.
        """
        super().__init__(f"{need}: {install_line(extra)}" if extra else need)
