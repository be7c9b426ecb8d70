from pathlib import Path

import pytest

from api.app import create_app
from api.settings import EXAMPLES, InvalidSettings, Settings, effective, load_settings
from backends import cpu_backend


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in effective(Settings.model_construct()):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_suit_one_machine():
    settings = load_settings()
    assert (settings.env, settings.log_level, settings.workers) == ("development", "INFO", 1)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.target, settings.targets, settings.model) == ("cpu", (), None)
    assert settings.models_dir == EXAMPLES == Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("env", ["production", "staging"])
def test_outside_development_every_address_is_bound_unless_one_is_set(monkeypatch, env):
    monkeypatch.setenv("SNN_FUSION_ENV", env)
    assert load_settings().host == "0.0.0.0"
    monkeypatch.setenv("SNN_FUSION_HOST", "127.0.0.2")
    assert load_settings().host == "127.0.0.2"


def test_options_come_before_the_environment(monkeypatch):
    monkeypatch.setenv("SNN_FUSION_PORT", "9000")
    monkeypatch.setenv("SNN_FUSION_TARGETS", "brian2, numpy")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001
    assert load_settings().targets == ("brian2", "numpy")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ENV", "prod", "production"),
        ("LOG_LEVEL", "LOUD", "DEBUG"),
        ("WORKERS", "0", "greater than or equal to 1"),
        ("PORT", "http", "integer"),
        ("PORT", "70000", "65535"),
        ("PORT", "tcp://10.0.0.1:8080", "enableServiceLinks"),
        ("MAX_DURATION_S", "nan", "finite"),
        ("MODELS_DIR", "/no/such/folder", "is not a folder"),
        ("HW_CONFIGS", "/no/such/folder", "is not a folder"),
        ("REDIS_CA_FILE", "/no/such/file", "is not a file"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch, name, value, says):
    monkeypatch.setenv(f"SNN_FUSION_{name}", value)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"SNN_FUSION_{name}: {value!r}: ") or name == "MAX_DURATION_S"
    assert f"SNN_FUSION_{name}" in message
    assert says in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "url", ["redis:/secret@host", "http://:secret@host", "unix://?password=secret", "secret"]
)
def test_a_wrong_url_of_redis_is_refused_without_showing_it(monkeypatch, url):
    monkeypatch.setenv("SNN_FUSION_REDIS_URL", url)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert str(caught.value).startswith("SNN_FUSION_REDIS_URL: ")
    assert "secret" not in str(caught.value)


def test_a_url_of_redis_is_never_shown(monkeypatch):
    monkeypatch.setenv("SNN_FUSION_REDIS_URL", "rediss://user:hush@host:6380/1")
    settings = load_settings()
    assert "hush" not in f"{settings!r} {effective(settings)}"


@pytest.mark.parametrize(
    ("state", "home", "expected"),
    [("/state", "/home/me", "/state"), ("", "/home/me", "/home/me/.local/state"),
     ("not/absolute", "/home/me", "/home/me/.local/state")],
)  # fmt: skip
def test_data_lies_where_state_belongs(monkeypatch, state, home, expected):
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", home)
    assert load_settings().data_dir == Path(expected, "snn-fusion")


def test_every_wrong_value_is_told(monkeypatch):
    monkeypatch.setenv("SNN_FUSION_PORT", "x")
    monkeypatch.setenv("SNN_FUSION_WORKERS", "y")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2


def test_the_default_target_must_be_served(monkeypatch):
    monkeypatch.setenv("SNN_FUSION_TARGETS", "brian2")
    with pytest.raises(InvalidSettings, match="SNN_FUSION_TARGET: 'numpy' is not among"):
        load_settings(target="numpy")


@pytest.mark.parametrize(
    ("served", "default", "without_numba"),
    [("", "cpu", "numpy"), ("brian2, numpy, cpu", "cpu", "numpy"), ("brian2", "brian2", "brian2"),
     ("cpu, brian2", "cpu", "cpu")],
)  # fmt: skip
def test_the_default_target_is_the_fastest_that_runs_here(
    monkeypatch, served, default, without_numba
):
    monkeypatch.setenv("SNN_FUSION_TARGETS", served)
    assert load_settings().target == default
    monkeypatch.setattr(cpu_backend, "why_numba_fails", lambda: "it is too old")
    assert load_settings().target == without_numba


@pytest.mark.parametrize(
    ("name", "value"), [("target", "nope"), ("targets", "numpy,nope"), ("model", "nope")]
)
def test_names_that_do_not_exist_name_their_variable(shelf_dir, name, value):
    settings = load_settings(models_dir=shelf_dir, **{name: value})
    with pytest.raises(InvalidSettings, match=f"SNN_FUSION_{name.upper()}: .*'nope'"):
        create_app(settings)


def test_the_effective_settings_are_plain_text():
    shown = effective(load_settings(targets="numpy,brian2"))
    assert shown["SNN_FUSION_PORT"] == "8080"
    assert shown["SNN_FUSION_TARGETS"] == "numpy,brian2"
    assert shown["SNN_FUSION_MODEL"] == ""


def test_secrets_come_from_files_behind_options_and_the_environment(monkeypatch, tmp_path):
    (tmp_path / "SNN_FUSION_LOG_LEVEL").write_text(" ERROR\n")
    (tmp_path / "snn_fusion_max_queue").write_text("7")
    monkeypatch.setenv("SNN_FUSION_SECRETS_DIR", str(tmp_path))
    assert (load_settings().log_level, load_settings().max_queue) == ("ERROR", 7)
    monkeypatch.setenv("SNN_FUSION_MAX_QUEUE", "8")
    assert load_settings().max_queue == 8
    assert load_settings(max_queue=9).max_queue == 9
    monkeypatch.delenv("SNN_FUSION_SECRETS_DIR")
    assert load_settings().log_level == "INFO"
    assert load_settings(secrets_dir=tmp_path).log_level == "ERROR"


def test_a_folder_of_secrets_that_is_none_names_its_variable(monkeypatch):
    monkeypatch.setenv("SNN_FUSION_SECRETS_DIR", "/no/such/folder")
    with pytest.raises(InvalidSettings, match=r"SNN_FUSION_SECRETS_DIR: .* is not a folder"):
        load_settings()


def test_kubernetes_links_are_followed(monkeypatch, tmp_path):
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "SNN_FUSION_LOG_LEVEL").write_text("WARNING")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "SNN_FUSION_LOG_LEVEL").symlink_to("..data/SNN_FUSION_LOG_LEVEL")
    monkeypatch.setenv("SNN_FUSION_SECRETS_DIR", str(tmp_path))
    assert load_settings().log_level == "WARNING"
