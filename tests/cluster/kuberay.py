"""What KubeRay and Kubernetes would refuse of a RayJob or RayCluster, and what would not work although they accept it.

The rules are those of KubeRay's `controllers/ray/utils/validation.go`, and the project's own for memory, spilling and
metrics.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.cluster.files import pinned_version

KUBERNETES_VERSION = "1.37"
MAX_NAME_LENGTH = {"RayJob": 47, "RayCluster": 53}  # KubeRay derives names of pods and services from it
METRICS_ANNOTATIONS = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"}
CONFINED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
POLICY_LABELS = {"app.kubernetes.io/part-of": "mmcsal"}
UNIT_BYTES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9}

SCHEMA = yaml.safe_load((Path(__file__).parent / "kuberay.schema.yaml").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def complaints(document: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a document of a manifest; empty = it may be applied.

    The rules presume the types that the schema describes, so they are asked only when it is content.
    """
    if not document["apiVersion"].startswith("ray.io/"):
        return list(_of_kubernetes(document))
    of_schema = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]
    if of_schema:
        return of_schema
    name, kind, spec = document["metadata"]["name"], document["kind"], document["spec"]
    found = []
    if len(name) > MAX_NAME_LENGTH[kind]:
        found.append(f"name {name!r} has more than {MAX_NAME_LENGTH[kind]} characters")
    if kind == "RayJob":
        found += _of_job(spec)
    return found + list(_of_cluster(cluster_spec(document)))


def cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    return document["spec"]["rayClusterSpec"] if document["kind"] == "RayJob" else document["spec"]


def groups(cluster: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The head and every worker group, by name."""
    yield "head", cluster["headGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group


def ray_container(group: dict[str, Any]) -> dict[str, Any]:
    return group["template"]["spec"]["containers"][0]  # where KubeRay expects it


def num_bytes(quantity: str) -> float:
    """Of a quantity of memory or disk of Kubernetes, such as 8Gi."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert match, f"{quantity!r} is no quantity"
    return float(match[1]) * UNIT_BYTES[match[2]]


def _of_kubernetes(document: dict[str, Any]) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(str(part) for part in error.path)}: {error.message}"


def _of_job(spec: dict[str, Any]) -> Iterator[str]:
    mode, retries = spec.get("submissionMode", "K8sJobMode"), spec.get("backoffLimit", 0)
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not spec.get("shutdownAfterJobFinishes"):
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield "suspend needs shutdownAfterJobFinishes"
    if mode == "InteractiveMode" and retries > 0:
        yield "backoffLimit does not go with InteractiveMode"
    if mode == "SidecarMode" and "submitterConfig" in spec:
        yield "submitterConfig does not go with SidecarMode"
    if not isinstance(yaml.safe_load(spec.get("runtimeEnvYAML", "{}")), dict):
        yield "runtimeEnvYAML is no mapping"


def _of_cluster(cluster: dict[str, Any]) -> Iterator[str]:
    if cluster["rayVersion"] != pinned_version("ray"):
        yield f"rayVersion is {cluster['rayVersion']}, constraints.txt pins {pinned_version('ray')}"
    images = {ray_container(group)["image"] for _, group in groups(cluster)}
    if len(images) > 1:
        yield f"images differ: {', '.join(sorted(images))}"
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield 'head: num-cpus is not "0": tasks would run beside the driver'
    names = [group["groupName"] for group in cluster["workerGroupSpecs"]]
    for name in sorted({name for name in names if names.count(name) > 1} | ({"head"} & set(names))):
        yield f"group name {name!r} is taken"
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] <= group.get("replicas", 0) <= group["maxReplicas"]:
            yield f"{group['groupName']}: not minReplicas <= replicas <= maxReplicas"
    if not CONFINED.items() <= cluster.get("autoscalerOptions", {}).get("securityContext", CONFINED).items():
        yield f"securityContext of the autoscaler is not {CONFINED}"
    for name, group in groups(cluster):
        yield from (f"{name}: {complaint}" for complaint in _of_group(cluster, group))


def _of_group(cluster: dict[str, Any], group: dict[str, Any]) -> Iterator[str]:
    template = group["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": template.get("metadata", {}), "spec": template["spec"]}
    of_kubernetes = list(_of_kubernetes(pod))
    yield from of_kubernetes
    if of_kubernetes:
        return
    is_v2 = cluster.get("enableInTreeAutoscaling") and cluster["autoscalerOptions"].get("version") == "v2"
    if is_v2 and template["spec"].get("restartPolicy", "Never") != "Never":
        yield "autoscaler v2 wants restartPolicy Never"
    if "labels" in group["rayStartParams"]:
        yield "rayStartParams.labels is not supported"
    annotations = template.get("metadata", {}).get("annotations", {})
    if not METRICS_ANNOTATIONS.items() <= annotations.items():
        yield f"annotations of Prometheus are not {METRICS_ANNOTATIONS}"
    yield from _of_rights(cluster, group)
    yield from _of_storage(group)


def _of_rights(cluster: dict[str, Any], group: dict[str, Any]) -> Iterator[str]:
    """A pod that decodes media of strangers has no rights that the work does not need."""
    pod, head = group["template"]["spec"], cluster["headGroupSpec"]["template"]["spec"]
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield "the pod may run as root"
    contexts = [container.get("securityContext", {}) for container in pod["containers"]]
    if any(not CONFINED.items() <= context.items() for context in contexts):
        yield f"securityContext of a container is not {CONFINED}"
    if pod is not head:
        if pod.get("serviceAccountName") == head.get("serviceAccountName"):
            yield "workers have the service account of the head"
        if pod.get("automountServiceAccountToken") is not False:
            yield "workers are given a token of Kubernetes"
    labels = group["template"].get("metadata", {}).get("labels", {})
    if not POLICY_LABELS.items() <= labels.items():
        yield f"labels are not {POLICY_LABELS}: no NetworkPolicy holds for the pod"


def _of_storage(group: dict[str, Any]) -> Iterator[str]:
    """Objects lie in shared memory, which is memory of the container; what does not fit is spilled to its disk."""
    container = ray_container(group)
    resources = container.get("resources", {})
    if not resources.get("limits") or resources["limits"] != resources.get("requests"):
        yield "resource requests are not the limits"
        return
    volumes = {volume["name"]: volume for volume in group["template"]["spec"].get("volumes", [])}
    directories = {
        mount["mountPath"]: volumes.get(mount["name"], {}).get("emptyDir", {})
        for mount in container.get("volumeMounts", [])
    }
    shared, params = directories.get("/dev/shm", {}), group["rayStartParams"]
    spill = directories.get(params.get("object-spilling-directory", ""), {})
    if shared.get("medium") != "Memory" or "sizeLimit" not in shared:
        yield "/dev/shm is not an emptyDir of medium Memory with a sizeLimit"
        return
    if "sizeLimit" not in spill or "medium" in spill:
        yield "object-spilling-directory is not an emptyDir on disk with a sizeLimit"
        return
    object_store_bytes, limits = int(params.get("object-store-memory", 0)), resources["limits"]
    if not 0 < object_store_bytes < num_bytes(shared["sizeLimit"]) < num_bytes(limits["memory"]):
        yield "not object-store-memory < sizeLimit of /dev/shm < memory limit"
    if num_bytes(spill["sizeLimit"]) >= num_bytes(limits.get("ephemeral-storage", "0")):
        yield "not sizeLimit of the spilling directory < ephemeral-storage"
