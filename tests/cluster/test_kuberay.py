"""The manifests are what KubeRay accepts, and the checks that say so refuse every way of spoiling them."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.cluster.files import KUBERAY_FILES, REMOVED, documents, spoiled
from tests.cluster.files import custom_resource as read
from tests.cluster.kuberay import POLICY_LABELS, cluster_spec, complaints, groups

RAYJOB, RAYCLUSTER = (next(path for path in KUBERAY_FILES if path.stem == name) for name in ("rayjob", "raycluster"))


@pytest.mark.parametrize("with_options", [False, True], ids=["as_it_is", "with_all_options"])
@pytest.mark.parametrize("path", KUBERAY_FILES, ids=lambda path: path.stem)
def test_a_manifest_is_accepted(path: Path, with_options: bool):
    found = documents(path, with_options=with_options)
    assert [document["kind"] for document in found] == [
        *("ServiceAccount", "ServiceAccount", "NetworkPolicy"),
        {"rayjob": "RayJob"}.get(path.stem, "RayCluster"),
    ]
    assert [complaints(document) for document in found] == [[], [], [], []]


def test_the_options_are_those_that_are_commented_out():
    plain, full = cluster_spec(read(RAYJOB)), cluster_spec(read(RAYJOB, with_options=True))
    assert "gcsFaultToleranceOptions" not in plain
    assert full["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]["key"] == "password"
    assert set(full["authOptions"]) - set(plain["authOptions"]) == {"secretName"}


def test_job_and_standing_cluster_have_the_same_spec():
    assert cluster_spec(read(RAYJOB)) == cluster_spec(read(RAYCLUSTER))


def test_pod_templates_suit_older_releases_of_kubernetes_too():
    for name, group in groups(cluster_spec(read(RAYJOB))):
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        assert kubernetes_validate.validate(pod, "1.29", strict=True) == "1.29", name


def test_work_runs_on_spot_nodes_and_the_head_never():
    by_name = dict(groups(cluster_spec(read(RAYJOB))))
    is_spot, is_not_spot = (_spot_terms(by_name[name]) for name in ("cpu-decode", "head"))
    assert {e["operator"] for term in is_spot for e in term} == {"In"}
    assert {e["operator"] for term in is_not_spot for e in term} == {"NotIn"}
    assert len(is_not_spot) == 1  # terms are alternatives: only in one term must all hold
    assert {e["key"] for term in is_spot for e in term} == {e["key"] for e in is_not_spot[0]}


def test_both_groups_scale_and_gpus_from_zero():
    spec = cluster_spec(read(RAYJOB))
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    by_name = dict(groups(spec))
    assert by_name["gpu"]["minReplicas"] == 0
    assert all(by_name[name]["maxReplicas"] > by_name[name]["minReplicas"] for name in ("gpu", "cpu-decode"))
    with_gpus = [n for n, g in by_name.items() if "nvidia.com/gpu" in str(g["template"]["spec"]["containers"])]
    assert with_gpus == ["gpu"]


def _spot_terms(group: dict[str, Any]) -> list[list[dict[str, Any]]]:
    affinity = group["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [term["matchExpressions"] for term in terms]


HEAD, DECODE, GPU = (
    "spec/rayClusterSpec/headGroupSpec",
    "spec/rayClusterSpec/workerGroupSpecs/0",
    "spec/rayClusterSpec/workerGroupSpecs/1",
)

CONTAINER = f"{DECODE}/template/spec/containers/0/securityContext"

# Name: where, what is put there, a part of the complaint.
SPOILED = {
    # Of the schema.
    "unknown_key_of_job": ("spec/retries", 3, "'retries' was unexpected"),
    "unknown_key_of_cluster": ("spec/rayClusterSpec/head", {}, "'head' was unexpected"),
    "unknown_key_of_group": (f"{DECODE}/minWorkers", 1, "'minWorkers' was unexpected"),
    "unknown_key_of_autoscaler": (
        "spec/rayClusterSpec/autoscalerOptions/idleTimeoutMinutes",
        1,
        "'idleTimeoutMinutes' was unexpected",
    ),
    "unknown_mode": ("spec/submissionMode", "KubernetesMode", "'KubernetesMode' is not one of"),
    "old_api": ("apiVersion", "ray.io/v1alpha1", "'ray.io/v1' was expected"),
    "negative_retries": ("spec/backoffLimit", -1, "-1 is less than the minimum of 0"),
    "no_deadline": ("spec/activeDeadlineSeconds", 0, "0 is less than the minimum of 1"),
    "number_as_start_param": (f"{HEAD}/rayStartParams/num-cpus", 0, "0 is not of type 'string'"),
    "bytes_as_number": (f"{GPU}/rayStartParams/object-store-memory", 6442450944, "is not of type 'string'"),
    "unknown_autoscaler": ("spec/rayClusterSpec/autoscalerOptions/version", "v3", "'v3' is not one of"),
    "no_entrypoint": ("spec/entrypoint", REMOVED, "'entrypoint' is a required property"),
    "capital_name": ("metadata/name", "Mmcsal", "'Mmcsal' does not match"),
    # Of the operator.
    "long_name": ("metadata/name", "m" * 48, "has more than 47 characters"),
    "ttl_without_shutdown": ("spec/shutdownAfterJobFinishes", False, "needs shutdownAfterJobFinishes"),
    "interactive_with_retries": ("spec/submissionMode", "InteractiveMode", "does not go with InteractiveMode"),
    "runtime_env": ("spec/runtimeEnvYAML", "env_vars", "runtimeEnvYAML is no mapping"),
    "fewer_than_least": (f"{DECODE}/minReplicas", 1, "cpu-decode: not minReplicas <= replicas"),
    "more_than_most": (f"{GPU}/replicas", 5, "gpu: not minReplicas <= replicas <= maxReplicas"),
    "least_above_most": (f"{GPU}/maxReplicas", -1, "-1 is less than the minimum of 0"),
    "restarting_head": (f"{HEAD}/template/spec/restartPolicy", "Always", "head: autoscaler v2 wants"),
    "restarting_worker": (f"{GPU}/template/spec/restartPolicy", "OnFailure", "gpu: autoscaler v2 wants"),
    "same_group_twice": (f"{GPU}/groupName", "cpu-decode", "group name 'cpu-decode' is taken"),
    "group_called_head": (f"{GPU}/groupName", "head", "group name 'head' is taken"),
    "other_ray": ("spec/rayClusterSpec/rayVersion", "2.52.0", "rayVersion is 2.52.0, constraints.txt pins"),
    # Of Kubernetes.
    "misspelled_pod": (f"{HEAD}/template/spec/nodeSelectors", {}, "'nodeSelectors' was unexpected"),
    "misspelled_container": (f"{GPU}/template/spec/containers/0/volumeMount", [], "'volumeMount' was unexpec"),
    "boolean_annotation": (f"{DECODE}/template/metadata/annotations", {"scrape": True}, "True is not of type 'string'"),
    "container_without_name": (f"{DECODE}/template/spec/containers/0/name", REMOVED, "'name' is a required property"),
    "label_as_boolean": (f"{GPU}/template/spec/nodeSelector", {"spot": True}, "True is not of type 'string'"),
    # Ours.
    "work_on_the_head": (f"{HEAD}/rayStartParams/num-cpus", REMOVED, 'num-cpus is not "0"'),
    "other_image": (f"{GPU}/template/spec/containers/0/image", "mmcsal:0.0.9", "images differ"),
    "burstable": (f"{DECODE}/template/spec/containers/0/resources/requests", {"cpu": "1"}, "are not the limits"),
    "store_above_shared_memory": (f"{DECODE}/rayStartParams/object-store-memory", "9663676416", "cpu-decode: not"),
    "no_store_size": (f"{GPU}/rayStartParams/object-store-memory", REMOVED, "not object-store-memory < sizeLimit"),
    "shared_memory_above_memory": (
        f"{HEAD}/template/spec/volumes/0/emptyDir/sizeLimit",
        "16Gi",
        "head: not object-store-memory < sizeLimit of /dev/shm < memory limit",
    ),
    "shared_memory_on_disk": (f"{HEAD}/template/spec/volumes/0/emptyDir/medium", REMOVED, "not an emptyDir of medium"),
    "endless_spilling": (f"{DECODE}/template/spec/volumes/1/emptyDir/sizeLimit", REMOVED, "not an emptyDir on disk"),
    "spilling_above_disk": (f"{GPU}/template/spec/volumes/1/emptyDir/sizeLimit", "80Gi", "< ephemeral-storage"),
    "spilling_elsewhere": (f"{GPU}/rayStartParams/object-spilling-directory", "/tmp/s", "gpu: object-spilling"),
    # Of rights.
    "root": (f"{DECODE}/template/spec/securityContext", REMOVED, "cpu-decode: the pod may run as root"),
    "escalation": (f"{CONTAINER}/allowPrivilegeEscalation", True, "cpu-decode: securityContext of a container"),
    "capabilities": (f"{CONTAINER}/capabilities", {"drop": ["NET_RAW"]}, "cpu-decode: securityContext of a container"),
    "no_seccomp": (f"{CONTAINER}/seccompProfile", REMOVED, "cpu-decode: securityContext of a container"),
    "unconfined_head": (f"{HEAD}/template/spec/containers/0/securityContext", REMOVED, "head: securityContext of a"),
    "autoscaler": (
        "spec/rayClusterSpec/autoscalerOptions/securityContext/allowPrivilegeEscalation",
        True,
        "securityContext of the autoscaler",
    ),
    "account_of_the_head": (f"{GPU}/template/spec/serviceAccountName", "mmcsal", "gpu: workers have the service acc"),
    "token": (f"{GPU}/template/spec/automountServiceAccountToken", True, "gpu: workers are given a token"),
    "outside_the_policy": (f"{DECODE}/template/metadata/labels", REMOVED, "cpu-decode: labels are not"),
    "no_metrics": (f"{DECODE}/template/metadata/annotations", REMOVED, "cpu-decode: annotations of Prometheus"),
}


@pytest.mark.parametrize(("path", "value", "complaint"), SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_manifest_is_refused(path: str, value: Any, complaint: str):
    found = complaints(spoiled(read(RAYJOB), path, value))
    assert any(complaint in text for text in found), f"not refused: {found}"


def test_the_policy_is_of_the_pods_and_keeps_them_from_the_credentials_of_the_machine():
    [policy] = [d for d in documents(RAYJOB) if d["kind"] == "NetworkPolicy"]
    assert policy["spec"]["podSelector"] == {"matchLabels": POLICY_LABELS}
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    blocks = [to["ipBlock"] for rule in policy["spec"]["egress"] for to in rule.get("to", []) if "ipBlock" in to]
    assert [block["except"] for block in blocks] == [["169.254.169.254/32"]]
    # From everywhere there is one way in, that of figures.
    open_ports = [
        port["port"]
        for rule in policy["spec"]["ingress"]
        for port in rule.get("ports", [{"port": "all"}])
        if {"namespaceSelector": {}} in rule["from"]
    ]
    assert open_ports == [8080]


def test_the_accounts_are_those_that_the_pods_name():
    accounts = {d["metadata"]["name"]: d for d in documents(RAYJOB) if d["kind"] == "ServiceAccount"}
    pods = {name: group["template"]["spec"] for name, group in groups(cluster_spec(read(RAYJOB)))}
    assert {pod["serviceAccountName"] for pod in pods.values()} == accounts.keys()
    assert accounts[pods["cpu-decode"]["serviceAccountName"]]["automountServiceAccountToken"] is False
    roles = [account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] for account in accounts.values()]
    assert len(set(roles)) == 2


def test_a_cluster_may_have_a_longer_name_than_a_job():
    assert complaints(spoiled(read(RAYCLUSTER), "metadata/name", "m" * 53)) == []
    assert complaints(spoiled(read(RAYJOB), "metadata/name", "m" * 47)) == []
    [complaint] = complaints(spoiled(read(RAYCLUSTER), "metadata/name", "m" * 54))
    assert "has more than 53 characters" in complaint


def test_a_spoiled_service_account_is_refused():
    [complaint] = complaints({**documents(RAYJOB)[0], "role": "admin"})
    assert "'role' was unexpected" in complaint
