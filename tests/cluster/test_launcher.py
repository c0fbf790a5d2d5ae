"""The cluster launcher's files are what Ray's own validator accepts, and fit the image."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.files import KUBERAY_FILES, LAUNCHER_FILES, REMOVED, custom_resource, spoiled
from tests.cluster.kuberay import cluster_spec, num_bytes, ray_container


def _read(path: Path) -> dict[str, Any]:
    return json.loads(json.dumps(yaml.safe_load(path.read_text())))  # what YAML's anchors share becomes several


def _validated(config: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` does it before it calls the cloud. Raises: what Ray refuses."""
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.fixture(params=LAUNCHER_FILES, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return _read(request.param)


def test_ray_accepts_the_file(config: dict[str, Any]):
    prepared = _validated(config)
    assert set(prepared["available_node_types"]) == {"head", "cpu-decode", "gpu"}  # none of Ray's defaults came in


SPOILED = {
    "unknown_key": ("idle_timeout_seconds", 300, "'idle_timeout_seconds' was unexpected"),
    "unknown_key_of_a_type": ("available_node_types/gpu/replicas", 1, "'replicas' was unexpected"),
    "unknown_key_of_docker": ("docker/shm_size", "8g", "'shm_size' was unexpected"),
    "no_resources": ("available_node_types/gpu/resources", REMOVED, "'resources' is a required property"),
    "cpus_as_text": ("available_node_types/cpu-decode/resources/CPU", "8", "'8' is not of type 'integer'"),
    "no_such_head": ("head_node_type", "ray.head.default", "`head_node_type` must be one of"),
    "more_least_than_most": ("available_node_types/gpu/min_workers", 20, "`max_workers` is smaller than the"),
    "image_without_container": ("docker/container_name", REMOVED, "Must provide a container & image name"),
    "one_command_only": ("head_start_ray_commands", "ray start --head", "is not of type 'array'"),
    "no_name": ("cluster_name", None, "None is not of type 'string'"),
}


@pytest.mark.parametrize(("path", "value", "complaint"), SPOILED.values(), ids=SPOILED.keys())
def test_ray_refuses_a_spoiled_file(config: dict[str, Any], path: str, value: Any, complaint: str):
    with pytest.raises((jsonschema.ValidationError, ValueError, AssertionError), match=re.escape(complaint)):
        _validated(spoiled(config, path, value))


def test_nothing_but_the_driver_runs_on_the_head(config: dict[str, Any]):
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_groups_scale_and_gpus_from_zero(config: dict[str, Any]):
    types = config["available_node_types"]
    workers = {name: node for name, node in types.items() if name != config["head_node_type"]}
    assert all(0 <= node["min_workers"] < node["max_workers"] for node in workers.values())
    assert sum(node["max_workers"] for node in workers.values()) <= config["max_workers"]
    assert [name for name, node in types.items() if node["resources"].get("GPU")] == ["gpu"]
    assert types["gpu"]["min_workers"] == 0
    assert config["idle_timeout_minutes"] > 0


def test_decoding_is_on_spot_machines_and_the_head_never(config: dict[str, Any]):
    types = config["available_node_types"]
    spot = [name for name, node in types.items() if re.search("spot|'preemptible': True", str(node["node_config"]))]
    assert spot == ["cpu-decode"]


def test_objects_fit_in_shared_memory_and_metrics_have_their_port(config: dict[str, Any]):
    [shm] = [option for option in config["docker"]["run_options"] if option.startswith("--shm-size=")]
    shm_bytes = num_bytes(shm.removeprefix("--shm-size=").replace("g", "Gi"))
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = config[key][-1]
        [object_store_bytes] = re.findall(r"--object-store-memory=(\d+)", start)
        assert 0 < int(object_store_bytes) < shm_bytes
        assert "--metrics-export-port=8080" in start
        [folder] = re.findall(r"--object-spilling-directory=(\S+)", start)
        assert f"mkdir -p {folder};" in start


def test_every_node_asks_for_the_token_and_finds_it(config: dict[str, Any]):
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    dockerfile = (LAUNCHER_FILES[0].parents[1] / "Dockerfile").read_text()
    [home] = re.findall(r"ENV HOME=(\S+)", dockerfile)
    assert config["file_mounts"] == {f"{home}/.ray": "~/.ray"}


def test_the_image_is_that_of_the_manifests(config: dict[str, Any]):
    heads = [cluster_spec(custom_resource(path))["headGroupSpec"] for path in KUBERAY_FILES]
    assert {ray_container(head)["image"] for head in heads} == {config["docker"]["image"]}


def test_workers_have_no_account_of_the_head_and_less_than_all_scopes(config: dict[str, Any]):
    """They decode media that nobody has looked at."""
    nodes = {name: node["node_config"] for name, node in config["available_node_types"].items()}
    of_head = _accounts(nodes.pop(config["head_node_type"]))
    for node in nodes.values():
        assert _accounts(node)
        assert not _accounts(node) & of_head
        scopes = {scope for account in node.get("serviceAccounts", []) for scope in account["scopes"]}
        assert not any(scope.endswith("cloud-platform") for scope in scopes)


def _accounts(node_config: dict[str, Any]) -> set[str]:
    profile = node_config.get("IamInstanceProfile", {}).values()
    return {*profile, *(account["email"] for account in node_config.get("serviceAccounts", []))}


def test_machines_of_amazon_give_credentials_to_requests_with_a_session_only():
    [aws] = [_read(path) for path in LAUNCHER_FILES if path.stem == "aws"]
    for name, node in aws["available_node_types"].items():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required", name
