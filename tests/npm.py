"""onnxruntime-web for tests: fetched once a session, and from npm's own cache after the first."""

import pytest


@pytest.fixture(scope="session")
def runtime_archive(tmp_path_factory):
    """The pinned archive of onnxruntime-web; skips, and says why, where npm cannot fetch it."""
    from humanparse.errors import DownloadFailed, MissingExtra
    from humanparse.export.onnxruntime_web import fetch_runtime

    try:
        return fetch_runtime(tmp_path_factory.mktemp("npm"))
    except (MissingExtra, DownloadFailed) as error:
        pytest.skip(f"needs onnxruntime-web: {error}")
