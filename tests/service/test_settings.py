"""Every limit is one row, and can be set as an option, as a variable or in Python."""

from dataclasses import fields

import pytest
from typer.testing import CliRunner

from humanparse.cli import app
from humanparse.errors import OptionError
from humanparse.image import MAX_MEGAPIXELS
from humanparse.service import start
from humanparse.service.settings import Settings, is_loopback

ROWS = fields(Settings)


def test_workers_divide_the_cores():
    settings = Settings()
    assert settings.workers >= 1 and settings.threads >= 1
    assert Settings(workers=3).workers == 3


def test_photos_may_be_as_large_as_in_python():
    assert Settings().max_megapixels == MAX_MEGAPIXELS


def test_variables_set_every_kind_of_row(tmp_path):
    settings = Settings.from_env(
        {
            "HUMANPARSE_PORT": "8000",
            "HUMANPARSE_MAX_BODY_MB": "0.5",
            "HUMANPARSE_NO_AUTH": "true",
            "HUMANPARSE_HOST": "0.0.0.0",
            "HUMANPARSE_CORS_ORIGINS": "https://a.example, https://b.example",
            "HUMANPARSE_DATA_DIR": str(tmp_path),
        }
    )
    assert (settings.port, settings.max_body_mb, settings.no_auth) == (8000, 0.5, True)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.folder == tmp_path


def test_an_argument_goes_before_a_variable():
    assert Settings.from_env({"HUMANPARSE_PORT": "8000"}, port=9000).port == 9000


@pytest.mark.parametrize(
    ("variable", "text"), [("PORT", "http"), ("MAX_BODY_MB", "much"), ("NO_AUTH", "perhaps")]
)
def test_an_unreadable_variable_is_named(variable, text):
    with pytest.raises(OptionError, match=f"HUMANPARSE_{variable} is '{text}'"):
        Settings.from_env({f"HUMANPARSE_{variable}": text})


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"max_body_mb": 0},
        {"deadline_s": float("nan")},
        {"engine": "abacus"},
        {"log_format": "xml"},
        {"models": ()},
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Settings(**wrong)


def test_other_machines_need_a_token_unless_no_auth_is_set():
    with pytest.raises(OptionError, match=r"HUMANPARSE_TOKEN.*--no-auth"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", token="secret").token == "secret"
    assert Settings(host="0.0.0.0", no_auth=True).no_auth


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("example.org", False),
    ],
)
def test_which_addresses_only_this_machine_can_reach(host, expected):
    assert is_loopback(host) == expected


@pytest.fixture
def given_to_serve(monkeypatch):
    """The settings that `humanparse serve` passes on."""
    seen = []
    monkeypatch.setattr(start, "serve", lambda settings: seen.append(settings) or 0)
    return seen


def test_every_row_is_a_flag_with_its_default_and_variable_in_the_help():
    shown = " ".join(
        CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output.split()
    )
    for row in ROWS:
        assert f"--{row.name.replace('_', '-')}" in shown
        assert f"HUMANPARSE_{row.name.upper()}]" in shown


def test_flags_reach_the_settings(given_to_serve):
    given = [
        "serve",
        "--port",
        "8001",
        "--max-body-mb",
        "2.5",
        "--cors-origins",
        "https://a.example,https://b.example",
        "--host",
        "0.0.0.0",
        "--no-auth",
    ]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert (given_to_serve[0].port, given_to_serve[0].max_body_mb, given_to_serve[0].no_auth) == (
        8001,
        2.5,
        True,
    )
    assert given_to_serve[0].cors_origins == ("https://a.example", "https://b.example")


def test_a_flag_goes_before_its_variable(given_to_serve):
    CliRunner().invoke(
        app, ["serve", "--port", "8001"], env={"HUMANPARSE_PORT": "8002", "HUMANPARSE_WORKERS": "3"}
    )
    assert (given_to_serve[0].port, given_to_serve[0].workers) == (8001, 3)


def test_a_wrong_setting_is_one_line_and_bad_usage():
    result = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert "HUMANPARSE_TOKEN" in result.stderr and len(result.stderr.splitlines()) == 1
