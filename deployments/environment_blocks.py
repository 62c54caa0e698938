"""The Prefect blocks that the environment describes: the same variables that the command line reads, saved for workers.

| block                              | is saved when these are set                                |
| `flywheel-elasticsearch-logs/main` | ELASTICSEARCH_URL or ELASTICSEARCH_CLOUD_ID                |
| `flywheel-langfuse-logs/main`      | LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY (LANGFUSE_HOST)   |
| `flywheel-mongodb-runs/main`       | MONGODB_URL                                                |
| `flywheel-url-datasets/main`       | FLYWHEEL_DATASETS_URL (options: FLYWHEEL_DATASETS_OPTIONS) |
| `flywheel-nemo-microservices/main` | NEMO_BASE_URL, NIM_BASE_URL, DATASTORE_BASE_URL            |
| `flywheel-openai-compatible/main`  | OPENAI_API_KEY or OPENAI_BASE_URL                          |
| `flywheel-vllm/main`               | VLLM_BASE_URL (key: VLLM_API_KEY; home: FLYWHEEL_HOME)     |
| `webhook/flywheel-notify`          | FLYWHEEL_NOTIFY_WEBHOOK                                    |
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from pydantic import SecretStr

from blocks.datasets.fsspec_block import FsspecDatasets
from blocks.elasticsearch.block import ElasticsearchLogs
from blocks.elasticsearch.settings import settings_from_environment
from blocks.langfuse.block import LangfuseLogs
from blocks.langfuse.settings import settings_from_environment as langfuse_of_environment
from blocks.mongo.block import MongoRuns
from blocks.mongo.connection import connection_from_environment
from blocks.nemo.block import NemoMicroservices
from blocks.nemo.connection import from_environment
from blocks.openai_platform.block import OpenAICompatible, VllmServer
from blocks.openai_platform.connection import OPENAI

NAME = "main"
NOTIFY = "flywheel-notify"


def described(environment: Mapping[str, str]) -> list[tuple[str, Block]]:
    """Name and content of each block. Raises: ConfigError where a variable is wrong or half of a pair is missing."""

    def has(*names: str) -> bool:
        return any(environment.get(name, "").strip() for name in names)

    blocks: list[tuple[str, Block]] = []
    if has("ELASTICSEARCH_URL", "ELASTICSEARCH_CLOUD_ID"):
        blocks.append((NAME, _elasticsearch(environment)))
    if has("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"):
        blocks.append((NAME, _langfuse(environment)))
    if has("MONGODB_URL"):
        blocks.append((NAME, _mongodb(environment)))
    if has("FLYWHEEL_DATASETS_URL"):
        options = environment.get("FLYWHEEL_DATASETS_OPTIONS", "").strip()
        url = environment["FLYWHEEL_DATASETS_URL"].strip()
        blocks.append(
            (
                NAME,
                FsspecDatasets(url=url, options=SecretStr(options)) if options else FsspecDatasets(url=url),
            )
        )
    if has("NEMO_BASE_URL", "NIM_BASE_URL", "DATASTORE_BASE_URL"):
        blocks.append((NAME, _nemo(environment)))
    if has("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        blocks.append((NAME, _openai(environment)))
    if has("VLLM_BASE_URL"):
        blocks.append((NAME, _vllm(environment)))
    if has("FLYWHEEL_NOTIFY_WEBHOOK"):
        url = environment["FLYWHEEL_NOTIFY_WEBHOOK"].strip()
        # A webhook inside one's own network is the usual case for one's own server.
        blocks.append((NOTIFY, Webhook(url=SecretStr(url), allow_private_urls=True)))
    return blocks


def _elasticsearch(environment: Mapping[str, str]) -> ElasticsearchLogs:
    settings = settings_from_environment(environment)
    return ElasticsearchLogs(
        hosts=list(settings.hosts),
        cloud_id=settings.cloud_id,
        api_key=SecretStr(settings.api_key) if settings.api_key else None,
        username=settings.username,
        password=SecretStr(settings.password) if settings.password else None,
        ca_certs=settings.ca_certs,
        ca_fingerprint=settings.ca_fingerprint,
        index=settings.index,
        timeout_seconds=settings.timeout_seconds,
        attempts=settings.attempts,
        slices=settings.slices,
        page_megabytes=settings.page_bytes / 1e6,
    )


def _langfuse(environment: Mapping[str, str]) -> LangfuseLogs:
    settings = langfuse_of_environment(environment)
    return LangfuseLogs(
        host=settings.host, public_key=settings.public_key, secret_key=SecretStr(settings.secret_key)
    )


def _mongodb(environment: Mapping[str, str]) -> MongoRuns:
    connection = connection_from_environment(environment)
    return MongoRuns(
        url=SecretStr(connection.url),
        database=connection.database_name,
        username=connection.username,
        password=SecretStr(connection.password),
        tls_ca_file=connection.tls_ca_file,
        patience_seconds=connection.patience_seconds,
    )


def _nemo(environment: Mapping[str, str]) -> NemoMicroservices:
    connection = from_environment(environment)
    key = environment.get("NEMO_API_KEY", "").strip()
    return NemoMicroservices(
        nemo_base_url=connection.nemo,
        nim_base_url=connection.nim,
        datastore_base_url=connection.datastore,
        namespace=connection.namespace,
        api_key=SecretStr(key) if key else None,
        poll_seconds=connection.waits.poll,
    )


def _openai(environment: Mapping[str, str]) -> OpenAICompatible:
    key = environment.get("OPENAI_API_KEY", "").strip()
    return OpenAICompatible(
        base_url=environment.get("OPENAI_BASE_URL", "").strip() or OPENAI,
        api_key=SecretStr(key) if key else None,
    )


def _vllm(environment: Mapping[str, str]) -> VllmServer:
    key = environment.get("VLLM_API_KEY", "").strip()
    return VllmServer(
        base_url=environment["VLLM_BASE_URL"].strip(),
        api_key=SecretStr(key) if key else None,
        home=environment.get("FLYWHEEL_HOME", "").strip() or "~/.flywheel",
    )
