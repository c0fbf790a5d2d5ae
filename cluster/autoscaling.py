"""Ray's autoscaler over nodes that are processes of this machine (its fake provider), for a local cluster."""

from typing import Any

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEAD_TYPE = "ray.head.default"  # the provider gives the head this type, whatever the configuration says
# By the node ids that the provider gives, the autoscaler knows which of its nodes has joined.
HEAD_NODE_ID = "f" * 51 + "00000"
HEAD_ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_NODE_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
NOT_USED = {
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}


def autoscaling_config(gcs_address: str, groups: dict[str, dict[str, Any]], idle_timeout_s: float) -> dict[str, Any]:
    """What `ray start --head --autoscaling-config` reads.

    Args:
        groups: by name, such as `{"cpu-decode": {"resources": {"CPU": 1}, "min_workers": 0, "max_workers": 2}}`.
        idle_timeout_s: after so long without work a node is ended.
    """
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    return {
        "cluster_name": "local",
        "max_workers": sum(group["max_workers"] for group in groups.values()),
        "upscaling_speed": 1,
        "idle_timeout_minutes": idle_timeout_s / 60,
        # Named by its class: the short name `fake_multinode` needs a file that Ray's wheel leaves out.
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "gcs_address": gcs_address,
            "head_node_id": HEAD_NODE_ID,
            "launch_multiple": True,
        },
        "head_node_type": HEAD_TYPE,
        "available_node_types": {HEAD_TYPE: head}
        | {name: {"node_config": {}} | group for name, group in groups.items()},
        **NOT_USED,
    }
