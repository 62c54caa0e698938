"""The job templates, held against what Prefect's workers take and, key by key, what Kubernetes knows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_asyncio.client.models as kubernetes_models
import prefect
import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "deployments"
TEMPLATES = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*-?pu.json"))
}
WORKERS = Path(prefect.__file__).parent / "server/api/collections_data/views/aggregate-worker-metadata.json"
PLACEHOLDER = re.compile(r"\{\{ (\w+) \}\}")
CONTAINER = re.compile(r"(dict\(str, |list\[)(\w+)[\])]")


def of_prefect(kind: str) -> dict[str, Any]:
    """The template that Prefect itself has for workers of this type."""
    workers = json.loads(WORKERS.read_text(encoding="utf-8"))[f"prefect-{kind}"]
    template: dict[str, Any] = workers[kind]["default_base_job_configuration"]
    return template


def test_there_is_one_with_gpus_and_one_without_for_both_kinds_of_workers() -> None:
    assert set(TEMPLATES) == {"docker-cpu", "docker-gpu", "kubernetes-cpu", "kubernetes-gpu"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_worker_knows_every_key(name: str) -> None:
    template = TEMPLATES[name]
    assert set(template) == {"variables", "job_configuration"}
    known = of_prefect(name.partition("-")[0])["job_configuration"]
    assert set(template["job_configuration"]) <= set(known)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_variable_is_used_described_and_every_placeholder_is_a_variable(name: str) -> None:
    template = TEMPLATES[name]
    variables = template["variables"]["properties"]
    assert set(PLACEHOLDER.findall(json.dumps(template["job_configuration"]))) == set(variables)
    for variable in variables.values():
        assert variable["title"]
        assert variable["description"].endswith(".")
        assert set(variable) <= {
            "title", "description", "type", "default", "enum", "items", "minimum", "additionalProperties"
        }  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_variables_that_prefect_has_too_are_of_the_same_type(name: str) -> None:
    known = of_prefect(name.partition("-")[0])["variables"]["properties"]
    for key, variable in TEMPLATES[name]["variables"]["properties"].items():
        if "type" in known.get(key, {}):
            assert variable["type"] == known[key]["type"], key


@pytest.mark.parametrize("name", ["kubernetes-cpu", "kubernetes-gpu"])
def test_the_manifest_has_only_keys_that_kubernetes_knows(name: str) -> None:
    check_keys(TEMPLATES[name]["job_configuration"]["job_manifest"], "V1Job", "job")


def test_the_check_of_keys_finds_what_kubernetes_would_pass_over() -> None:
    manifest = {"spec": {"template": {"spec": {"parallelism": 1, "containers": []}}}}
    with pytest.raises(AssertionError, match=r"job\.spec\.template\.spec\.parallelism"):
        check_keys(manifest, "V1Job", "job")
    with pytest.raises(AssertionError, match=r"resource"):
        check_keys({"spec": {"template": {"spec": {"containers": [{"resource": {}}]}}}}, "V1Job", "job")


@pytest.mark.parametrize("name", ["docker-gpu", "kubernetes-gpu"])
def test_a_gpu_template_asks_for_gpus_and_the_image_that_can_use_them(name: str) -> None:
    template = TEMPLATES[name]
    properties = template["variables"]["properties"]
    assert properties["image"]["default"] == "flywheel:gpu"
    if name == "docker-gpu":
        assert properties["env"]["default"]["NVIDIA_VISIBLE_DEVICES"] == "all"
    else:
        [container] = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpus }}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_run_has_a_heartbeat_a_home_that_outlives_it_and_no_secret_in_the_template(name: str) -> None:
    template = TEMPLATES[name]
    environment = template["variables"]["properties"]["env"]["default"]
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert environment["FLYWHEEL_HOME"] == "/data"
    assert "/data" in json.dumps(template["job_configuration"]) + json.dumps(
        template["variables"]["properties"].get("volumes", {})
    )
    assert "prefect.blocks" not in json.dumps(template)  # would be resolved, and stored, at deploy time


@pytest.mark.parametrize("name", ["kubernetes-cpu", "kubernetes-gpu"])
def test_the_user_of_the_image_may_write_to_a_volume_that_belongs_to_root(name: str) -> None:
    pod = TEMPLATES[name]["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert f"--uid {pod['securityContext']['fsGroup']} " in dockerfile


def check_keys(value: Any, kind: str, at: str) -> None:
    """Walk a manifest along the types of the official client; whatever these do not have is an error."""
    if isinstance(value, str) and PLACEHOLDER.fullmatch(value):
        return
    container = CONTAINER.fullmatch(kind)
    if container and isinstance(value, dict):
        for key, part in value.items():
            check_keys(part, container[2], f"{at}.{key}")
    elif container and isinstance(value, list):
        for position, part in enumerate(value):
            check_keys(part, container[2], f"{at}[{position}]")
    elif kind.startswith("V1"):
        model = getattr(kubernetes_models, kind)
        types = {key: model.openapi_types[field] for field, key in model.attribute_map.items()}
        assert isinstance(value, dict), f"{at} is no {kind}"
        for key, part in value.items():
            assert key in types, f"{at}.{key} is nothing that Kubernetes knows"
            check_keys(part, types[key], f"{at}.{key}")
    else:
        expected = {"str": str, "int": int, "bool": bool}.get(kind, object)
        assert isinstance(value, expected), f"{at} is no {kind}"
