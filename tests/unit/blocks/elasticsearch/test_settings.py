"""How to reach an Elasticsearch, from what people write down."""

from __future__ import annotations

import pytest

from blocks.elasticsearch.block import ElasticsearchLogs
from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.settings import ElasticsearchSettings, settings_from_environment
from flywheel.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "hosts", "index"),
    [
        ("https://es.example", ("https://es.example:443",), "log-store-*"),
        ("http://es.example", ("http://es.example:9200",), "log-store-*"),
        ("https://es.example:9243/prefix/", ("https://es.example:9243/prefix",), "log-store-*"),
        ("elasticsearch://es.example", ("http://es.example:9200",), "log-store-*"),
        ("elasticsearchs://es.example/calls-*", ("https://es.example:9200",), "calls-*"),
        ("elasticsearch://[::1]:9201/a%2Cb", ("http://[::1]:9201",), "a,b"),
        ("http://a:1,http://b:2", ("http://a:1", "http://b:2"), "log-store-*"),
    ],
)
def test_urls_name_hosts_and_the_own_scheme_an_index(url: str, hosts: tuple[str, ...], index: str) -> None:
    settings = settings_from_environment({"ELASTICSEARCH_URL": url})
    assert (settings.hosts, settings.index) == (hosts, index)
    connect(settings).close()


def test_credentials_may_stand_in_the_url_or_in_variables_which_win() -> None:
    url = "elasticsearch://reader:p%40ss@es.example/calls"
    settings = settings_from_environment({"ELASTICSEARCH_URL": url})
    assert (settings.username, settings.password, settings.hosts) == (
        "reader",
        "p@ss",
        ("http://es.example:9200",),
    )
    assert "p@ss" not in repr(settings)
    more = {"ELASTICSEARCH_USERNAME": "other", "ELASTICSEARCH_PASSWORD": "x", "ELASTICSEARCH_INDEX": "mine"}
    settings = settings_from_environment({"ELASTICSEARCH_URL": url, **more})
    assert (settings.username, settings.password, settings.index) == ("other", "x", "mine")


def test_patience_and_pace_are_variables_as_well_and_keep_their_usual_values_otherwise() -> None:
    usual = settings_from_environment({"ELASTICSEARCH_URL": "http://a"})
    assert usual == ElasticsearchSettings(hosts=("http://a:9200",))
    given = {"TIMEOUT_SECONDS": "2.5", "ATTEMPTS": "3", "SLICES": "4", "PAGE_MEGABYTES": "0.5"}
    environment = {f"ELASTICSEARCH_{name}": value for name, value in given.items()}
    settings = settings_from_environment({"ELASTICSEARCH_URL": "http://a", **environment})
    assert (settings.timeout_seconds, settings.attempts) == (2.5, 3)
    assert (settings.slices, settings.page_bytes) == (4, 500_000)


def test_a_cloud_id_stands_in_the_place_of_an_address() -> None:
    cloud_id = "log:dXMtZWFzdC0xLmF3cy5mb3VuZC5pbyRhYmMkZGVm"
    settings = settings_from_environment(
        {"ELASTICSEARCH_CLOUD_ID": cloud_id, "ELASTICSEARCH_API_KEY": "a2V5"}
    )
    with connect(settings) as client:
        (node,) = client.transport.node_pool.all()
        assert node.config.host == "abc.us-east-1.aws.found.io"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "ELASTICSEARCH_URL is not set"),
        ({"ELASTICSEARCH_URL": "http://a", "ELASTICSEARCH_CLOUD_ID": "b"}, "unset one"),
        ({"ELASTICSEARCH_URL": "es.example:9200"}, "no URL"),
        ({"ELASTICSEARCH_URL": "ftp://es.example"}, "no URL"),
        ({"ELASTICSEARCH_URL": "http://"}, "no URL"),
        ({"ELASTICSEARCH_URL": "http://es.example:port"}, "no URL"),
        ({"ELASTICSEARCH_URL": "https://es.example?verify_certs=false"}, "no URL"),
        (
            {"ELASTICSEARCH_URL": "elasticsearch://a/calls,elasticsearch://b/others"},
            "different users or indices",
        ),
        ({"ELASTICSEARCH_URL": "http://a,http://u:p@b"}, "different users or indices"),
        ({"ELASTICSEARCH_URL": "http://a", "ELASTICSEARCH_ATTEMPTS": "0"}, "from 1 to 20"),
        ({"ELASTICSEARCH_URL": "http://a", "ELASTICSEARCH_TIMEOUT_SECONDS": "30s"}, "from 0.001 to 3600"),
        ({"ELASTICSEARCH_URL": "http://a", "ELASTICSEARCH_USERNAME": "u"}, "together"),
        ({"ELASTICSEARCH_URL": "http://u:p@a", "ELASTICSEARCH_API_KEY": "k"}, "one of them"),
    ],
)
def test_what_cannot_be_right_is_said_before_anything_is_sent(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_from_environment(environment)


def test_no_error_shows_a_password() -> None:
    for url in ("ftp://u:hunter2@es.example", "http://u:hunter2@es.example:port"):
        with pytest.raises(ConfigError) as raised:
            settings_from_environment({"ELASTICSEARCH_URL": url})
        assert "hunter2" not in str(raised.value)
    with pytest.raises(ConfigError) as raised:
        connect(ElasticsearchSettings(hosts=("http://u:hunter2@es.example",)))
    assert "hunter2" not in str(raised.value)


def test_a_certificate_file_that_is_not_there_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="no file /nowhere"):
        connect(ElasticsearchSettings(hosts=("https://es.example",), ca_certs="/nowhere/ca.pem"))


def test_an_index_in_an_address_of_a_block_is_not_passed_over() -> None:
    with pytest.raises(ConfigError, match="names the index calls"):
        connect(ElasticsearchSettings(hosts=("elasticsearch://es.example/calls",)))


def test_a_block_with_contradicting_credentials_does_not_connect() -> None:
    block = ElasticsearchLogs(api_key="a", username="u", password="p")
    with pytest.raises(ConfigError):
        block.connect()


@pytest.mark.parametrize("wrong", [{"hots": ["x"]}, {"slices": 0}, {"timeout_seconds": 0}, {"index": ""}])
def test_a_block_refuses_misspelt_fields_and_values_out_of_bounds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ElasticsearchLogs(**wrong)  # type: ignore[arg-type]
