"""The OpenAPI document describes what the service does: schemathesis makes requests from it and
checks the responses against it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from served import serve

SCHEMATHESIS = shutil.which("schemathesis", path=Path(sys.executable).parent)
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
# They take the options of /parse, /v1/edit and the model without a version, in hundreds of requests
# each: only `make long` makes those.
ALIKE = (
    "POST /predict",
    "POST /v1/batch",
    "POST /v1/jobs",
    "POST /v2/models/{model}/versions/{version}/infer",
)


@pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not installed")
@pytest.mark.parametrize(
    ("examples", "left_out"), [(1, ALIKE), pytest.param(10, (), marks=pytest.mark.long)]
)
def test_no_request_made_from_the_document_finds_a_5xx_or_an_answer_that_is_not_in_it(
    tmp_path, examples, left_out
):
    with serve(tmp_path, "--max-side", "256", "--workers", "1") as served:
        command = [
            SCHEMATHESIS,
            "run",
            f"{served.url}/openapi.json",
            "--checks",
            ",".join(CHECKS),
            "--max-examples",
            str(examples),
            "--phases",
            "coverage,fuzzing",
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
            *(f"--exclude-name={name}" for name in left_out),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (
        "".join(line[:300] for line in done.stdout.splitlines(True)) + done.stderr[-2000:]
    )
